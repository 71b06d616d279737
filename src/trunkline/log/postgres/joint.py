"""A transaction on the line's database that appends to the line at its end."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from trunkline.errors import LogError, LogUnavailableError, OutcomeUnknownError
from trunkline.log.joint import EarlyLossError, Stretch, Tip
from trunkline.log.port import Group, Outcome
from trunkline.log.postgres import statements as sql
from trunkline.log.postgres.alone import REFUSED, alone
from trunkline.log.postgres.turns import Answer, Call, Turn
from trunkline.log.retention import Retention
from trunkline.model.channel import ChannelKey
from trunkline.model.message import Record
from trunkline.runtime.clock import Clock
from trunkline.sql.database import Row
from trunkline.sql.postgres.address import Address
from trunkline.sql.postgres.database import Connection
from trunkline.sql.postgres.faults import FAILURES, fault_of, is_cut, sqlstate
from trunkline.sql.postgres.pool import Pool
from trunkline.sql.postgres.transactions import (
    BROKEN,
    PostgresDatabase,
    PostgresTransaction,
    commit,
)

_HOLD = "SELECT pg_advisory_xact_lock(1953656427, $1)"
Told = Callable[[Answer, int], object]


class Tailing(NamedTuple):
    """Be what an append needs to know of the line.

    Args:
        address: The database.
        lock: The tail's key, and for how long to wait for it.
        topic: Where appends are made known.
        retention: Which limits hold.
        clock: Tells the time.
    """

    address: Address
    lock: tuple[int, int]
    topic: str
    retention: Retention
    clock: Clock


class _Writer:
    """Number the turns of one transaction after another, so that a lost commit can be found."""

    def __init__(self) -> None:
        self.ident = uuid.UUID(bytes=secrets.token_bytes(16))
        self.turn = 0


Settle = Callable[[_Writer, BaseException], Awaitable[str]]


class JointPostgresTransaction(PostgresTransaction):
    """Run statements, and append as the last of them.

    Args:
        connection: A connection inside a transaction.
        tailing: What an append needs to know of the line.
        writer: Numbers its turns.
        settle: Finds a lost append's answer, where the transaction begins late; otherwise None.
    """

    def __init__(
        self, connection: Connection, tailing: Tailing, writer: _Writer, *, settle: Settle | None
    ) -> None:
        super().__init__(connection, has_begun=settle is None)
        self._settle = settle
        self._tail = connection
        self._tailing = tailing
        self._writer = writer
        self.answers: list[tuple[Answer, int]] = []

    async def hold_tail(self) -> None:
        """Take the lock that every append takes first."""
        await self.execute(_HOLD, self._tailing.lock[0])

    async def append(self, groups: Sequence[Group]) -> Sequence[Outcome]:
        """Append at the end of the transaction: from here on it holds the tail."""
        await self.flush()
        turn = Turn(groups, self._tailing.retention)
        call = turn.call()
        return turn.outcomes(None) if call is None else await self._append(turn, call)

    async def append_last(self, groups: Sequence[Group], *, epoch: str = "") -> Sequence[Outcome]:
        """Append and commit by one statement, if that is all there is to do."""
        if self.has_begun or self._settle is None:
            return await self.append(groups)
        turn = Turn(groups, self._tailing.retention)
        call = turn.call()
        if call is None:
            return turn.outcomes(None)
        found, text = alone(self._left, call), None
        if call.statement == sql.APPEND_NEXT:
            call = Call(call.statement, (*call.arguments, epoch))
        elif epoch:
            found = None
        if found is not None:
            text = await self._append_alone(*found, call, self._settle)
        if text is None:
            return await self.append(groups)
        self._left.clear()
        return self._noted(turn, text)

    async def _append(self, turn: Turn, call: Call) -> Sequence[Outcome]:
        address = self._tailing.address
        try:
            row = await self._tail.fetchrow(
                address.sql(_bounded(call.statement, address)),
                *self._arguments(call),
                timeout=address.reply_timeout,
            )
        except FAILURES as error:
            raise fault_of(error, address) from error
        return self._noted(turn, row[0])

    async def _append_alone(
        self, statement: str, count: int, call: Call, settle: Settle
    ) -> str | None:
        """Return the answer; None when the server refused it, and says why when it is run again."""
        address = self._tailing.address
        values = self._left[0][1][0] if count else ()
        try:
            text: str = await self._tail.fetchval(
                address.sql(statement),
                *values,
                *self._arguments(call),
                timeout=address.reply_timeout,
            )
        except FAILURES as error:
            if sqlstate(error) == REFUSED:
                return str(getattr(error, "detail", ""))
            if is_cut(error):
                try:
                    return await settle(self._writer, error)
                except OutcomeUnknownError:
                    raise
                except LogUnavailableError as lost:
                    raise EarlyLossError(str(lost)) from error
            return None
        return text

    def _arguments(self, call: Call) -> tuple[Any, ...]:
        tailing, writer = self._tailing, self._writer
        writer.turn += 1
        return (
            *tailing.lock,
            tailing.topic,
            writer.ident,
            writer.turn,
            tailing.clock.now(),
            *call.arguments,
        )

    def _noted(self, turn: Turn, text: str) -> Sequence[Outcome]:
        answer = Answer.parse(text)
        self.answers.append((answer, turn.stored(answer)))
        return turn.outcomes(answer)

    async def epoch(self) -> str:
        """Return the line's epoch."""
        [row] = await self.fetch(self._tailing.address.sql(sql.READ_NEWS))
        return str(row[1])

    async def reset(self, epoch: str) -> None:
        """Erase the line and set a new epoch; the tail is held from here on."""
        tailing = self._tailing
        await self.flush()
        await self.fetch(tailing.address.sql(sql.RESET), *tailing.lock, tailing.topic, epoch)

    async def take_tail(self) -> None:
        """Take the tail's lock before the append does."""
        address = self._tailing.address
        await self.fetch(address.sql(sql.TAKE_TAIL), *self._tailing.lock)

    def lend(self, task: asyncio.Task[Any] | None) -> None:
        """Take note of nothing: who waits here waits for the server."""

    async def pick(self, global_ids: Sequence[int]) -> Sequence[Record]:
        """Return messages by their global ids."""
        rows = await self.fetch(self._tailing.address.sql(sql.PICK), list(global_ids))
        return [Record(ChannelKey(row[0], row[1] or None), *row[2:]) for row in rows]

    async def tips(self, wanted: Sequence[Stretch]) -> Sequence[Tip]:
        """Return the ends of streams, by one statement."""
        address = self._tailing.address
        if len(wanted) == 1:
            key, after = wanted[0]
            statement = address.sql(sql.TIP)
            rows = await self._look(statement, key.site_id or "", key.name, after)
        else:
            rows = await self._look(
                address.sql(sql.TIPS),
                [one.channel.site_id or "" for one in wanted],
                [one.channel.name for one in wanted],
                [one.after for one in wanted],
            )
        lasts = [0] * len(wanted)
        found: list[list[Record]] = [[] for _ in wanted]
        epoch = ""
        for number, last_id, global_id, message_id, at, data, audience, headers, line_epoch in rows:
            epoch = line_epoch
            index = number - 1
            lasts[index] = last_id
            if global_id is not None:
                key = wanted[index].channel
                found[index].append(Record(key, message_id, global_id, at, data, audience, headers))
        return [Tip(last, records, epoch) for last, records in zip(lasts, found, strict=True)]

    async def _look(self, statement: str, *values: Any) -> Sequence[Row]:
        """Read what no statement of this transaction changes, and so needn't begin it."""
        if self.has_begun:
            return await self.fetch(statement, *values)
        address = self._tailing.address
        try:
            found: Sequence[Row] = await self._tail.fetch(
                statement, *values, timeout=address.reply_timeout
            )
        except FAILURES as error:
            fault = fault_of(error, address)
            raise (EarlyLossError(str(fault)) if is_cut(error) else fault) from error
        return found


