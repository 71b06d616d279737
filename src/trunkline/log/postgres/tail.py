"""The one connection of this process that appends, and what becomes of answers that were lost.

Every turn has a number that rises. The server notes it in the commit that stores the turn, and a
turn that is looked up and not found is noted as given up in its place: a statement that still
lingers in a dying session, or in a pooler, is then refused when it runs. So a lost answer is
either found or can be asked for again, and nothing is stored twice.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import uuid
from typing import Any, NoReturn

from trunkline.errors import LogError, OutcomeUnknownError
from trunkline.log.postgres import statements as sql
from trunkline.log.postgres.turns import Answer, Call
from trunkline.model.position import EPOCH_BYTES
from trunkline.runtime.clock import Clock
from trunkline.runtime.loops import Backoff
from trunkline.sql.postgres.database import Connection, Database, check_server
from trunkline.sql.postgres.faults import FAILURES, fault_of, is_cut, is_lost_race, sqlstate

logger = logging.getLogger(__name__)

RETRIES = 5
_FENCED = "TL001"


class Seen:
    """Remember the newest message this process knows of, to notice a line that lost it."""

    def __init__(self) -> None:
        self.epoch = ""
        self.head = 0
        #: When that message came, as far as that is known.
        self.published_at: float | None = None

    def note(self, epoch: str, head: int, published_at: float | None) -> None:
        """Note what the server said of its newest message."""
        if epoch != self.epoch or head > self.head:
            self.epoch, self.head, self.published_at = epoch, head, published_at


class Tail:
    """Send turns to the server, one at a time.

    Args:
        database: Makes connections.
        clock: Tells the time.
        lock_key: Second half of the advisory lock.
        topic: Where appends are made known.
        seen: What this process knows of the line.
    """

    def __init__(
        self, database: Database, clock: Clock, *, lock_key: int, topic: str, seen: Seen
    ) -> None:
        self._database = database
        self._address = database.address
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self.lock = (lock_key, max(1, round(database.address.lock_timeout * 1000)))
        self.topic = topic
        self._seen = seen
        self._writer = uuid.UUID(bytes=secrets.token_bytes(16))
        self._turn = 0
        self._connection: Connection | None = None
        self._asked_at: float | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._sql = {
            text: self._address.sql(text)
            for text in (sql.APPEND_ONE, sql.APPEND, sql.APPEND_IF, sql.APPEND_NEXT, sql.SETTLE)
        }

    async def store(self, call: Call, until: float) -> Answer:
        """Store a turn, once, whatever happens to the connection meanwhile.

        Args:
            call: The turn.
            until: Time of the loop up to which to wait for a server that is away.

        Raises:
            OutcomeUnknownError: It is not known whether the turn was stored.
            LogError: Any other: nothing was stored.
        """
        tries = 0
        while True:
            connection = await self._connected(until)
            self._turn += 1
            try:
                return await self._send(connection, call)
            except FAILURES as error:
                if is_cut(error) or sqlstate(error) == _FENCED:
                    grace = self._loop.time() + self._address.patience
                    found = await self._settle(error, max(until, grace))
                    if found is not None:
                        return found
                    continue
                tries += 1
                if not is_lost_race(error) or tries > RETRIES:
                    raise fault_of(error, self._address) from error

    async def _send(self, connection: Connection, call: Call) -> Answer:
        answer = await self._ask(
            connection,
            call.statement,
            *self.lock,
            self.topic,
            self._writer,
            self._turn,
            self._clock.now(),
            *call.arguments,
        )
        if answer is None:
            raise LogError("the append function answered nothing: run the migrations")
        return answer

    async def _ask(self, connection: Connection, statement: str, *arguments: Any) -> Answer | None:
        try:
            self._asked_at = self._loop.time()
            if self._watch is None:
                self._watch = self._loop.call_later(self._address.reply_timeout, self._look)
            text = await connection.fetchval(self._sql[statement], *arguments)
        except BaseException as error:
            if is_cut(error) or not isinstance(error, Exception):
                self._forget()
            raise
        finally:
            self._asked_at = None
        return None if text is None else Answer.parse(text)

    def _look(self) -> None:
        """Cut the connection when an answer is overdue; one timer serves many questions."""
        self._watch = None
        if self._asked_at is None or self._connection is None:
            return
        left = self._asked_at + self._address.reply_timeout - self._loop.time()
        if left > 0:
            self._watch = self._loop.call_later(left, self._look)
        else:
            self._database.discard(self._connection)

    async def _settle(self, cause: BaseException, until: float) -> Answer | None:
        """Find the answer of the last turn; None when it is not stored and never will be."""
        while True:
            try:
                connection = await self._connected(until)
                found = await self._ask(
                    connection, sql.SETTLE, *self.lock, self._writer, self._turn
                )
            except LogError as error:
                raise OutcomeUnknownError(
                    f"{self._address.place} went away during a commit and did not come back in "
                    "time: whether it was stored is not known. Under the same key it is safe to "
                    f"publish it again ({cause})"
                ) from error
            except FAILURES as error:
                if not is_cut(error):
                    self._forget()
                if self._loop.time() >= until:
                    self._raise_unknown(error)
                await asyncio.sleep(0.02)
            else:
                return found

    def _raise_unknown(self, error: BaseException) -> NoReturn:
        raise OutcomeUnknownError(
            f"{self._address.place} went away during a commit: whether it was stored is not "
            f"known. Under the same key it is safe to publish it again ({error})"
        ) from error

    async def _connected(self, until: float) -> Connection:
        """Return the connection, made anew when it is gone; waits for a server that is away."""
        if self._connection is not None:
            if not self._connection.is_closed():
                return self._connection
            self._forget()
        backoff = Backoff(0.02, 1.0)
        while True:
            try:
                connection = await self._database.connect(
                    within=max(0.5, until - self._loop.time())
                )
                await self.adopt(connection)
            except LogError as error:
                fault: LogError = error
            except FAILURES as error:
                fault = fault_of(error, self._address)
            else:
                return connection
            delay = backoff.next_delay()
            if self._loop.time() + delay > until:
                raise fault
            await asyncio.sleep(delay)

    async def adopt(self, connection: Connection) -> None:
        """Use a connection from now on, if its server may be written to and has what we saw."""
        try:
            async with asyncio.timeout(self._address.reply_timeout):
                await check_server(connection, self._address)
                await self._check_line(connection)
        except BaseException:
            self._database.discard(connection)
            raise
        self._connection = connection

    async def _check_line(self, connection: Connection) -> None:
        """Start a new epoch when the line lost messages that this process saw."""
        seen = self._seen
        if not seen.epoch:
            return
        epoch, head, at = await connection.fetchrow(self._address.sql(sql.READ_SEEN), seen.head)
        if epoch != seen.epoch or (
            head >= seen.head and (at is None or seen.published_at in {None, at})
        ):
            return
        renewed = await connection.fetchval(
            self._address.sql(sql.RENEW_EPOCH),
            *self.lock,
            self.topic,
            seen.epoch,
            seen.head,
            seen.published_at,
            secrets.token_hex(EPOCH_BYTES),
        )
        logger.error(
            "%s lost messages this process had seen (up to %d): the line goes on at %d under the "
            "new epoch %s",
            self._address.place,
            seen.head,
            head,
            renewed,
        )

    def _forget(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._database.discard(connection)

    async def close(self) -> None:
        """Give the connection back. Idempotent."""
        connection, self._connection = self._connection, None
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if connection is not None:
            await self._database.give_back(connection)
