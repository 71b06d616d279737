"""Floors that no message tells: of channels that were trimmed and not written to since.

A mark is one message per channel in the stream of marks. It only ever rises: it is written under
the condition that nobody else has written it meanwhile.
"""

from __future__ import annotations

from typing import Final

import msgspec

from trunkline.log.nats.era import Era
from trunkline.log.nats.finding import Finder
from trunkline.log.nats.jetstream import JetStream
from trunkline.log.nats.line import Line
from trunkline.log.nats.subjects import key_of, tail
from trunkline.model.channel import ChannelKey

BATCH: Final = 1000

_floors = msgspec.json.Decoder(tuple[int, int])


class Marks:
    """Read and write marks.

    Args:
        line: Names the stream.
        jet: The API.
        finder: Looks for messages.
    """

    def __init__(self, line: Line, jet: JetStream, finder: Finder) -> None:
        self._line = line
        self._jet = jet
        self._finder = finder
        self._heard = ("", 0)

    async def sync(self, era: Era) -> None:
        """Take the marks that were written since the last look, unless they are heard of."""
        if self._heard != (era.epoch, self._line.losses):
            await self.look(era)

    async def hear(self, era: Era) -> None:
        """Look, and trust that marks are heard of from now on, until the connection breaks.

        A piece of news may still be lost on its way; whoever calls this from time to time bounds
        for how long that hides a trimming. It never hides a loss, see :mod:`.pages`.
        """
        heard = (era.epoch, self._line.losses)
        await self.look(era)
        self._heard = heard

    async def look(self, era: Era) -> None:
        """Take the marks that were written since the last look."""
        prefix = self._line.floors(era)
        while True:
            body = {"seq": era.marks_seq + 1, "next_by_subj": prefix + ">", "batch": BATCH}
            batch = await self._jet.direct(self._line.marks_stream, body)
            for one in batch.messages:
                self.take(era, one.subject, one.payload)
                era.marks_seq = one.seq
            if not batch.has_more:
                return

    def take(self, era: Era, subject: str, payload: bytes) -> None:
        """Take a mark, as it lies in the stream."""
        prefix = self._line.floors(era)
        if subject.startswith(prefix):
            era.mark(key_of(subject[len(prefix) :]), *_floors.decode(payload))

    async def write(self, era: Era, key: ChannelKey, floor: int, floor_global: int) -> None:
        """Raise a channel's mark, unless somebody else has raised it higher."""
        subject = self._line.floors(era) + tail(key)
        payload = msgspec.json.encode((floor, floor_global))
        while True:
            last = await self._line.last_mark(subject)
            if last is not None:
                self.take(era, subject, last.payload)
                if _floors.decode(last.payload)[0] >= floor:
                    return
            if await self._line.publish(subject, payload, 0 if last is None else last.seq):
                era.mark(key, floor, floor_global)
                return

    async def learn_all(self, era: Era) -> None:
        """Look at the last message of every channel, once, for the floors that they tell."""
        offset = 0
        cut = len(era.subjects)
        upto = 0
        while True:
            info = await self._jet.info(era.stream, subjects=era.everything, offset=offset)
            subjects = info.state.subjects or {}
            upto = upto or info.state.last_seq
            await self._finder.lasts(era, [key_of(one[cut:]) for one in subjects])
            offset += len(subjects)
            if not subjects or offset >= info.total:
                break
        era.is_learned = True
        era.head = max(era.head, upto)
