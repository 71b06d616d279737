"""Reading: every function sees one snapshot, so a page with floor and head is of one moment."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from heapq import merge
from typing import Any

from trunkline.errors import LogCorruptError
from trunkline.log.paging import cut
from trunkline.log.port import ChannelState, Heads, Page
from trunkline.log.sqlite import statements as sql
from trunkline.log.sqlite.books import entry_of
from trunkline.model.channel import ChannelKey
from trunkline.model.interest import Interest
from trunkline.model.message import Record

#: Messages looked at per message that a page may hold, before it ends early.
SCAN_FACTOR = 4
#: Up to so many channels are read one by one and merged; more of them by a scan of the line.
MERGE_CHANNELS = 32
MAX_ID = 2**63 - 1


def read_line(connection: sqlite3.Connection) -> tuple[int, str]:
    """Return the line's head and epoch."""
    line = connection.execute(sql.READ_NEWS).fetchone()
    if line is None:
        raise LogCorruptError("the line's own row is gone: restore a backup")
    return line[0], line[1]


def channel_page(
    connection: sqlite3.Connection, channel: ChannelKey, after: int, limit: int
) -> Page:
    """Read a page of one channel."""
    _, epoch = read_line(connection)
    row = connection.execute(sql.FIND_CHANNEL, (channel.site_id or "", channel.name)).fetchone()
    if row is None:
        return Page((), 0, 0, 0, epoch)
    entry = entry_of(row)
    found = connection.execute(
        sql.READ_CHANNEL, (entry.ident, max(min(after, MAX_ID), entry.floor), limit + 1)
    )
    records, is_whole = cut((Record(channel, *row) for row in found), limit)
    upto = entry.last_id if is_whole else records[-1].message_id
    return Page(records, entry.floor, entry.last_id, upto, epoch)


def line_page(
    connection: sqlite3.Connection, after: int, limit: int, interest: Interest | None
) -> Page:
    """Read a page of all wanted channels."""
    head, epoch = read_line(connection)
    after = min(max(after, 0), MAX_ID)
    end = head
    if interest is not None and not interest.patterns and len(interest.keys) <= MERGE_CHANNELS:
        floor, found = _merged(connection, after, limit, interest)
    else:
        floor = _floor(connection, interest)
        end, found = _scanned(connection, after, limit, interest, head)
    records, is_whole = cut(found, limit)
    upto = end if is_whole else records[-1].global_id
    return Page(records, floor, head, upto, epoch)


def _merged(
    connection: sqlite3.Connection, after: int, limit: int, interest: Interest
) -> tuple[int, Iterable[Record]]:
    floor = 0
    parts = []
    for key in interest.keys:
        row = connection.execute(sql.FIND_CHANNEL, (key.site_id or "", key.name)).fetchone()
        if row is None:
            continue
        entry = entry_of(row)
        floor = max(floor, entry.floor_global)
        if entry.last_id > entry.floor:
            first = _id_after(connection, entry.ident, entry.floor, entry.last_id, after)
            found = connection.execute(sql.READ_CHANNEL, (entry.ident, first, limit + 1))
            parts.append(_records(key, found))
    return floor, merge(*parts, key=_global_id) if len(parts) != 1 else parts[0]


def _records(key: ChannelKey, rows: Iterable[tuple[Any, ...]]) -> Iterator[Record]:
    return (Record(key, *row) for row in rows)


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


def _floor(connection: sqlite3.Connection, interest: Interest | None) -> int:
    if interest is None:
        return int(connection.execute(sql.NEWEST_FLOOR).fetchone()[0])
    for _, name, site_id, floor_global in connection.execute(sql.FLOORS):
        if interest.includes(ChannelKey(name, site_id or None)):
            return int(floor_global)
    return 0


def _scanned(
    connection: sqlite3.Connection, after: int, limit: int, interest: Interest | None, head: int
) -> tuple[int, Iterable[Record]]:
    """Look at a bounded stretch of the line; return its end and what is wanted of it."""
    first = connection.execute(sql.FIRST_GLOBAL, (after,)).fetchone()
    if first is None:
        return head, ()
    end = min(head, first[0] - 1 + limit * SCAN_FACTOR)
    if interest is None:
        found = connection.execute(sql.READ_ALL, (after, end, limit + 1))
    else:
        found = connection.execute(sql.READ_ALL, (after, end, -1))
    return end, _wanted(found, interest)


def _wanted(rows: Iterable[tuple[Any, ...]], interest: Interest | None) -> Iterator[Record]:
    keys: dict[int, ChannelKey | None] = {}
    for ident, name, site_id, *rest in rows:
        try:
            key = keys[ident]
        except KeyError:
            key = ChannelKey(name, site_id or None)
            if interest is not None and not interest.includes(key):
                key = None
            keys[ident] = key
        if key is not None:
            yield Record(key, *rest)


def heads(connection: sqlite3.Connection, channels: list[ChannelKey]) -> Heads:
    """Read the last ids of some channels and of the line."""
    head, epoch = read_line(connection)
    ids = {}
    for key in channels:
        row = connection.execute(sql.FIND_CHANNEL, (key.site_id or "", key.name)).fetchone()
        ids[key] = 0 if row is None else entry_of(row).last_id
    return Heads(ids, head, epoch)


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


def _global_id(record: Record) -> int:
    return record.global_id
