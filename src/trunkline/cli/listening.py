"""Running the HTTP server on a socket that is ours before anything else begins."""

from __future__ import annotations

import errno
import socket
import sys
from typing import Final

import uvicorn
from uvicorn.supervisors import Multiprocess

from trunkline.cli.outcome import FAILURE, fail
from trunkline.gateway.application import Application

BACKLOG: Final = 4096
PROTOCOL: Final = "trunkline.gateway.handover:HandOverProtocol"


def bind(host: str, port: int) -> socket.socket:
    """Take a port.

    Args:
        host: An address or name.
        port: The port; 0 for a free one.

    Raises:
        OSError: It cannot be had.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    taken = socket.socket(family, kind, protocol)
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address)
        # Also listening, or two servers could take the same port.
        taken.listen(BACKLOG)
    except OSError:
        taken.close()
        raise
    taken.set_inheritable(True)
    return taken


def bind_or_fail(host: str, port: int) -> socket.socket:
    """Take a port, or end the command with a line that says why not."""
    try:
        return bind(host, port)
    except OSError as error:
        fail(f"cannot listen on {host} port {port}: {reason_of(error)}")


def reason_of(error: OSError) -> str:
    """Say why a port cannot be had, and what to do."""
    if error.errno == errno.EADDRINUSE:
        return "it is in use; choose another with --port"
    if error.errno == errno.EACCES:
        return "ports below 1024 are root's; choose another with --port"
    return (error.strerror or str(error)).lower()


def url_of(taken: socket.socket, host: str) -> str:
    """Return the URL under which a socket is reached."""
    port = taken.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"


def run_server(
    application: Application | str, taken: socket.socket, *, workers: int, grace: float
) -> None:
    """Serve until a signal ends it.

    Args:
        application: The application, or where to import its factory from.
        taken: Where to listen.
        workers: Processes; more than one take a factory.
        grace: Seconds that requests under way have at the end.
    """
    config = uvicorn.Config(
        application,
        factory=isinstance(application, str),
        http=PROTOCOL,
        ws_per_message_deflate=False,
        workers=workers,
        backlog=BACKLOG,
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=max(1, round(grace)),
    )
    if workers > 1:
        Multiprocess(config, sockets=[taken]).run()
        return
    try:
        uvicorn.Server(config).run(sockets=[taken])
    except SystemExit:
        # Told by the server already: the line could not be opened.
        sys.exit(FAILURE)
