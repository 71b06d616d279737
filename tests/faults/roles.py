"""What publishers and listeners have in common: what they are told, and how the line is made."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

import msgspec

from trunkline import Trunkline
from trunkline.errors import LogError

CHANNELS = tuple(f"/faults/{number}" for number in range(4))
PATTERN = "/faults/*"
RETRY = 0.05
#: The least: readers often fall out of memory and back on the log's pages.
RING_BYTES = 64 * 1024
#: Settings without which the line would forget.
KEEP_ALL = ("max_backlog_size", "max_backlog_age", "max_line_size")
END = "end of"


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What one process of a run is told.

    Args:
        role: ``publisher`` or a listener's way: ``line``, ``handler``, or a client's transport.
        who: Its name.
        url: The log's URL, or the gateway's for clients.
        journal: Where it writes.
        life: How often it was started before.
        tasks: How many publish at the same time.
        pause: Seconds that a publisher rests between publishes at most.
        slowness: Seconds that a listener takes for each message.
        pad: Bytes that each message carries along.
    """

    role: str
    who: str
    url: str
    journal: str
    life: int = 0
    tasks: int = 4
    pause: float = 0.01
    slowness: float = 0.0
    pad: int = 40

    def words(self) -> str:
        """Return it as a command line's argument."""
        return json.dumps(msgspec.to_builtins(self))


def line_at(url: str, **options: Any) -> Trunkline:
    """Return a line that keeps everything."""
    return Trunkline(url, ring_bytes=RING_BYTES, **dict.fromkeys(KEEP_ALL), **options)


def end_of(channel: str) -> dict[str, str]:
    """Return the last message of a channel."""
    return {"n": f"{END} {channel}"}


def tell_when_asked() -> None:
    """Write down what every task waits for whenever SIGUSR2 comes: a run asks whoever is stuck."""

    def tell() -> None:
        for task in asyncio.all_tasks():
            task.print_stack(limit=8)

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, tell)


async def opened(line: Trunkline) -> Trunkline:
    """Open a line, however long its engine is away."""
    while True:
        try:
            return await line.open()
        except LogError:
            await asyncio.sleep(RETRY)
