"""``trunkline worker``."""

from __future__ import annotations

import asyncio
import os
import signal

from trunkline.cli.target import load_line
from trunkline.worker import work_until


async def work(place: str | None, *, log: str | None, profile: str | None) -> None:
    """Do a worker's work until a signal ends it; what is in hand is finished.

    Args:
        place: ``MODULE:OBJECT``, or None.
        log: URL of the log, or None for the setting.
        profile: Which services, or None for the setting.
    """
    # By the environment they reach a line made in MODULE.
    for name, value in (("LOG", log), ("PROFILE", profile)):
        if value is not None:
            os.environ[f"TRUNKLINE_{name}"] = value
    line = load_line(place)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _once, loop, number, stop)
    await work_until(
        line, stop, started=lambda names: print(f"working: {', '.join(names)}", flush=True)
    )


def _once(loop: asyncio.AbstractEventLoop, number: int, stop: asyncio.Event) -> None:
    stop.set()
    loop.remove_signal_handler(number)  # the second one ends it at once
