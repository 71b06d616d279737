"""Reading: every page is one statement, or one snapshot, so floor and head are of its moment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from trunkline.log.paging import cut
from trunkline.log.port import ChannelState, Heads, Page
from trunkline.log.postgres import statements as sql
from trunkline.model.channel import ChannelKey, Kind
from trunkline.model.interest import Interest
from trunkline.model.message import Record
from trunkline.sql.postgres.address import Address
from trunkline.sql.postgres.database import Connection

#: Messages looked at per message that a page may hold, before it ends early.
SCAN_FACTOR = 20
#: Up to so many named channels are read by their index and merged; more by a scan of the line.
MERGE_CHANNELS = 32
#: Messages at the end of the line that are looked at here rather than picked by the server.
NEAR = 256
#: Channels whose floors are looked through in one step.
FLOORS_STEP = 256
MAX_ID = 2**63 - 1
MAX_NAMES = 100_000


class Reading:
    """Read pages of one line.

    Args:
        address: Names the schema.
    """

    def __init__(self, address: Address) -> None:
        self._sql = {
            text: address.sql(text)
            for text in (
                *(sql.CHANNEL_PAGE, sql.LINE_PAGE, sql.WANTED_PAGE, sql.MERGED_PAGE),
                *(sql.STRETCH, sql.CHANNELS_IN, sql.FLOORS, sql.HEADS),
                *(sql.LIST_CHANNELS, sql.LIST_ALL_CHANNELS),
            )
        }
        #: Channels by number, for an epoch: numbers are never given again.
        self._keys: dict[int, ChannelKey] = {}

    async def channel_page(
        self, connection: Connection, channel: ChannelKey, after: int, limit: int
    ) -> Page:
        """Read a page of one channel."""
        rows = await connection.fetch(
            self._sql[sql.CHANNEL_PAGE],
            channel.site_id or "",
            channel.name,
            _bounded(after),
            limit + 1,
        )
        epoch, floor, last_id = rows[0][:3]
        if last_id is None:
            return Page((), 0, 0, 0, epoch)
        found = (
            Record(channel, message_id, global_id, at, data, audience, headers)
            for _, _, _, message_id, global_id, at, data, audience, headers in rows
            if message_id is not None
        )
        records, is_whole = cut(found, limit)
        upto = last_id if is_whole else records[-1].message_id
        return Page(records, floor, last_id, upto, epoch)

    async def line_page(
        self,
        connection: Connection,
        after: int,
        limit: int,
        interest: Interest | None,
        head: int,
    ) -> Page:
        """Read a page of all wanted channels.

        The page's floor is exact wherever *after* is below the newest floor of the whole line;
        above it nobody can have lost anything.

        Args:
            connection: Where to read.
            after: A global id.
            limit: Messages at most.
            interest: Which channels; None for all.
            head: About where the line's head is.
        """
        after = _bounded(after)
        if interest is None:
            rows = await self._fetch(sql.LINE_PAGE, connection, after, limit + 1, _scan(limit))
            return self._page(rows, limit, None)
        if not interest.patterns and len(interest.keys) <= MERGE_CHANNELS:
            sites, names = _names(interest.keys)
            rows = await self._fetch(sql.MERGED_PAGE, connection, after, limit + 1, sites, names)
            return self._page(rows, limit, None)
        if after >= head - NEAR:
            rows = await self._fetch(sql.LINE_PAGE, connection, after, NEAR + 1, NEAR)
            if after >= rows[0][2]:
                return self._page(rows, limit, interest)
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return await self._scanned(connection, after, limit, interest)

    async def _scanned(
        self, connection: Connection, after: int, limit: int, interest: Interest
    ) -> Page:
        """Read a page in a few steps of one snapshot: which channels, then their messages."""
        (line,) = await self._fetch(sql.STRETCH, connection, after, _scan(limit))
        epoch, head, newest_floor, end = line
        floor = 0
        if newest_floor > 0:
            floor = await self._floor(connection, interest)
        found = await self._fetch(sql.CHANNELS_IN, connection, after, end)
        wanted = [
            ident
            for ident, name, site_id in found
            if interest.includes(ChannelKey(name, site_id or None))
        ]
        if not wanted:
            return Page((), floor, head, end, epoch)
        rows = await self._fetch(
            sql.WANTED_PAGE, connection, after, limit + 1, _scan(limit), wanted
        )
        page = self._page(rows, limit, None)
        return Page(page.records, floor, head, page.upto, epoch)

    async def _floor(self, connection: Connection, interest: Interest) -> int:
        """Find the newest floor among the wanted channels, going down from the newest of all."""
        below = MAX_ID
        while True:
            rows = await self._fetch(sql.FLOORS, connection, below, FLOORS_STEP)
            for floor_global, name, site_id in rows:
                if interest.includes(ChannelKey(name, site_id or None)):
                    return int(floor_global)
            if len(rows) < FLOORS_STEP:
                return 0
            below = rows[-1][0]

    async def _fetch(self, text: str, connection: Connection, *arguments: Any) -> Sequence[Any]:
        found: Sequence[Any] = await connection.fetch(self._sql[text], *arguments)
        return found

    def _page(self, rows: Sequence[Any], limit: int, interest: Interest | None) -> Page:
        """Make a page of a statement's rows, without those that are not wanted."""
        epoch, head, floor, end = rows[0][:4]
        if rows[0][4] is None:
            return Page((), floor, head, end, epoch)
        found = self._records(rows)
        if interest is not None:
            # All rows were fetched: where those fetched end early, so does the page.
            kept, is_whole = cut(found, NEAR)
            end = end if is_whole else kept[-1].global_id
            found = [record for record in kept if interest.includes(record.channel)]
        records, is_whole = cut(found, limit)
        upto = end if is_whole else records[-1].global_id
        return Page(records, floor, head, upto, epoch)

    def _records(self, rows: Iterable[Any]) -> list[Record]:
        keys = self._keys
        if len(keys) > MAX_NAMES:
            keys.clear()
        found = []
        for row in rows:
            _, _, _, _, global_id, ident, name, site_id, message_id, at, *content = row
            key = keys.get(ident)
            if key is None:
                key = keys[ident] = ChannelKey(name, site_id or None)
            found.append(Record(key, message_id, global_id, at, *content))
        return found

    async def heads(self, connection: Connection, channels: list[ChannelKey]) -> Heads:
        """Read the last ids of some channels and of the line."""
        (row,) = await self._fetch(sql.HEADS, connection, *_names(channels))
        head, epoch, ids = row
        return Heads(dict(zip(channels, ids or (), strict=True)), head, epoch)

    async def states(
        self, connection: Connection, after: ChannelKey | None, limit: int
    ) -> list[ChannelState]:
        """Describe channels in the order of (site, name)."""
        if after is None:
            rows = await self._fetch(sql.LIST_ALL_CHANNELS, connection, limit)
        else:
            site_id = after.site_id or ""
            rows = await self._fetch(sql.LIST_CHANNELS, connection, site_id, after.name, limit)
        return [
            ChannelState(ChannelKey(name, site_id or None), Kind(kind), last_id, floor, at)
            for site_id, name, kind, last_id, floor, at in rows
        ]


def _names(channels: Iterable[ChannelKey]) -> tuple[list[str], list[str]]:
    keys = list(channels)
    return [key.site_id or "" for key in keys], [key.name for key in keys]


def _bounded(after: int) -> int:
    return min(max(after, 0), MAX_ID - 1)


def _scan(limit: int) -> int:
    return min(limit * SCAN_FACTOR, MAX_ID // 2)
