"""Lines of standard input, in batches as they come, read by a thread that never blocks an exit."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from typing import Final

from trunkline.errors import UsageError
from trunkline.model.message import MAX_MESSAGE_BYTES

READ_BYTES: Final = 256 * 1024
MAX_WAITING: Final = 4


def too_long(number: int) -> str:
    """Say that a line, counted from 1, is larger than a message may be."""
    return f"line {number} is longer than a message may be ({MAX_MESSAGE_BYTES} bytes as JSON)"


class LineSource:
    """Yield lists of complete lines without their line feeds.

    A list holds what was there to read, so a slow producer's lines don't wait for more, and a
    fast one's come by the thousand.

    Args:
        descriptor: What to read.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._blocks: asyncio.Queue[bytes | OSError] = asyncio.Queue()
        self._room = threading.Semaphore(MAX_WAITING)
        self.bytes_read = 0
        self.line = 0

    async def __aiter__(self) -> AsyncIterator[list[bytes]]:
        loop = asyncio.get_running_loop()
        # A daemon: Ctrl-C must not wait for a terminal's next line.
        threading.Thread(target=self._read_on, args=(loop,), daemon=True).start()
        rest = b""
        while True:
            block = await self._blocks.get()
            self._room.release()
            if isinstance(block, OSError):
                raise UsageError(f"standard input cannot be read: {block.strerror}")
            if not block:
                break
            self.bytes_read += len(block)
            *lines, rest = (rest + block).split(b"\n")
            self._check_rest(lines, rest)
            if lines:
                self.line += len(lines)
                yield lines
        if rest:
            self.line += 1
            yield [rest]

    def _check_rest(self, lines: list[bytes], rest: bytes) -> None:
        if len(rest) > MAX_MESSAGE_BYTES:
            raise UsageError(too_long(self.line + len(lines) + 1))

    def _read_on(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            # Bounded: a fast producer waits here, not in memory.
            self._room.acquire()
            block: bytes | OSError
            try:
                block = os.read(self._descriptor, READ_BYTES)
            except OSError as error:
                block = error
            try:
                loop.call_soon_threadsafe(self._blocks.put_nowait, block)
            except RuntimeError:
                return  # the loop is gone: the command has ended
            if not block or isinstance(block, OSError):
                return
