"""Trimming and sweeping: raising floors at once, and deleting later what they hide.

A purge always leaves a channel's last message, for it is the counter and the next writer's
condition. It leaves whatever may still settle a doubtful append, and messages with keys whose
receipts have not expired.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from trunkline.log.nats.envelope import Sheet
from trunkline.log.nats.era import Era
from trunkline.log.nats.finding import Finder
from trunkline.log.nats.jetstream import LAST_SUBJECTS, JetStream
from trunkline.log.nats.marks import Marks
from trunkline.log.nats.pages import Pages
from trunkline.log.nats.subjects import key_of
from trunkline.log.paging import site_order
from trunkline.log.port import ChannelState
from trunkline.log.retention import Retention
from trunkline.model.channel import ChannelKey, Kind
from trunkline.runtime.clock import Clock

#: Hidden messages of a channel that are worth a purge.
WORTH_A_PURGE: Final = 100
#: Messages looked at in one step to find the oldest over the line's cap.
SCAN: Final = 1000


class _Shelf:
    """Be a channel as a sweep sees it."""

    def __init__(self, key: ChannelKey, last: Sheet, floors: tuple[int, int], count: int) -> None:
        self.key = key
        self.last = last
        self.floor, self.floor_global = max((last.floor, last.floor_global), floors)
        #: Messages that are stored, hidden ones included.
        self.count = count

    @property
    def kept(self) -> int:
        return self.last.message_id - self.floor

    @property
    def hidden(self) -> int:
        return self.count - self.kept


class Upkeep:
    """Keep the line within its limits.

    Args:
        jet: The API.
        pages: Reads.
        marks: Takes floors.
        retention: Which limits hold.
        clock: Tells the time.
        doubt: Seconds for which an append may stay doubtful.
    """

    def __init__(
        self,
        jet: JetStream,
        pages: Pages,
        *,
        marks: Marks,
        retention: Retention,
        clock: Clock,
        doubt: float,
    ) -> None:  # fmt: skip
        self._jet = jet
        self._marks = marks
        self._pages = pages
        self._finder = Finder(jet)
        self._retention = retention
        self._clock = clock
        self._doubt = doubt
        #: The line's head at former sweeps: (epoch, monotonic seconds, head).
        self._heads: deque[tuple[str, float, int]] = deque(maxlen=1000)

    async def trim(self, era: Era, key: ChannelKey, upto: int) -> int:
        """Hide a channel's messages up to a message id; return how many."""
        last = await self._pages.last(era, key)
        await self._marks.sync(era)
        if last is None:
            return 0
        return await self._raise(era, _Shelf(key, last, era.ledger.floors(key), 0), upto)

    async def _raise(self, era: Era, shelf: _Shelf, upto: int) -> int:
        last = shelf.last
        upto = min(upto, last.message_id)
        gone = upto - shelf.floor
        if gone <= 0:
            return 0
        floor_global = last.seq
        if upto < last.message_id:
            kept = await self._finder.first(
                era,
                era.subject(shelf.key),
                (shelf.floor_global, last.seq),
                lambda sheet: sheet.message_id > upto,
            )
            floor_global = last.prev if kept is None else kept.prev
        await self._marks.write(era, shelf.key, upto, floor_global)
        shelf.floor, shelf.floor_global = upto, floor_global
        return gone

    async def sweep(self, era: Era) -> int:
        """Apply the limits that time and the line's size set; return how many were hidden."""
        head = await self._pages.head(era)
        now, monotonic = self._clock.now(), self._clock.monotonic()
        self._heads.append((era.epoch, monotonic, head))
        settled = max(
            (one[2] for one in self._heads if one[0] == era.epoch and self._is_settled(one[1])),
            default=0,
        )
        gone = kept = 0
        keys: dict[ChannelKey, int] = await self._counts(era)
        await self._marks.sync(era)
        names = list(keys)
        for start in range(0, len(names), LAST_SUBJECTS):
            chunk = names[start : start + LAST_SUBJECTS]
            lasts, _ = await self._finder.lasts(era, chunk)
            for key, last in lasts.items():
                shelf = _Shelf(key, last, era.ledger.floors(key), keys[key])
                gone += await self._sweep_channel(era, shelf, now)
                kept += shelf.kept
                if settled:
                    await self._purge(era, shelf, settled, now)
        return gone + await self._sweep_line(era, kept)

    def _is_settled(self, noted: float) -> bool:
        return noted <= self._clock.monotonic() - 2 * self._doubt

    async def _sweep_channel(self, era: Era, shelf: _Shelf, now: float) -> int:
        if not shelf.kept:
            return 0
        limits = self._retention.limits(shelf.key)
        last = shelf.last
        if limits.max_idle is not None and last.at < now - limits.max_idle:
            return await self._raise(era, shelf, last.message_id)
        age = limits.max_backlog_age
        if age is None or last.oldest_at >= now - age:
            return 0
        kept = await self._finder.first(
            era,
            era.subject(shelf.key),
            (shelf.floor_global, last.seq),
            lambda sheet: sheet.at >= now - age,
        )
        return await self._raise(
            era, shelf, last.message_id if kept is None else kept.message_id - 1
        )

    async def _sweep_line(self, era: Era, kept: int) -> int:
        """Hide the oldest messages over the line's cap."""
        cap = self._retention.max_line_size
        excess = 0 if cap is None else kept - cap
        gone = after = 0
        while excess > gone:
            page = await self._pages.line(era, after, min(SCAN, excess - gone), None)
            upto = {one.channel: one.message_id for one in page.records}
            for key, message_id in upto.items():
                gone += await self.trim(era, key, message_id)
            after = page.upto
            if after >= page.head:
                break
        return gone

    async def _purge(self, era: Era, shelf: _Shelf, settled: int, now: float) -> None:
        """Delete what is hidden, but never the channel's last message."""
        spare = shelf.hidden if shelf.kept else shelf.hidden - 1
        if spare <= 0 or spare < min(WORTH_A_PURGE, shelf.kept):
            return
        last = shelf.last
        upto = min(shelf.floor_global, settled, last.seq - 1)
        expired = now - self._retention.receipt_age
        if last.keyed_at >= expired:
            live = await self._finder.first(
                era, era.subject(shelf.key), (0, last.seq), lambda sheet: sheet.at >= expired
            )
            if live is not None:
                upto = min(upto, live.seq - 1)
        if upto > 0:
            await self._jet.purge(era.stream, era.subject(shelf.key), below=upto + 1)

    async def _counts(self, era: Era) -> dict[ChannelKey, int]:
        """Return every channel with the number of its stored messages."""
        counts: dict[ChannelKey, int] = {}
        cut = len(era.subjects)
        while True:
            info = await self._jet.info(era.stream, subjects=era.everything, offset=len(counts))
            subjects = info.state.subjects or {}
            counts.update((key_of(one[cut:]), count) for one, count in subjects.items())
            if not subjects or len(counts) >= info.total:
                return counts

    async def channels(
        self, era: Era, after: ChannelKey | None, limit: int
    ) -> Sequence[ChannelState]:
        """Describe channels in the order of (site, name)."""
        start = None if after is None else site_order(after)
        keys = [key for key in await self._counts(era) if start is None or site_order(key) > start]
        keys.sort(key=site_order)
        wanted = keys[:limit]
        lasts, _ = await self._finder.lasts(era, wanted)
        await self._marks.sync(era)
        states = []
        for key in wanted:
            last = lasts.get(key)
            if last is not None:
                floor = max(last.floor, era.ledger.floor(key))
                states.append(ChannelState(key, Kind.PLAIN, last.message_id, floor, last.at))
        return states
