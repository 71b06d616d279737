"""Hearing of what others store: the server tells of every message as it is stored, and of marks.

A piece of news is a hint. What matters is read by position, and a slow look at the line tells what
the news did not: that a message came while the connection was down, or that the line was reset.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from trunkline.errors import TrunklineError
from trunkline.log.nats.connection import Wire
from trunkline.log.nats.envelope import sheet_of, value_of
from trunkline.log.nats.line import Line
from trunkline.log.nats.marks import Marks
from trunkline.log.nats.pages import Pages
from trunkline.log.nats.subjects import key_of

logger = logging.getLogger(__name__)

#: Seconds between two looks at the line.
LOOK_EVERY: Final = 1.0
#: What a batch's messages bear, and its last one besides.
BATCHED: Final = b"\r\nNats-Batch-Id: "
COMMITTED: Final = b"\r\nNats-Batch-Commit: "


class News:
    """Hear of messages, marks and resets.

    Args:
        wire: The connection.
        line: The line.
        marks: Takes marks.
        pages: Asks for the head.
        wake: Called when there may be something new.
    """

    def __init__(
        self, wire: Wire, line: Line, *, marks: Marks, pages: Pages, wake: Callable[[], None]
    ) -> None:
        self._wire = wire
        self._line = line
        self._marks = marks
        self._pages = pages
        self._wake = wake
        self._is_wanted = asyncio.Event()
        #: Whether messages are heard of.
        self.is_hearing = False

    def want(self) -> None:
        """Begin to hear, soon. Idempotent."""
        self._is_wanted.set()

    async def run(self) -> None:
        """Hear, once that is wanted, and look at the line from time to time."""
        await self._is_wanted.wait()
        messages, marks = self._line.news
        await self._wire.listen(messages, self._hear)
        await self._wire.listen(marks, self._hear_mark)
        self.is_hearing = True
        while True:
            await self._look()
            await asyncio.sleep(LOOK_EVERY)

    async def _look(self) -> None:
        era = self._line.era
        try:
            head = era.head
            is_new = await self._line.check() or await self._pages.head(era) > head
            await self._marks.hear(self._line.era)
            if self._line.era.heard < self._line.era.head:
                await self._pages.catch_up(self._line.era)
            if is_new:
                self._wake()
        except TrunklineError as error:
            logger.debug("the line does not answer: %s", error)

    def _hear(self, _: bytes, header: bytes, __: bytes) -> None:
        era = self._line.era
        seq = value_of(header, b"\r\nNats-Sequence: ")
        subject = value_of(header, b"\r\nNats-Subject: ")
        if seq is None or subject is None:
            return
        name = subject.decode()
        if not name.startswith(era.subjects):
            self._wake()
            return
        sheet = sheet_of(int(seq), header)
        if sheet is not None:
            is_news = sheet.seq > era.head
            is_end = BATCHED not in header or COMMITTED in header
            era.hear(key_of(name[len(era.subjects) :]), sheet, is_end=is_end)
            if is_news:
                self._wake()

    def _hear_mark(self, _: bytes, header: bytes, payload: bytes) -> None:
        subject = value_of(header, b"\r\nNats-Subject: ")
        if subject is not None:
            self._marks.take(self._line.era, subject.decode(), payload)
        self._wake()
