"""The engine that keeps everything in this process: for tests, and for lines that may forget."""

from __future__ import annotations

import asyncio
import heapq
import secrets
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, ClassVar, Self
from urllib.parse import parse_qsl, urlsplit

from trunkline.errors import ConfigError, LineClosedError
from trunkline.log.admission import ChannelEntry, KnownKey, Touch, Turn
from trunkline.log.paging import cut, refuse_stream, site_order
from trunkline.log.port import (
    PAGE_SIZE,
    Cancel,
    ChannelState,
    Group,
    Heads,
    Log,
    Outcome,
    Page,
    Wake,
)
from trunkline.log.retention import Retention
from trunkline.log.watchers import Watchers
from trunkline.model.channel import ChannelKey, Kind
from trunkline.model.interest import Interest
from trunkline.model.message import Record
from trunkline.model.position import EPOCH_BYTES
from trunkline.runtime.clock import Clock

#: How many messages a page looks at, per message it may return, before it ends early.
SCAN_FACTOR = 20


class _Shelf:
    """Keep one channel: its entry and its backlog, whose ids are dense."""

    __slots__ = ("entry", "records", "start")

    def __init__(self, entry: ChannelEntry) -> None:
        self.entry = entry
        self.records: list[Record] = []
        #: Records before this index are trimmed; they are dropped in bulk.
        self.start = 0

    def after(self, message_id: int) -> Iterator[Record]:
        first = max(min(message_id, self.entry.last_id), self.entry.floor) - self.entry.floor
        return islice(self.records, self.start + first, None)

    def after_global(self, global_id: int) -> Iterator[Record]:
        first = bisect_right(self.records, global_id, lo=self.start, key=_global_id)
        return islice(self.records, first, None)

    def trim(self, upto: int) -> int:
        entry = self.entry
        upto = min(upto, entry.last_id)
        gone = max(0, upto - entry.floor)
        if gone:
            self.start += gone
            entry.floor = upto
            entry.floor_global = self.records[self.start - 1].global_id
            if self.start > 64 and self.start * 2 > len(self.records):
                del self.records[: self.start]
                self.start = 0
        return gone

    def trim_older(self, published_at: float) -> int:
        first = bisect_left(self.records, published_at, lo=self.start, key=_published_at)
        return self.trim(self.entry.floor + first - self.start)


