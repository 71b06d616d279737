"""Real servers in this process, with a gateway each, for real clients."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from typing import Any

import hypercorn.asyncio
import hypercorn.config
import uvicorn

from trunkline.gateway.handover import HandOverProtocol

SERVERS = ("handed-over", "uvicorn", "hypercorn")


def listener() -> socket.socket:
    """Listen on a free loopback port."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen(128)
    sock.setblocking(False)
    return sock


@contextlib.asynccontextmanager
async def serving(app: Any, server: str = "handed-over", **how: Any) -> AsyncIterator[int]:
    """Serve an application and give its port; the server ends gracefully."""
    sock = listener()
    stop = asyncio.Event()
    run = _hypercorn if server == "hypercorn" else _uvicorn
    if server == "handed-over":
        how = {"http": HandOverProtocol, "ws_per_message_deflate": False, **how}
    task = asyncio.create_task(run(app, sock, stop, how))
    try:
        yield sock.getsockname()[1]
    finally:
        stop.set()
        async with asyncio.timeout(15):
            await task
        sock.close()


async def _uvicorn(app: Any, sock: socket.socket, stop: asyncio.Event, how: Any) -> None:
    options = {"lifespan": "off", "log_level": "warning", "timeout_graceful_shutdown": 5, **how}
    server = uvicorn.Server(uvicorn.Config(app, **options))

    async def watch() -> None:
        await stop.wait()
        server.should_exit = True

    async with asyncio.TaskGroup() as tasks:
        watcher = tasks.create_task(watch())
        await server._serve([sock])
        watcher.cancel()


async def _hypercorn(app: Any, sock: socket.socket, stop: asyncio.Event, how: Any) -> None:
    config = hypercorn.config.Config()
    config.bind = [f"fd://{os.dup(sock.fileno())}"]  # it closes what it is given
    config.errorlog = None
    config.graceful_timeout = 2
    await hypercorn.asyncio.serve(app, config, shutdown_trigger=stop.wait, **how)
