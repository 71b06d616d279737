"""Reading: every function sees one snapshot, so a page with floor and head is of one moment."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator

import msgspec

from trunkline.errors import LogCorruptError
from trunkline.log.paging import cut
from trunkline.log.port import ChannelState, Heads, Page
from trunkline.log.sqlite import statements as sql
from trunkline.log.sqlite.books import entry_of
from trunkline.model.channel import ChannelKey
from trunkline.model.interest import Interest
from trunkline.model.message import Record

#: Messages looked at per message that a page may hold, before it ends early.
SCAN_FACTOR = 20
#: Up to so many named channels are read by their index and merged; more by a scan of the line.
MERGE_CHANNELS = 32
#: Messages that may be read on the loop, when they are among the newest of the line.
NEAR_ROWS = 64
NEAR_HEAD = 256
#: Kept messages of a channel from which halving beats running along the index.
HALVE_FROM = 2000
#: Channels whose floors are looked through in one step.
FLOORS_STEP = 256
MAX_NAMES = 100_000
MAX_ID = 2**63 - 1

_names = msgspec.json.Decoder(list[tuple[int, str, str]])
_named = msgspec.json.Decoder(list[tuple[int, int, int, int, str, str]])
_idents = msgspec.json.Decoder(list[int])


class TooFarError(Exception):
    """Say that a read is too long for the loop and belongs to a thread."""


class Reading:
    """Read pages; one for the loop, which declines long reads, and one for the threads.

    Args:
        on_loop: Whether this one works on the event loop.
    """

    def __init__(self, *, on_loop: bool) -> None:
        self._on_loop = on_loop
        #: Channels by number; one value with its epoch, since threads share it.
        self._known: tuple[str, dict[int, ChannelKey]] = ("", {})

    def channel_page(
        self, connection: sqlite3.Connection, channel: ChannelKey, after: int, limit: int
    ) -> Page:
        """Read a page of one channel."""
        head, epoch = read_line(connection)
        found = find(connection, [channel])
        if not found:
            return Page((), 0, 0, 0, epoch)
        ident, floor, _, last_id, _, _ = found[0]
        first = min(max(after, floor), last_id)
        records: list[Record] = []
        is_whole = True
        if first < last_id:
            self._decline_far(connection, ident, first, last_id, head)
            rows = connection.execute(sql.CHANNEL_ROWS, (ident, first, limit + 1))
            records, is_whole = cut(_records(rows, {ident: channel}), limit)
        upto = last_id if is_whole else records[-1].message_id
        return Page(records, floor, last_id, upto, epoch)

    def _decline_far(
        self, connection: sqlite3.Connection, ident: int, first: int, last_id: int, head: int
    ) -> None:
        """Decline, on the loop, what is long or may have to come from the disk."""
        if not self._on_loop:
            return
        if last_id - first > NEAR_ROWS:
            raise TooFarError
        oldest = connection.execute(sql.GLOBAL_ID, (ident, first + 1)).fetchone()[0]
        if head - oldest > NEAR_HEAD * 8:
            raise TooFarError

    def line_page(
        self, connection: sqlite3.Connection, after: int, limit: int, interest: Interest | None
    ) -> Page:
        """Read a page of all wanted channels."""
        head, epoch = read_line(connection)
        if self._on_loop and head - after > NEAR_HEAD:
            raise TooFarError
        after = min(max(after, 0), MAX_ID)
        end = head
        if interest is not None and not interest.patterns and len(interest.keys) <= MERGE_CHANNELS:
            floor, found = self._merged(connection, after, limit, interest.keys)
        else:
            floor = self._floor(connection, interest)
            first = connection.execute(sql.FIRST_GLOBAL, (after,)).fetchone()
            end = head if first is None else min(head, first[0] - 1 + limit * SCAN_FACTOR)
            keys = self._keys_between(connection, epoch, after, end)
            found = self._scanned(connection, (after, end, limit + 1), interest, keys)
        records, is_whole = cut(found, limit)
        upto = end if is_whole else records[-1].global_id
        return Page(records, floor, head, upto, epoch)

    def _merged(
        self,
        connection: sqlite3.Connection,
        after: int,
        limit: int,
        wanted: Collection[ChannelKey],
    ) -> tuple[int, Iterable[Record]]:
        floor = 0
        keys: dict[int, ChannelKey] = {}
        starts = []
        for ident, own_floor, floor_global, last_id, name, site_id in find(connection, wanted):
            floor = max(floor, floor_global)
            keys[ident] = ChannelKey(name, site_id or None)
            if last_id > own_floor:
                first = own_floor
                if last_id - own_floor > (NEAR_ROWS if self._on_loop else HALVE_FROM):
                    first = _id_after(connection, ident, own_floor, last_id, after)
                starts.append((ident, first))
        rows = connection.execute(sql.MERGED_ROWS, (_text(starts), after, limit + 1))
        return floor, _records(rows, keys)

    def _floor(self, connection: sqlite3.Connection, interest: Interest | None) -> int:
        """Find the newest floor among the wanted channels, going down from the newest of all."""
        if interest is None:
            return int(connection.execute(sql.NEWEST_FLOOR).fetchone()[0])
        below = MAX_ID
        while True:
            text = connection.execute(sql.FLOORS, (below, FLOORS_STEP)).fetchone()[0]
            floors = _names.decode(text)
            for floor_global, name, site_id in floors:
                if interest.includes(ChannelKey(name, site_id or None)):
                    return floor_global
            if len(floors) < FLOORS_STEP:
                return 0
            if self._on_loop:
                raise TooFarError
            below = floors[-1][0]

    def _scanned(
        self,
        connection: sqlite3.Connection,
        stretch: tuple[int, int, int],
        interest: Interest | None,
        keys: dict[int, ChannelKey],
    ) -> Iterable[Record]:
        """Return what is wanted of a bounded stretch of the line: (after, end, rows at most)."""
        if interest is None:
            return _records(connection.execute(sql.LINE_ROWS, stretch), keys)
        wanted = [ident for ident, key in keys.items() if interest.includes(key)]
        if not wanted:
            return ()
        after, end, count = stretch
        rows = connection.execute(sql.WANTED_ROWS, (after, end, _text(wanted), count))
        return _records(rows, keys)

    def _keys_between(
        self, connection: sqlite3.Connection, epoch: str, after: int, end: int
    ) -> dict[int, ChannelKey]:
        """Return the channels, by number, that have messages in a stretch of the line."""
        known_epoch, known = self._known
        if epoch != known_epoch or len(known) > MAX_NAMES:
            # A reset gives a channel's number to another channel.
            known = {}
            self._known = (epoch, known)
        text = connection.execute(sql.CHANNELS_IN, (after, end)).fetchone()[0]
        idents = _idents.decode(text)
        unknown = [ident for ident in idents if ident not in known]
        if unknown:
            text = connection.execute(sql.NAMES, (_text(unknown),)).fetchone()[0]
            for ident, name, site_id in _names.decode(text):
                known[ident] = ChannelKey(name, site_id or None)
        return {ident: known[ident] for ident in idents}

    def heads(self, connection: sqlite3.Connection, channels: list[ChannelKey]) -> Heads:
        """Read the last ids of some channels and of the line."""
        if self._on_loop and len(channels) > NEAR_ROWS:
            raise TooFarError
        head, epoch = read_line(connection)
        ids = dict.fromkeys(channels, 0)
        for _, _, _, last_id, name, site_id in find(connection, channels):
            ids[ChannelKey(name, site_id or None)] = last_id
        return Heads(ids, head, epoch)


def read_line(connection: sqlite3.Connection) -> tuple[int, str]:
    """Return the line's head and epoch."""
    line = connection.execute(sql.READ_NEWS).fetchone()
    if line is None:
        raise LogCorruptError("the line's own row is gone: restore a backup")
    return line[0], line[1]