class MemoryLog(Log):
    """Keep the line in memory: durable as long as the process lives.

    Args:
        retention: Asked at every trim.
        clock: Tells the time.
    """

    schemes: ClassVar[tuple[str, ...]] = ("memory",)

    def __init__(self, *, retention: Retention, clock: Clock) -> None:
        self._retention = retention
        self._clock = clock
        self._watchers = Watchers()
        self._is_open = False
        self._forget()

    def _forget(self) -> None:
        self._shelves: dict[ChannelKey, _Shelf] = {}
        self._numbered: dict[int, _Shelf] = {}
        self._next_ident = 0
        self._line: list[Record] = []
        self._hidden = 0
        self._head = 0
        self._at = 0.0
        self._keys: dict[tuple[int, str], tuple[KnownKey, float]] = {}
        self._epoch = secrets.token_hex(EPOCH_BYTES)

    @classmethod
    def from_url(
        cls, url: str, *, retention: Retention, clock: Clock, options: Mapping[str, Any]
    ) -> Self:
        """Make a log from ``memory://``, which takes no options."""
        parts = urlsplit(url)
        if parts.scheme not in cls.schemes or parts.netloc or parts.path.strip("/"):
            raise ConfigError(f"{url!r} is no memory log: write memory://")
        unknown = [*options, *(name for name, _ in parse_qsl(parts.query, keep_blank_values=True))]
        if unknown:
            raise ConfigError(f"a memory log takes no options, so not {unknown[0]!r} either")
        return cls(retention=retention, clock=clock)

    async def open(self) -> None:
        """Open the log; what it kept before a close is still there."""
        self._watchers.bind(asyncio.get_running_loop())
        self._is_open = True

    async def close(self) -> None:
        """Refuse what comes later."""
        self._is_open = False
        self._watchers.clear()

    def entry(self, key: ChannelKey, kind: Kind) -> ChannelEntry:
        """Return a channel's entry, for the turn that decides an append."""
        shelf = self._shelves.get(key)
        if shelf is not None:
            return shelf.entry
        # A new entry joins the log only when its turn is carried out.
        self._next_ident += 1
        return ChannelEntry(self._next_ident, key, kind)

    def known(self, entry: ChannelEntry, key: str) -> KnownKey | None:
        """Return what is remembered of an idempotency key."""
        found = self._keys.get((entry.ident, key))
        return None if found is None else found[0]

    async def append(self, groups: Sequence[Group]) -> Sequence[Outcome]:
        """Store groups of drafts, each whole or not at all."""
        self._check_open()
        now, head = self._clock.now(), self._head
        outcomes: list[Outcome] = []
        for group in groups:
            at = max(now, self._at)
            turn = Turn(self, self._retention, epoch=self._epoch, head=self._head, at=at)
            outcomes.append(turn.admit(group))
            if turn.rows:
                self._carry_out(turn, now)
        self._compact()
        if self._head > head:
            self._watchers.wake()
        return outcomes

    def _carry_out(self, turn: Turn, now: float) -> None:
        touched = [touch for touch in turn.touches.values() if touch.grows]
        for touch in touched:
            if touch.entry.is_new:
                self._add_shelf(touch.entry)
        for global_id, ident, message_id, at, data, audience, headers in turn.rows:
            shelf = self._numbered[ident]
            record = Record(shelf.entry.key, message_id, global_id, at, data, audience, headers)
            shelf.records.append(record)
            self._line.append(record)
        for new in turn.new_keys:
            self._keys[new.ident, new.key] = (new.known, turn.at)
        self._head, self._at = turn.head, turn.at
        for touch in touched:
            self._settle(touch, turn.at, now)

    def _add_shelf(self, entry: ChannelEntry) -> None:
        entry.is_new = False
        self._shelves[entry.key] = self._numbered[entry.ident] = _Shelf(entry)

    def _settle(self, touch: Touch, at: float, now: float) -> None:
        shelf = self._shelves[touch.entry.key]
        touch.entry.last_id = touch.last_id
        touch.entry.published_at = at
        self._hidden += shelf.trim(touch.floor)
        if touch.age is not None:
            self._hidden += shelf.trim_older(now - touch.age)

    def _compact(self) -> None:
        if self._hidden > 1000 and self._hidden * 2 > len(self._line):
            self._line = [record for record in self._line if self._is_kept(record)]
            self._hidden = 0

    def _is_kept(self, record: Record) -> bool:
        return record.message_id > self._shelves[record.channel].entry.floor

    async def read(self, channel: ChannelKey, after: int, limit: int = PAGE_SIZE) -> Page:
        """Return messages of one channel with ids above *after*."""
        self._check_open()
        shelf = self._shelves.get(channel)
        if shelf is None:
            return Page((), 0, 0, 0, self._epoch)
        head = shelf.entry.last_id
        records, is_whole = cut(shelf.after(after), limit)
        upto = head if is_whole else records[-1].message_id
        return Page(records, shelf.entry.floor, head, upto, self._epoch)

    async def read_all(
        self, after: int, limit: int = PAGE_SIZE, interest: Interest | None = None
    ) -> Page:
        """Return messages of all wanted channels with global ids above *after*."""
        self._check_open()
        wanted = [
            shelf
            for key, shelf in self._shelves.items()
            if interest is None or interest.includes(key)
        ]
        floor = max((shelf.entry.floor_global for shelf in wanted), default=0)
        end = self._head
        if interest is not None and len(wanted) <= 64:
            found: Iterable[Record] = heapq.merge(
                *(shelf.after_global(after) for shelf in wanted), key=_global_id
            )
        else:
            found, end = self._scan(after, limit, None if interest is None else wanted)
        records, is_whole = cut(found, limit)
        upto = end if is_whole else records[-1].global_id
        return Page(records, floor, self._head, upto, self._epoch)

    def _scan(
        self, after: int, limit: int, wanted: list[_Shelf] | None
    ) -> tuple[Iterable[Record], int]:
        """Look at a bounded stretch of the line; return what is wanted of it and its end."""
        first = bisect_right(self._line, after, key=_global_id)
        stretch = self._line[first : first + limit * SCAN_FACTOR]
        is_end = first + len(stretch) >= len(self._line)
        end = self._head if is_end else stretch[-1].global_id
        kept = (record for record in stretch if self._is_kept(record))
        if wanted is None:
            return kept, end
        keys = {shelf.entry.key for shelf in wanted}
        return (record for record in kept if record.channel in keys), end

    async def last_ids(self, channels: Iterable[ChannelKey]) -> Heads:
        """Return the last ids of *channels* and of the line."""
        self._check_open()
        ids = {
            key: 0 if (shelf := self._shelves.get(key)) is None else shelf.entry.last_id
            for key in channels
        }
        return Heads(ids, self._head, self._epoch)

    async def trim(self, channel: ChannelKey, upto: int) -> int:
        """Make a plain channel's messages with ids ≤ *upto* unreadable."""
        self._check_open()
        refuse_stream(channel)
        shelf = self._shelves.get(channel)
        gone = 0 if shelf is None else shelf.trim(upto)
        self._hidden += gone
        self._compact()
        return gone

    async def sweep(self) -> int:
        """Apply the limits by age, idleness and line size, and forget old keys."""
        self._check_open()
        now = self._clock.now()
        plain = [shelf for shelf in self._numbered.values() if shelf.entry.kind is Kind.PLAIN]
        gone = sum(self._sweep_one(shelf, now) for shelf in plain)
        gone += self._sweep_line(plain)
        self._hidden += gone
        self._compact()
        oldest = now - self._retention.receipt_age
        self._keys = {key: known for key, known in self._keys.items() if known[1] >= oldest}
        return gone

    def _sweep_one(self, shelf: _Shelf, now: float) -> int:
        limits = self._retention.limits(shelf.entry.key)
        gone = 0
        if limits.max_backlog_age is not None:
            gone += shelf.trim_older(now - limits.max_backlog_age)
        if limits.max_idle is not None and shelf.entry.published_at < now - limits.max_idle:
            gone += shelf.trim(shelf.entry.last_id)
        return gone

    def _sweep_line(self, plain: list[_Shelf]) -> int:
        cap = self._retention.max_line_size
        if cap is None:
            return 0
        excess = sum(shelf.entry.last_id - shelf.entry.floor for shelf in plain) - cap
        if excess <= 0:
            return 0
        oldest = (
            record for record in self._line if self._is_plain(record) and self._is_kept(record)
        )
        upto = {record.channel: record.message_id for record in list(islice(oldest, excess))}
        return sum(self._shelves[key].trim(message_id) for key, message_id in upto.items())

    def _is_plain(self, record: Record) -> bool:
        return self._shelves[record.channel].entry.kind is Kind.PLAIN

    async def reset(self) -> str:
        """Erase everything and start a new epoch."""
        self._check_open()
        self._forget()
        self._watchers.wake()
        return self._epoch

    async def channels(
        self, after: ChannelKey | None = None, limit: int = PAGE_SIZE
    ) -> Sequence[ChannelState]:
        """Describe channels in the order of (site, name)."""
        self._check_open()
        start = None if after is None else site_order(after)
        entries = (shelf.entry for shelf in self._numbered.values())
        later = [one for one in entries if start is None or site_order(one.key) > start]
        later.sort(key=lambda one: site_order(one.key))
        return [
            ChannelState(one.key, one.kind, one.last_id, one.floor, one.published_at)
            for one in later[:limit]
        ]

    def watch(self, wake: Wake) -> Cancel:
        """Call *wake* after every append and reset."""
        return self._watchers.add(wake)

    def _check_open(self) -> None:
        if not self._is_open:
            raise LineClosedError("this log is closed: open it first")


def _global_id(record: Record) -> int:
    return record.global_id


def _published_at(record: Record) -> float:
    return record.published_at
