"""Trimming, sweeping and erasing: what changes floors, and what deletes the messages they hide."""

from __future__ import annotations

import asyncio
from typing import Any

from trunkline.log.postgres import statements as sql
from trunkline.log.retention import Retention
from trunkline.model.channel import ChannelKey
from trunkline.sql.postgres.address import Address
from trunkline.sql.postgres.database import Connection
from trunkline.sql.postgres.pool import Pool

#: Channels, or messages, that one transaction of a sweep handles.
SWEEP_CHANNELS = 200
SWEEP_MESSAGES = 5000
#: Messages hidden by this process's appends after which it deletes what is hidden.
ERASE_FROM = 5000


class Upkeep:
    """Keep the line within its limits.

    Args:
        pool: Runs the statements, beside the appends.
        address: Names the schema.
        retention: Which limits hold.
        lock: The tail's key, and for how long to wait for it.
    """

    def __init__(
        self, pool: Pool, address: Address, retention: Retention, lock: tuple[int, int]
    ) -> None:
        self._pool = pool
        self._address = address
        self._retention = retention
        self._lock = lock
        self._hidden = 0
        self._is_due = asyncio.Event()

    def note_hidden(self, count: int) -> None:
        """Count messages that an append hid; enough of them are deleted soon."""
        self._hidden += count
        if self._hidden >= ERASE_FROM:
            self._is_due.set()

    async def run(self) -> None:
        """Delete what appends hid, in bulk, until cancelled."""
        while True:
            await self._is_due.wait()
            self._is_due.clear()
            self._hidden = 0
            await self._erase()

    async def trim(self, channel: ChannelKey, upto: int) -> int:
        """Hide a channel's messages up to a message id; return how many."""
        return int(
            await self._value(sql.TRIM, *self._lock, channel.site_id or "", channel.name, upto)
        )

    async def reset(self, topic: str, epoch: str) -> None:
        """Erase everything and set a new epoch."""
        await self._value(sql.RESET, *self._lock, topic, epoch)

    async def sweep(self, now: float) -> int:
        """Apply the limits that time and the line's size set; return how many were hidden."""
        gone = await self._sweep_channels(now)
        cap = self._retention.max_line_size
        while cap is not None:
            count = await self._value(sql.DROP_OLDEST, *self._lock, cap, SWEEP_MESSAGES)
            gone += count
            if count == 0:
                break
        await self._erase()
        oldest = now - self._retention.receipt_age
        while await self._value(sql.FORGET, oldest, SWEEP_MESSAGES):
            pass
        return gone

    async def _sweep_channels(self, now: float) -> int:
        gone = ident = 0
        while True:
            rows = await self._rows(sql.SWEPT_CHANNELS, ident, SWEEP_CHANNELS)
            if not rows:
                return gone
            ident = rows[-1][0]
            idents, idle, cutoffs = [], [], []
            for channel, site_id, name, keeps in rows:
                limits = self._retention.limits(ChannelKey(name, site_id or None))
                if keeps and (limits.max_idle is not None or limits.max_backlog_age is not None):
                    idents.append(channel)
                    idle.append(_before(now, limits.max_idle))
                    cutoffs.append(_before(now, limits.max_backlog_age))
            if idents:
                gone += await self._value(sql.SWEEP, *self._lock, idents, idle, cutoffs)

    async def _erase(self) -> None:
        while await self._value(sql.ERASE, self._lock[0], SWEEP_MESSAGES):
            pass

    async def _value(self, statement: str, *arguments: Any) -> Any:
        """Run one of the functions; each may run twice, for it looks at what is there."""

        async def work(connection: Connection) -> Any:
            return await connection.fetchval(self._address.sql(statement), *arguments)

        return await self._pool.run(work)

    async def _rows(self, statement: str, *arguments: Any) -> Any:
        async def work(connection: Connection) -> Any:
            return await connection.fetch(self._address.sql(statement), *arguments)

        return await self._pool.run(work)


def _before(now: float, age: float | None) -> float | None:
    return None if age is None else now - age
