"""Reading: pages of one channel, pages of the line, and the last ids of channels.

Any replica may answer, and one that lags does not have the newest messages yet. A page therefore
ends where its own messages end, and when that is before what this process has heard of, it is
asked for again. What trimming hid is left out by the floors that are known; should a floor not be
known yet, the link from each message to the one before it in its channel still tells of the gap.

Writers stamp messages by their own clocks, and the server orders them: where one had not heard yet
of a later stamp, time stands still for whoever reads the line. In a channel every writer knows the
stamp before its own.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from trunkline.log.nats.envelope import Sheet, record_of, sheet_of
from trunkline.log.nats.era import Era
from trunkline.log.nats.finding import MAX_BYTES, NEAR, Finder
from trunkline.log.nats.jetstream import Batch, JetStream, RegressedError, Stored
from trunkline.log.nats.line import Line
from trunkline.log.nats.marks import Marks
from trunkline.log.nats.subjects import key_of, pattern_tail
from trunkline.log.paging import cut
from trunkline.log.port import Heads, Page
from trunkline.model.channel import ChannelKey
from trunkline.model.interest import Interest
from trunkline.model.message import Record

#: Messages looked at per message that a page may hold, before it ends early.
SCAN_FACTOR: Final = 20
#: Messages in one answer at most.
BATCH: Final = 2000
#: Up to so many named channels are read one by one and merged, when much else lies between.
MERGE_CHANNELS: Final = 16
#: Seconds after which a replica that lags is asked again: at first, at most, and in all.
LAG: Final = 0.002
LONG_LAG: Final = 0.02
LAGS: Final = 200
#: Ends of channels' pages remembered, for whoever reads on from there.
MAX_PLACES: Final = 4096


class Found(NamedTuple):
    """Be a message with its channel."""

    key: ChannelKey
    sheet: Sheet
    payload: bytes


class Stretch(NamedTuple):
    """Be what lies in the stream after a position: all of it up to *upto*."""

    found: Sequence[Found]
    upto: int
    is_whole: bool


class _Patience:
    """Wait for replicas that lag, but not for ever.

    Args:
        what: Says what they lack.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._count = 0

    async def wait(self) -> None:
        """Wait before they are asked again.

        Raises:
            RegressedError: They were asked often enough.
        """
        self._count += 1
        if self._count > LAGS:
            raise RegressedError(f"the replicas do not have {self._what}")
        await asyncio.sleep(min(LONG_LAG, LAG * self._count))


