"""Finding stored messages: by message id, by age, the last of many channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from trunkline.log.nats.envelope import Sheet, sheet_of
from trunkline.log.nats.era import Era
from trunkline.log.nats.jetstream import LAST_SUBJECTS, JetStream
from trunkline.log.nats.plan import Part
from trunkline.log.nats.subjects import key_of
from trunkline.model.channel import ChannelKey

#: Messages fetched at once in the hope that what is looked for is among them.
NEAR: Final = 32
#: Messages looked at for the time of the one after them.
LOOK_BACK: Final = 2000
#: Bytes of one answer at most.
MAX_BYTES: Final = 4 * 1024 * 1024


class Finder:
    """Look for stored messages.

    Args:
        jet: The API.
    """

    def __init__(self, jet: JetStream) -> None:
        self._jet = jet

    async def lasts(
        self, era: Era, keys: Sequence[ChannelKey], *, upto: int = 0
    ) -> tuple[dict[ChannelKey, Sheet], int]:
        """Return the last messages of some channels, and the line's head at that moment.

        Args:
            era: The era.
            keys: The channels.
            upto: Look at the line as it was at this global id; 0 for now.

        Returns:
            What the last messages say, for channels that have one, and the global id up to which
            the line was looked at, 0 if nothing was found.
        """
        found: dict[ChannelKey, Sheet] = {}
        cut = len(era.subjects)
        for start in range(0, len(keys), LAST_SUBJECTS):
            subjects = [era.subject(key) for key in keys[start : start + LAST_SUBJECTS]]
            more = 1
            while more:
                body: dict[str, object] = {"multi_last": subjects, "batch": len(subjects)}
                body["max_bytes"] = MAX_BYTES
                if upto:
                    body["up_to_seq"] = upto
                if more > 1:
                    body["seq"] = more
                batch = await self._jet.direct(era.stream, body)
                upto = upto or batch.upto
                for one in batch.messages:
                    sheet = sheet_of(one.seq, one.header)
                    if sheet is not None:
                        key = key_of(one.subject[cut:])
                        found[key] = sheet
                        era.hear(key, sheet)
                more = batch.messages[-1].seq + 1 if batch.has_more and batch.messages else 0
        return found, upto

    async def catch_up(self, era: Era) -> None:
        """Learn how late it is on the line, from its last message and those before it."""
        last = await self._jet.last(era.stream, era.everything)
        sheet = None if last is None else sheet_of(last.seq, last.header)
        if sheet is None:
            era.hear_all(0, 0.0)
            return
        era.hear_all(sheet.seq, await self.time_of(era, sheet))

    async def time_of(self, era: Era, sheet: Sheet) -> float:
        """Return how late it is on the line at a message: no message up to it is newer.

        Its own stamp does not tell, for its writer may not have heard yet of those right before
        it, whose writers' clocks may have been ahead.
        """
        after = max(sheet.heard, sheet.seq - 1 - LOOK_BACK)
        count = sheet.seq - 1 - after
        before = await self.stretch(era, era.everything, after, count) if count > 0 else ()
        return max([sheet.at, *(one.at for one in before if one.seq < sheet.seq)])

    async def settle_floor(self, era: Era, part: Part, age: float | None, now: float) -> None:
        """Look up the global id of a plan's new floor, and raise it by age.

        Args:
            era: The era.
            part: The channel of the plan.
            age: Seconds that a message is kept, or None.
            now: Unix seconds.
        """
        entry = part.entry
        subject = entry.subject
        if entry.floor < part.floor <= entry.last_id:
            sheet = await self.first(
                era, subject, (entry.floor_global, part.expected), _has_id(part.floor)
            )
            if sheet is not None:
                part.floor_global = sheet.seq
        if age is not None and part.floor < entry.last_id and part.oldest_at < now - age:
            low = part.floor_global if part.floor <= entry.last_id else part.expected
            kept = await self.first(era, subject, (low, part.expected), _is_since(now - age))
            if kept is None:
                part.floor, part.floor_global = entry.last_id, part.expected
                part.oldest_at = now
            else:
                part.floor = max(part.floor, kept.message_id - 1)
                if kept.message_id - 1 == part.floor:
                    part.floor_global = kept.prev
                part.oldest_at = kept.at
        part.is_open = False

    async def first(
        self, era: Era, subject: str, between: tuple[int, int], holds: Callable[[Sheet], bool]
    ) -> Sheet | None:
        """Return a channel's first message of which something holds that holds of all later ones.

        Args:
            era: The era.
            subject: The channel's subject.
            between: Global ids: after the first, up to the second.
            holds: Tells it of a message.
        """
        low, high = between
        best: Sheet | None = None
        near = await self.stretch(era, subject, low, NEAR)
        for sheet in near:
            if sheet.seq <= high and holds(sheet):
                return sheet
        if len(near) < NEAR:
            return None
        low = near[-1].seq
        while low < high:
            middle = (low + high) // 2
            (found,) = await self.stretch(era, subject, middle, 1) or (None,)
            if found is None or found.seq > high:
                high = middle
            elif holds(found):
                best, high = found, middle
            else:
                low = found.seq
        return best

    async def stretch(self, era: Era, subject: str, after: int, count: int) -> list[Sheet]:
        """Return what a channel's next messages after a global id say."""
        body = {"seq": after + 1, "next_by_subj": subject, "batch": count}
        batch = await self._jet.direct(era.stream, body)
        sheets = (sheet_of(one.seq, one.header) for one in batch.messages)
        return [sheet for sheet in sheets if sheet is not None]


def _has_id(message_id: int) -> Callable[[Sheet], bool]:
    return lambda sheet: sheet.message_id >= message_id


def _is_since(at: float) -> Callable[[Sheet], bool]:
    return lambda sheet: sheet.at >= at
