"""The hub: reads the log once for all listeners of a process, and keeps the newest in a ring.

The hub has one reader of its own. It reads by the union of all interests, dispatches each message
into the tracks that want it, and wakes their readers. A new interest is joined while no read is
under way, so its track misses nothing after ``since``.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable

from trunkline.channels.filters import Filters
from trunkline.channels.ring import Entry, Ring, Track, Wake
from trunkline.errors import LineClosedError, LogError
from trunkline.log.port import Cancel, Log, Page
from trunkline.model.channel import ChannelKey
from trunkline.model.interest import Interest, PatternInterest
from trunkline.model.message import Record
from trunkline.model.position import Position
from trunkline.runtime.clock import jitter

logger = logging.getLogger("trunkline.channels")

RING_BYTES = 64 * 1024 * 1024
MAX_NAMED = 500
ROUTES_KEPT = 8192
RETRY_AFTER = 0.5


class Hub:
    """Feed every listener of this process from one reader of the log.

    Args:
        log: The open log.
        filters: The application's message filters.
        ring_bytes: How much of the newest messages to keep in memory.
    """

    def __init__(self, log: Log, filters: Filters, *, ring_bytes: int = RING_BYTES) -> None:
        self._log = log
        self._filters = filters
        self._ring = Ring(ring_bytes)
        self._tracks: dict[Interest, Track] = {}
        self._keys: Counter[ChannelKey] = Counter()
        self._patterns: Counter[PatternInterest] = Counter()
        self._by_key: dict[ChannelKey, list[Track]] = {}
        self._by_pattern: list[Track] = []
        self._routes: dict[ChannelKey, tuple[Track, ...]] = {}
        self._union: Interest | None = Interest()
        self._union_is_stale = False
        self._news = asyncio.Event()
        self._reading = asyncio.Lock()
        self._closed = False
        self._unwatch: Cancel | None = None
        self.epoch = ""
        self.head = 0

    @property
    def position(self) -> Position:
        """Return how far this process has dispatched."""
        return Position(self.epoch, self.head)

    @property
    def tracks(self) -> Iterable[Track]:
        """Return the tracks that have readers, for diagnostics."""
        return tuple(self._tracks.values())

    @property
    def ring_size(self) -> int:
        """Count the bytes the ring holds."""
        return self._ring.size

    async def run(self) -> None:
        """Read and dispatch until cancelled; an engine's failure is reported and tried again."""
        if self._tracks:
            self._watch()
            self._news.set()  # what came while nobody read, as after a failure
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                try:
                    await self._drain()
                    self._watch_if_needed()
                except LogError as error:
                    logger.warning("cannot read the log, trying again: %s", error)
                    await asyncio.sleep(jitter(RETRY_AFTER))
                    self._news.set()
        finally:
            self._ignore()

    def _watch(self) -> None:
        if self._unwatch is None:
            self._unwatch = self._log.watch(self._news.set)

    def _ignore(self) -> None:
        unwatch, self._unwatch = self._unwatch, None
        if unwatch is not None:
            unwatch()

    def _watch_if_needed(self) -> None:
        """Watch no longer when nobody reads: a process that only publishes hears of nothing.

        It happens at the first news in vain, so that readers who come and go share one watch.
        """
        if not self._tracks and not self._reading.locked():
            self._ignore()

    def open(self) -> None:
        """Begin anew, on the running event loop: a line that was closed may be opened again."""
        self._news = asyncio.Event()
        self._reading = asyncio.Lock()
        self._closed = False
        self._restart("", 0)

    def close(self) -> None:
        """Refuse new readers and wake the present ones, which then find the hub closed."""
        self._closed = True
        for track in self._tracks.values():
            track.wake()

    @property
    def is_closed(self) -> bool:
        """Tell whether the hub was closed."""
        return self._closed

    async def join(self, interest: Interest, wake: Wake) -> Track:
        """Register a reader and return the track that will hold what it wants.

        Args:
            interest: What it wants.
            wake: Called, on the event loop, whenever the track moved.

        Returns:
            A track that holds every message of the interest after its ``since``.

        Raises:
            LineClosedError: The hub is closed.
            LogError: The log cannot be read.
        """
        if self._closed:
            raise LineClosedError("the line is closed: no new listeners")
        track = self._tracks.get(interest)
        if track is None:
            # While a read is under way its answer lacks the new interest, but moves the head.
            async with self._reading:
                if not self._tracks:
                    # Whatever is written after the end was read must be heard of.
                    self._watch()
                    await self._skip_to_end()
                track = self._tracks.get(interest)
                if track is None:
                    track = self._add_track(interest)
            # What was written since the head was read is fetched for the new interest as well.
            self._news.set()
        track.readers[wake] = track.readers.get(wake, 0) + 1
        return track

    def leave(self, track: Track, wake: Wake) -> None:
        """Take a reader back; the last one takes its track along."""
        count = track.readers.pop(wake, 0)
        if count > 1:
            track.readers[wake] = count - 1
        if not track.readers and self._tracks.get(track.interest) is track:
            self._remove_track(track)

    async def _drain(self) -> None:
        more = bool(self._tracks)
        while more:
            async with self._reading:
                page = await self._log.read_all(self.head, interest=self._wanted())
                self._accept(page)
                more = bool(self._tracks) and self.head < page.head

    def _accept(self, page: Page) -> None:
        if page.epoch != self.epoch or page.head < self.head:
            self._restart(page.epoch, 0)
            self._news.set()
            return
        if page.floor > self.head:
            # Trimming overtook the hub: readers behind the floor must learn it from the log.
            self._restart(page.epoch, page.floor)
        moved = self._dispatch(page.records)
        self.head = max(self.head, page.upto)
        for track in self._tracks.values():
            track.head = self.head
        for track in moved:
            track.wake()

    def entry(self, record: Record, epoch: str) -> Entry:
        """Prepare a record that was read from the log for readers, as dispatching would.

        Args:
            record: As the log keeps it.
            epoch: The epoch of the page it came with.

        Returns:
            An entry that no track holds.
        """
        return Entry(record, epoch, self._filters.for_name(record.channel.name))

    def _dispatch(self, records: Iterable[Record]) -> dict[Track, None]:
        moved: dict[Track, None] = {}
        for record in records:
            tracks = self._route(record.channel)
            if tracks:
                entry = self.entry(record, self.epoch)
                entry.tracks = tracks
                self._ring.append(entry)
                moved.update(dict.fromkeys(tracks))
        return moved

    def _route(self, key: ChannelKey) -> tuple[Track, ...]:
        found = self._routes.get(key)
        if found is None:
            by_key = self._by_key.get(key, [])
            by_pattern = [
                track
                for track in self._by_pattern
                if key not in track.interest.keys and track.interest.includes(key)
            ]
            if len(self._routes) >= ROUTES_KEPT:
                self._routes.clear()
            found = self._routes[key] = (*by_key, *by_pattern)
        return found

    async def _skip_to_end(self) -> None:
        heads = await self._log.last_ids(())
        if (heads.epoch, heads.head) != (self.epoch, self.head):
            self._restart(heads.epoch, heads.head)

    def _restart(self, epoch: str, head: int) -> None:
        self.epoch = epoch
        self.head = head
        self._ring.clear()
        for track in self._tracks.values():
            track.restart(epoch, head, head)
        for track in tuple(self._tracks.values()):
            track.wake()

    def _add_track(self, interest: Interest) -> Track:
        track = Track(interest, self.epoch, self.head, self.head)
        self._tracks[interest] = track
        self._keys.update(interest.keys)
        self._patterns.update(interest.patterns)
        for key in interest.keys:
            self._by_key.setdefault(key, []).append(track)
            self._routes.pop(key, None)
        if interest.patterns:
            self._by_pattern.append(track)
            self._routes.clear()
        self._union_is_stale = True
        return track

    def _remove_track(self, track: Track) -> None:
        del self._tracks[track.interest]
        self._keys.subtract(track.interest.keys)
        self._patterns.subtract(track.interest.patterns)
        for key in track.interest.keys:
            self._by_key[key].remove(track)
            self._routes.pop(key, None)
            if not self._keys[key]:
                del self._keys[key], self._by_key[key]
        for pattern in track.interest.patterns:
            if not self._patterns[pattern]:
                del self._patterns[pattern]
        if track.interest.patterns:
            self._by_pattern.remove(track)
            self._routes.clear()
        self._union_is_stale = True

    def _wanted(self) -> Interest | None:
        """Return what to ask the log for: the union, or everything where naming would cost more."""
        if self._union_is_stale:
            many = len(self._keys) > MAX_NAMED
            self._union = (
                None if many else Interest(frozenset(self._keys), frozenset(self._patterns))
            )
            self._union_is_stale = False
        return self._union

    def __repr__(self) -> str:
        return f"<Hub at {self.position} tracks={len(self._tracks)} ring={len(self._ring)}>"