def find(
    connection: sqlite3.Connection, channels: Collection[ChannelKey]
) -> list[tuple[int, int, int, int, str, str]]:
    """Find those channels that exist: ident, floor, its global id, last id, name, site."""
    if not channels:
        return []
    asked = _text([(key.name, key.site_id or "") for key in channels])
    return _named.decode(connection.execute(sql.NAMED, (asked,)).fetchone()[0])


def states(
    connection: sqlite3.Connection, after: ChannelKey | None, limit: int
) -> list[ChannelState]:
    """Describe channels in the order of (site, name)."""
    if after is None:
        rows = connection.execute(sql.LIST_ALL_CHANNELS, (limit,))
    else:
        rows = connection.execute(sql.LIST_CHANNELS, (after.site_id or "", after.name, limit))
    entries = map(entry_of, rows)
    return [
        ChannelState(one.key, one.kind, one.last_id, one.floor, one.published_at) for one in entries
    ]


#: global_id, channel's ident, message_id, published_at, data, audience, headers
Row = tuple[int, int, int, float, bytes, bytes | None, bytes | None]


def _records(rows: Iterable[Row], keys: dict[int, ChannelKey]) -> Iterator[Record]:
    for global_id, ident, message_id, at, data, audience, headers in rows:
        yield Record(keys[ident], message_id, global_id, at, data, audience, headers)


def _id_after(
    connection: sqlite3.Connection, ident: int, floor: int, last_id: int, after: int
) -> int:
    """Find a channel's newest message id whose global id is ≤ *after*, by halving.

    Kept ids are dense and rise with the global ids, so no second index is needed.
    """
    if after <= 0:
        return floor
    low, high = floor, last_id
    while low < high:
        middle = (low + high + 1) // 2
        if connection.execute(sql.GLOBAL_ID, (ident, middle)).fetchone()[0] <= after:
            low = middle
        else:
            high = middle - 1
    return low


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
