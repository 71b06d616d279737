"""The worker: whatever goes on behind a line, in a process of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from trunkline.app import Trunkline
from trunkline.errors import ConfigError


async def work_until(
    line: Trunkline,
    stop: asyncio.Event,
    *,
    started: Callable[[Sequence[str]], None] = lambda _: None,
) -> None:
    """Run a line's services until told to stop, then let them finish what is in hand.

    Several processes may do so: each service is one process's at a time, and another takes it
    over when that one ends or dies.

    Args:
        line: The line; opened and closed here.
        stop: Set it to end.
        started: Called with the services' names once they run.

    Raises:
        ConfigError: There is nothing to run.
        LogError: The log or the store can't be used.
    """
    async with line:
        services = line.services()
        if not services:
            raise ConfigError(
                "nothing to run: a worker relays what transactions publish, and for that needs a "
                "log on SQLite or PostgreSQL, or store=, and a profile that has the relay"
            )
        line.start_services()
        started([service.name for service in services])
        await stop.wait()