class JointTransactions:
    """Begin transactions that append, and settle commits whose answer was lost.

    Args:
        database: Lends connections.
        tailing: What an append needs to know of the line.
        reading: Looks up lost commits.
        told: Called right after a commit with an append's answer and the messages stored.
    """

    def __init__(
        self, database: PostgresDatabase, tailing: Tailing, *, reading: Pool, told: Told
    ) -> None:
        self.database = database
        self._tailing = tailing
        self._reading = reading
        self._told = told
        self._writers: list[_Writer] = []

    @asynccontextmanager
    async def begin(self, *, is_late: bool = False) -> AsyncIterator[JointPostgresTransaction]:
        """Begin a transaction; leaving it commits, leaving it with an error rolls back.

        Args:
            is_late: Whether it may begin with its first statement. A connection that is not ours
                alone may have other settings than a statement by itself needs.
        """
        address = self._tailing.address
        is_late = is_late and address.pool is None and not address.is_pooled
        async with self.database.borrow(is_late=is_late) as connection:
            writer = self._writers.pop() if self._writers else _Writer()
            settle = self._found if is_late else None
            tx = JointPostgresTransaction(connection, self._tailing, writer, settle=settle)
            yield tx
            if tx.has_begun or tx.has_left:
                await tx.flush()
                try:
                    await commit(connection, address)
                except BROKEN as error:
                    await self._settle(tx, writer, error)
            self._writers.append(writer)
        for answer, count in tx.answers:
            if count:
                self._told(answer, count)

    async def _settle(
        self, tx: JointPostgresTransaction, writer: _Writer, cause: BaseException
    ) -> None:
        """Find whether a commit happened whose answer was lost; raise unless it did."""
        if not tx.answers:
            raise OutcomeUnknownError(
                f"{self._tailing.address.place} went away during a commit: whether it was stored "
                "is not known"
            ) from cause
        await self._found(writer, cause)

    async def _found(self, writer: _Writer, cause: BaseException) -> str:
        """Return the answer of a writer's last turn; raise unless it was stored."""
        tailing = self._tailing

        async def look(connection: Connection) -> str | None:
            statement = tailing.address.sql(sql.SETTLE)
            text: str | None = await connection.fetchval(
                statement, *tailing.lock, writer.ident, writer.turn
            )
            return text

        try:
            found = await self._reading.run(look)
        except LogError as error:
            raise OutcomeUnknownError(
                f"{tailing.address.place} went away during a commit and did not come back in time: "
                "whether it was stored is not known"
            ) from error
        if found is None:
            raise LogUnavailableError(
                f"{tailing.address.place} went away during a commit: nothing was stored"
            ) from cause
        return found


def _bounded(statement: str, address: Address) -> str:
    """Let the server end a session that holds the tail and falls silent."""
    milliseconds = max(1, round(address.idle_timeout * 1000))
    limit = f"set_config('idle_in_transaction_session_timeout', '{milliseconds}', true)"
    return f"{statement}, {limit}"
