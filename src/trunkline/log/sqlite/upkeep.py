"""Trimming, sweeping and resetting: what changes floors and deletes what they hide."""

from __future__ import annotations

import asyncio
import copy
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

from trunkline.log.admission import ChannelEntry
from trunkline.log.retention import Retention
from trunkline.log.sqlite import statements as sql
from trunkline.log.sqlite.books import LineBooks, entry_of
from trunkline.log.sqlite.placement import age_floor, raise_floor, save_entry
from trunkline.model.channel import ChannelKey
from trunkline.sql.writer import Writer

T = TypeVar("T")

#: Channels, or messages, that one transaction of a sweep handles.
SWEEP_CHANNELS = 200
SWEEP_MESSAGES = 5000


class Chore(Generic[T]):
    """Be a unit of work that runs one function and answers one caller.

    Args:
        books: The writer's memory, which the function's changes make untrue.
        run: Does it inside the transaction, and returns the caller's answer.
        is_long: Whether it belongs into the writer's thread.
    """

    is_small = False

    def __init__(
        self, books: LineBooks, run: Callable[[sqlite3.Connection], T], *, is_long: bool = False
    ) -> None:
        self.is_long = is_long
        self.done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._books = books
        self._run = run
        self._answer: list[T] = []

    def work(self, connection: sqlite3.Connection) -> bool:
        """Run the function."""
        self._answer.append(self._run(connection))
        return True

    def finish(self, connection: sqlite3.Connection) -> None:
        """Do nothing more."""

    def settle(self, error: BaseException | None) -> None:
        """Answer the caller."""
        self._books.distrust()
        if self.done.done():
            return
        if error is None:
            self.done.set_result(self._answer[0])
        else:
            self.done.set_exception(copy.copy(error))


class Upkeep:
    """Keep the file within its limits.

    Args:
        writer: Runs the transactions.
        books: What the writer remembers.
        retention: Which limits hold.
    """

    def __init__(self, writer: Writer, books: LineBooks, retention: Retention) -> None:
        self._writer = writer
        self._books = books
        self._retention = retention

    async def _run(self, run: Callable[[sqlite3.Connection], T], *, is_long: bool = False) -> T:
        chore = Chore(self._books, run, is_long=is_long)
        self._writer.submit(chore)
        return await chore.done

    async def trim(self, channel: ChannelKey, upto: int) -> int:
        """Hide a channel's messages up to a message id; return how many."""

        def run(connection: sqlite3.Connection) -> int:
            row = connection.execute(
                sql.FIND_CHANNEL, (channel.site_id or "", channel.name)
            ).fetchone()
            return 0 if row is None else _trim(connection, entry_of(row), upto)

        return await self._run(run)

    async def reset(self, epoch: str, also: Sequence[str] = ()) -> None:
        """Erase everything and set a new epoch, with other statements in the same commit."""

        def run(connection: sqlite3.Connection) -> None:
            for statement in (*also, *sql.ERASE_EVERYTHING):
                connection.execute(statement)
            connection.execute(sql.RESET_LINE, (epoch,))

        await self._run(run, is_long=True)

    async def sweep(self, now: float) -> int:
        """Apply the limits that time and the line's size set; return how many were hidden."""
        gone = await self._sweep_channels(now)
        await self._erase_hidden()
        gone += await self._sweep_line()
        await self._erase_hidden()
        oldest = now - self._retention.receipt_age
        while await self._run(partial(_forget, oldest=oldest), is_long=True):
            pass
        return gone

    async def _sweep_channels(self, now: float) -> int:
        gone = ident = 0

        def run(connection: sqlite3.Connection) -> tuple[int, int]:
            rows = connection.execute(sql.PLAIN_CHANNELS, (ident, SWEEP_CHANNELS)).fetchall()
            entries = [entry_of(row) for row in rows]
            count = sum(self._sweep_channel(connection, entry, now) for entry in entries)
            return count, entries[-1].ident if entries else -1

        while ident >= 0:
            count, ident = await self._run(run)
            gone += count
        return gone

    def _sweep_channel(
        self, connection: sqlite3.Connection, entry: ChannelEntry, now: float
    ) -> int:
        if entry.floor == entry.last_id:
            return 0
        limits = self._retention.limits(entry.key)
        if limits.max_idle is not None and entry.published_at < now - limits.max_idle:
            return _trim(connection, entry, entry.last_id)
        age = limits.max_backlog_age
        if age is None or entry.oldest_at >= now - age:
            return 0
        floor = age_floor(connection, entry, now - age)
        return _trim(connection, entry, floor)

    async def _sweep_line(self) -> int:
        gone = 0
        while True:
            cap = self._retention.max_line_size
            if cap is None:
                return gone
            count = await self._run(partial(_drop_oldest, cap=cap), is_long=True)
            if count == 0:
                return gone
            gone += count

    async def _erase_hidden(self) -> None:
        while await self._run(_erase, is_long=True):
            pass


def _trim(connection: sqlite3.Connection, entry: ChannelEntry, upto: int) -> int:
    gone = raise_floor(connection, entry, min(upto, entry.last_id))
    if gone:
        save_entry(connection, entry)
        connection.execute(sql.REVISE_LINE)
    return gone


def _drop_oldest(connection: sqlite3.Connection, cap: int) -> int:
    excess = connection.execute(sql.COUNT_PLAIN).fetchone()[0] - cap
    if excess <= 0:
        return 0
    oldest = connection.execute(sql.OLDEST_PLAIN, (min(excess, SWEEP_MESSAGES),)).fetchall()
    gone = 0
    for ident, message_id in oldest:
        entry = entry_of(connection.execute(sql.CHANNEL_BY_ID, (ident,)).fetchone())
        gone += _trim(connection, entry, message_id)
    return gone


def _erase(connection: sqlite3.Connection) -> bool:
    """Delete some hidden messages, and tell whether there were any."""
    rows = connection.execute(sql.ERASABLE_CHANNELS, (SWEEP_CHANNELS,)).fetchall()
    budget = SWEEP_MESSAGES
    for entry in map(entry_of, rows):
        upto = min(entry.floor, entry.erased + budget)
        connection.execute(sql.ERASE_MESSAGES, (entry.ident, entry.erased, upto))
        budget -= upto - entry.erased
        entry.erased = upto
        save_entry(connection, entry)
        if budget <= 0:
            break
    return bool(rows)


def _forget(connection: sqlite3.Connection, oldest: float) -> bool:
    """Delete some receipts from before *oldest*, and tell whether there were any."""
    return connection.execute(sql.FORGET_RECEIPTS, (SWEEP_MESSAGES, oldest)).rowcount > 0
