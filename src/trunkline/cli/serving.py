"""``trunkline serve`` and ``trunkline demo``."""

from __future__ import annotations

import os
import socket

from trunkline.cli.flags import ServeFlags
from trunkline.cli.listening import bind, bind_or_fail, reason_of, run_server, url_of
from trunkline.cli.outcome import warn, without_none
from trunkline.cli.target import FACTORY, Target
from trunkline.config import Settings
from trunkline.demo.app import demo_application, demo_line
from trunkline.demo.place import demo_log
from trunkline.runtime.loopback import is_loopback
from trunkline.runtime.masking import masked_url


def serve(place: str | None, *, log: str | None, flags: ServeFlags) -> None:
    """Serve an application, or a gateway of its own.

    Args:
        place: ``MODULE:OBJECT``, or None.
        log: URL of the log, or None for the setting.
        flags: Where, and how.
    """
    if log is not None:
        # By the environment it reaches worker processes, and a line made in MODULE.
        os.environ["TRUNKLINE_LOG"] = log
    if flags.worker:
        os.environ["TRUNKLINE_SERVICES"] = "on"
    given = {"host": flags.host, "port": flags.port, "workers": flags.workers}
    settings = Settings.load(without_none(given))
    target = Target(place, may_open=flags.open or is_loopback(settings.host))
    target.publish()
    application = target.application()
    taken = bind_or_fail(settings.host, settings.port)
    what = place or masked_url(settings.log)
    print(f"serving {what} at {url_of(taken, settings.host)} (Ctrl-C ends)", flush=True)
    run_server(
        application if settings.workers == 1 else FACTORY,
        taken,
        workers=settings.workers,
        grace=settings.close_grace,
    )


def serve_demo(log: str | None, *, host: str, port: int) -> None:
    """Serve the demo.

    Args:
        log: URL of the log; None for a file of the user's own.
        host: Where to listen.
        port: Which port is wanted.
    """
    line = demo_line(log or demo_log())
    taken = _bind_near(host, port)
    _greet(url_of(taken, host), masked_url(line.settings.log))
    run_server(demo_application(line), taken, workers=1, grace=line.settings.close_grace)


def _bind_near(host: str, port: int) -> socket.socket:
    try:
        return bind(host, port)
    except OSError as error:
        taken = bind_or_fail(host, 0)
        warn(f"not port {port} ({reason_of(error).partition(';')[0]}), but another")
        return taken


def _greet(url: str, log: str) -> None:
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False)
    console.print("\n  [bold]Trunkline[/], one durable line, live\n")
    console.print(f"  [green]➜[/]  open   [bold cyan]{url}/[/]")
    console.print(f"     kept   [dim]{log}[/]")
    console.print("     end    [dim]Ctrl-C[/]\n")