class Pages:
    """Read pages.

    Args:
        line: The line.
        jet: The API.
        marks: Tells floors that no message tells.
        finder: Looks for messages.
    """

    def __init__(self, line: Line, jet: JetStream, marks: Marks, finder: Finder) -> None:
        self._line = line
        self._jet = jet
        self._marks = marks
        self._finder = finder
        self._places: OrderedDict[tuple[str, ChannelKey, int], int] = OrderedDict()
        #: How late it was on the line where a page ended.
        self._times: OrderedDict[tuple[str, Interest | None, int], float] = OrderedDict()

    async def channel(self, era: Era, key: ChannelKey, after: int, limit: int) -> Page:
        """Read a page of one channel."""
        last = await self.last(era, key)
        if last is None:
            return Page((), 0, 0, 0, era.epoch)
        await self._marks.sync(era)
        floor, floor_global = max((last.floor, last.floor_global), era.ledger.floors(key))
        head = last.message_id
        first = max(after, floor)
        if first >= head:
            return Page((), floor, head, head, era.epoch)
        start = await self._place(era, key, first, (floor, floor_global, last))
        records, is_whole = await self._fill(era, key, (start, first, head), limit)
        upto = head if is_whole else records[-1].message_id
        self._remember(era, key, records)
        if records:
            floor = max(floor, records[0].message_id - 1 if first < floor + 1 else 0)
        return Page(records, floor, head, upto, era.epoch)

    async def last(self, era: Era, key: ChannelKey) -> Sheet | None:
        """Return what a channel's last message says, None if it has none."""
        head, patience = era.head, _Patience(f"what was stored on {key}")
        while True:
            found, upto = await self._finder.lasts(era, [key])
            entry = era.entry(key)
            known = 0 if entry is None else entry.last_id
            if key in found:
                if upto >= head and found[key].message_id >= known:
                    return found[key]
            elif known == 0 and not (self._line.is_replicated and await self._has(era, key)):
                return None
            await patience.wait()

    async def _has(self, era: Era, key: ChannelKey) -> bool:
        """Ask the leader, for a replica that finds nothing does not say how far it is."""
        return await self._jet.last(era.stream, era.subject(key)) is not None

    async def _place(
        self, era: Era, key: ChannelKey, first: int, known: tuple[int, int, Sheet]
    ) -> int:
        """Return a global id after which the message after *first* is the next or soon comes."""
        floor, floor_global, last = known
        if first == floor:
            return floor_global
        place = self._places.get((era.epoch, key, first))
        if place is not None:
            return place
        entry = era.entry(key)
        if entry is not None and (seq := entry.seq_of(first)):
            return seq
        low, high = (floor, floor_global), (last.message_id, last.seq)
        while first - low[0] > NEAR and high[1] - low[1] > 1:
            # By halves, for how messages are spread over the line is nobody's to know.
            middle = (low[1] + high[1]) // 2
            (found,) = await self._finder.stretch(era, era.subject(key), middle, 1) or (None,)
            if found is None or found.message_id > first:
                high = (high[0], middle)
            else:
                low = (found.message_id, found.seq)
        return low[1]

    def _remember(self, era: Era, key: ChannelKey, records: Sequence[Record]) -> None:
        if not records:
            return
        end = records[-1]
        self._places[era.epoch, key, end.message_id] = end.global_id
        if len(self._places) > MAX_PLACES:
            self._places.popitem(last=False)

    async def _fill(
        self, era: Era, key: ChannelKey, stretch: tuple[int, int, int], limit: int
    ) -> tuple[list[Record], bool]:
        """Read a channel's messages from a place on, those with ids above *first*."""
        place, first, head = stretch
        subject = era.subject(key)
        records: list[Record] = []
        patience = _Patience(f"what was stored on {key}")
        while True:
            batch = await self._direct(era, place, subject, min(BATCH, limit + 1 + NEAR))
            for one in _found(era, batch.messages):
                place = one.sheet.seq
                if first < one.sheet.message_id <= head:
                    records.append(record_of(key, one.sheet, one.payload, at=one.sheet.at))
            kept, is_whole = cut(records, limit)
            if not is_whole:
                return kept, False
            if records and records[-1].message_id >= head:
                return kept, True
            if not batch.has_more:
                await patience.wait()

    async def line(self, era: Era, after: int, limit: int, interest: Interest | None) -> Page:
        """Read a page of all wanted channels."""
        await self._marks.sync(era)
        if not era.is_learned:
            await self._marks.learn_all(era)
        stretch = await self._stretch(era, after, limit, interest)
        ledger = era.ledger
        records: list[Record] = []
        floor = 0
        seen: set[ChannelKey] = set()
        at = await self._time(era, after, interest, stretch.found)
        for one in stretch.found:
            at = max(at, one.sheet.at)
            if interest is not None and not interest.includes(one.key):
                continue
            if one.key not in seen:
                seen.add(one.key)
                if one.sheet.prev > after:
                    floor = max(floor, one.sheet.prev)
            if one.sheet.message_id > ledger.floor(one.key):
                records.append(record_of(one.key, one.sheet, one.payload, at=at))
        floor = max(floor, ledger.newest(interest))
        kept, is_whole = cut(records, limit)
        head = max(era.head, stretch.upto)
        upto = stretch.upto if is_whole else kept[-1].global_id
        if at:  # without a message, and without a page before, nothing is known of the time here
            self._times[era.epoch, interest, upto] = at if is_whole else kept[-1].published_at
            if len(self._times) > MAX_PLACES:
                self._times.popitem(last=False)
        return Page(kept, floor, head, upto, era.epoch)

    async def _time(
        self, era: Era, after: int, interest: Interest | None, found: Sequence[Found]
    ) -> float:
        """Return how late it is where a page begins, so that no page is behind the one before."""
        known = self._times.get((era.epoch, interest, after))
        if known is not None or not found or after == 0:
            return known or 0.0
        return await self._finder.time_of(era, found[0].sheet)

    async def catch_up(self, era: Era) -> None:
        """Learn how late it is on the line."""
        await self._finder.catch_up(era)

    async def _stretch(
        self, era: Era, after: int, limit: int, interest: Interest | None
    ) -> Stretch:
        if interest is not None and not interest:
            head = await self.head(era)
            return Stretch((), head, is_whole=True)
        patience = _Patience("the newest messages")
        while True:
            found = await self._scan(era, after, limit, interest)
            if found.upto > after or found.upto >= era.head:
                return found
            await patience.wait()

    async def _scan(self, era: Era, after: int, limit: int, interest: Interest | None) -> Stretch:
        """Look at a bounded stretch of the line."""
        if after > era.head and after > await self.head(era):
            return Stretch((), era.head, is_whole=True)
        if interest is not None and era.head - after > max(BATCH, 4 * limit):
            sifted = await self._sifted(era, after, limit, interest)
            if sifted is not None:
                return sifted
        found: list[Found] = []
        end, wanted, looked = after, 0, 0
        count = limit + 1
        while True:
            batch = await self._direct(era, end, era.everything, min(BATCH, count))
            count *= 4  # little of it is wanted
            fresh = _found(era, batch.messages)
            found += fresh
            looked += len(fresh)
            if batch.messages:
                end = batch.messages[-1].seq
            wanted += _wanted(era, fresh, interest)
            if not batch.has_more:
                return Stretch(found, end, is_whole=True)
            if wanted > limit or looked >= limit * SCAN_FACTOR:
                return Stretch(found, end, is_whole=False)

    async def _sifted(self, era: Era, after: int, limit: int, interest: Interest) -> Stretch | None:
        """Look at a few channels, or one pattern, far from the head; None if it is too many."""
        subjects = _subjects(era, interest)
        if subjects is None:
            return None
        head = await self.head(era)
        ends: list[int] = []
        parts: list[list[Found]] = []
        for subject in subjects:
            batch = await self._direct(era, after, subject, min(BATCH, limit + 1))
            part = _found(era, batch.messages)
            parts.append(part)
            if batch.has_more and part:
                ends.append(part[-1].sheet.seq)
            else:
                place = part[-1].sheet.seq if part else after
                missing = await self._jet.following(era.stream, place + 1, subject)
                if missing is not None and missing.seq <= head:
                    ends.append(missing.seq - 1)
        upto = min(ends, default=head)
        merged = heapq.merge(*parts, key=lambda one: one.sheet.seq)
        return Stretch([one for one in merged if one.sheet.seq <= upto], upto, is_whole=not ends)

    async def head(self, era: Era) -> int:
        """Ask for the line's head."""
        info = await self._jet.info(era.stream)
        era.head = max(era.head, info.state.last_seq)
        return era.head

    async def heads(self, era: Era, keys: Sequence[ChannelKey]) -> Heads:
        """Read the last ids of some channels and of the line, all at one moment."""
        patience = _Patience("the newest messages")
        while True:
            known = era.head
            found, upto = await self._finder.lasts(era, keys)
            if not found:
                upto = await self.head(era)
                found, _ = await self._finder.lasts(era, keys) if keys else ({}, 0)
                if found:
                    continue
            if upto >= known:
                ids = {key: found[key].message_id if key in found else 0 for key in keys}
                return Heads(ids, upto, era.epoch)
            await patience.wait()

    async def _direct(self, era: Era, after: int, subject: str, count: int) -> Batch:
        body: dict[str, object] = {"seq": after + 1, "batch": count, "max_bytes": MAX_BYTES}
        body["next_by_subj"] = subject
        return await self._jet.direct(era.stream, body)


def _found(era: Era, messages: Iterable[Stored]) -> list[Found]:
    cut_at = len(era.subjects)
    found = []
    for one in messages:
        sheet = sheet_of(one.seq, one.header)
        if sheet is not None:
            key = key_of(one.subject[cut_at:])
            era.hear(key, sheet)
            found.append(Found(key, sheet, one.payload))
    return found


def _wanted(era: Era, found: Sequence[Found], interest: Interest | None) -> int:
    floor = era.ledger.floor
    return sum(
        one.sheet.message_id > floor(one.key) and (interest is None or interest.includes(one.key))
        for one in found
    )


def _subjects(era: Era, interest: Interest) -> list[str] | None:
    if not interest.patterns and len(interest.keys) <= MERGE_CHANNELS:
        return [era.subject(key) for key in interest.keys]
    if len(interest.patterns) == 1 and not interest.keys:
        (pattern,) = interest.patterns
        tail = pattern_tail(pattern)
        if tail is not None and pattern.site_id is None:
            # /global/… belongs to no site, and so lies here too.
            return [era.subjects + tail]
    return None
