"""The store of a line: its own database beside or under the log, and outboxes elsewhere."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import cached_property
from typing import Any, cast

from trunkline.errors import ConfigError, LineClosedError, TrunklineError, UsageError
from trunkline.log.admission import check_kind
from trunkline.log.joint import JointLog, JointTransaction
from trunkline.log.port import Log
from trunkline.model.message import Draft, Receipt
from trunkline.runtime.clock import Clock
from trunkline.runtime.loops import LoopLock
from trunkline.sql.database import Database, Dialect, Transaction
from trunkline.sql.opening import DatabasePlace
from trunkline.store.envelope import seal
from trunkline.store.erasure import erasure
from trunkline.store.guests.guest import AsyncGuest, Style, SyncGuest
from trunkline.store.guests.recognition import guest_of
from trunkline.store.lease import Lease
from trunkline.store.outbox import Outbox
from trunkline.store.relay import Relay
from trunkline.store.schema import migrate
from trunkline.store.statements import statements_for
from trunkline.store.transfer import JointTransfer, NotedTransfer, Transfer
from trunkline.store.unit import UnitOfWork

LEASE = "relay"
NEEDS_SQL = (
    "transactions need a SQL database: use a log on SQLite or PostgreSQL, or set store= to a "
    "database beside this log"
)


class Store:
    """Keep SQL state beside a log.

    Args:
        find_own: Finds the line's own database, or None when no SQL database is set.
        clock: Tells the time.
        receipt_age: Seconds that the log remembers idempotency keys.
        wanted: Called when a guest published, so that somebody runs the relays.
    """

    def __init__(
        self,
        find_own: Callable[[], DatabasePlace | None],
        *,
        clock: Clock,
        receipt_age: float,
        wanted: Callable[[], None],
    ) -> None:
        self._find_own = find_own
        self._attached: list[DatabasePlace] = []
        self._clock = clock
        self._receipt_age = receipt_age
        self._wanted = wanted
        self._log: Log | None = None
        self._databases: list[Database] = []
        self._turn = LoopLock()
        self._outboxes: list[Outbox] = []
        self.relays: list[Relay] = []

    # -- opening and closing ------------------------------------------------------------------

    async def open(self, log: Log) -> None:
        """Open the databases, bring their tables up to date, and make the relays.

        Args:
            log: The open log.

        Raises:
            LogError: A database can't be used; the message names the cause and the fix.
        """
        self._log = log
        try:
            await self._open_places(log)
        except BaseException:
            await self.close()
            raise

    async def _open_places(self, log: Log) -> None:
        async with self._turn:
            for place in self.places[len(self._databases) :]:
                await self._open(place, log)

    async def _open(self, place: DatabasePlace, log: Log) -> None:
        joint = log if place.open is None and isinstance(log, JointLog) else None
        if joint is not None:
            database = joint.database
        elif place.open is not None:
            database = await place.open()
        else:
            raise ConfigError("the log is in no SQL database, and no store= is set beside it")
        try:
            outbox = Outbox(database, await migrate(database))
        except BaseException:  # the next publish tries again, and its relay must not be missing
            if joint is None:
                await database.close()
            raise
        self._databases.append(database)
        lease = Lease(database, LEASE, clock=self._clock)
        transfer: Transfer
        if joint is not None:
            transfer = JointTransfer(outbox, joint, lease, self._clock)
        else:
            transfer = NotedTransfer(
                outbox, log, lease, clock=self._clock, receipt_age=self._receipt_age
            )
        name = LEASE if len(self._databases) == 1 else f"{LEASE}:{database.place}"
        self._outboxes.append(outbox)
        self.relays.append(Relay(name, outbox, transfer, lease=lease, clock=self._clock))

    @cached_property
    def _own(self) -> DatabasePlace | None:
        """Find the line's own database once: looking an engine up takes milliseconds."""
        return self._find_own()

    @property
    def places(self) -> list[DatabasePlace]:
        """Return where outboxes are, the line's own first."""
        own = self._own
        return self._attached if own is None else [own, *self._attached]

    def attach(self, place: DatabasePlace) -> None:
        """Carry the messages of guests in another database too, from the next opening or publish.

        Args:
            place: The database.
        """
        self._attached.append(place)

    async def close(self) -> None:
        """Close the databases that are not the log's. Idempotent."""
        self._log = None
        databases, self._databases = self._databases, []
        self._outboxes.clear()
        self.relays.clear()
        for database in databases:
            await database.close()

    # -- what others left ---------------------------------------------------------------------

    @property
    def database(self) -> Database | None:
        """Return the line's own database, or None when it has none or is not open."""
        has_own = self._log is not None and self._own is not None
        return self._databases[0] if has_own and self._databases else None

    @property
    def joint(self) -> JointLog:
        """Return the open log, when it is in the line's own SQL database.

        Raises:
            ConfigError: It is not.
            LineClosedError: The line is not open.
        """
        self._check()
        if not isinstance(self._log, JointLog):
            raise ConfigError(
                "commands need log and store in one SQL database: use a log on SQLite or PostgreSQL"
            )
        return self._log

    @property
    def outbox(self) -> Outbox:
        """Return the line's own outbox.

        Raises:
            ConfigError: There is none.
        """
        self._check()
        return self._outboxes[0]

    def outboxes(self) -> Sequence[Outbox]:
        """Return all outboxes, the line's own first."""
        return tuple(self._outboxes)

    # -- beginning anew -----------------------------------------------------------------------

    async def reset(self) -> bool:
        """Erase the line together with what the store keeps of its messages, in one commit.

        Returns:
            False if the log is in no SQL database; then nothing was done.
        """
        if not isinstance(self._log, JointLog):
            return False
        database = self._log.database
        await self._log.reset(erasure(database.dialect, database.schema))
        return True

    # -- units of work ------------------------------------------------------------------------

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[UnitOfWork]:
        """Begin a unit of work on the line's own database; leaving it commits.

        Raises:
            ConfigError: The line has no SQL database.
            ConflictError: What was staged can't be appended; nothing was stored.
            LogError: The database failed; nothing was stored.
        """
        self._check()
        log = self._log
        if isinstance(log, JointLog):
            async with log.transaction() as tx:
                unit = UnitOfWork(tx)
                yield unit
                unit.close()
                receipts = await _append(tx, unit.drafts)
                await unit.finish(receipts)
            unit.receipts = receipts
            return
        async with self._outboxes[0].database.transaction() as tx:
            unit = UnitOfWork(tx)
            yield unit
            unit.close()
            await _leave(tx, self._insert(tx.dialect), unit.drafts)
        if unit.drafts:
            self._wanted()
            self._poke()

    # -- guests -------------------------------------------------------------------------------

    async def publish(self, given: Any, drafts: Sequence[Draft]) -> None:
        """Leave drafts in a guest's transaction.

        Args:
            given: The transaction, as the application has it.
            drafts: Checked.

        Raises:
            UsageError: It is no transaction that we know, or its database has no outbox.
        """
        guest = guest_of(given)
        if self._log is not None and len(self._databases) < len(self.places):
            await self._open_places(self._log)
        insert, sealed = self._insert(guest.dialect), _sealed(drafts)
        with _explained():
            if guest.is_sync:
                cast(SyncGuest, guest).insert(insert, sealed)
            else:
                await cast(AsyncGuest, guest).insert(insert, sealed)
        # A synchronous transaction may be committed in any thread, as FastAPI's dependencies are.
        guest.on_commit(self._poke_from_anywhere if guest.is_sync else self._poke)
        self._wanted()

    def publish_now(self, given: Any, drafts: Sequence[Draft]) -> None:
        """Leave drafts in a synchronous guest's transaction; from any thread, line open or not.

        Args:
            given: The transaction, as the application has it.
            drafts: Checked.

        Raises:
            UsageError: It is no synchronous transaction that we know, or its database has no
                outbox.
        """
        guest = guest_of(given)
        if not guest.is_sync:
            kind = type(given)
            raise UsageError(
                f"a {kind.__module__}.{kind.__qualname__} wants to be awaited: "
                "await line.publish(…, tx=…)"
            )
        with _explained():
            cast(SyncGuest, guest).insert(self._insert(guest.dialect), _sealed(drafts))
        guest.on_commit(self._poke_from_anywhere)

    async def run_relays(self) -> None:
        """Have what transactions left carried to the log from this process, if it may."""
        if self._log is not None:
            await self._open_places(self._log)
        self._wanted()

    def _insert(self, dialect: Dialect) -> str:
        for place in self.places:
            if place.dialect is dialect:
                return statements_for(dialect, place.schema).insert
        if not self.places:
            raise ConfigError(NEEDS_SQL)
        raise UsageError(
            f"no outbox is in a {dialect} database: tell the line where this transaction's is, "
            "with line.attach_outbox(url)"
        )

    def _check(self) -> None:
        if self._own is None:
            raise ConfigError(NEEDS_SQL)
        if self._log is None:
            raise LineClosedError("open the line first: its store opens with it")

    def _poke(self) -> None:
        for relay in self.relays:
            relay.poke()

    def _poke_from_anywhere(self) -> None:
        for relay in tuple(self.relays):
            relay.poke_from_anywhere()


@contextmanager
def _explained() -> Iterator[None]:
    """Say what to do about an outbox that a guest's database doesn't have."""
    try:
        yield
    except Exception as error:
        if "trunkline_outbox" in str(error) and not isinstance(error, TrunklineError):
            raise UsageError(
                f"this transaction's database has no outbox ({error}): say "
                "line.attach_outbox(url) and open the line once, or run trunkline migrate"
            ) from error
        raise


def _sealed(drafts: Sequence[Draft]) -> list[bytes]:
    for draft in drafts:
        check_kind(draft)  # here the caller can still be told
    return [seal(draft) for draft in drafts]


async def _append(tx: JointTransaction, drafts: Sequence[Draft]) -> Sequence[Receipt]:
    if not drafts:
        return ()
    outcome = (await tx.append((drafts,)))[0]
    if isinstance(outcome, TrunklineError):
        raise outcome
    return outcome


async def _leave(tx: Transaction, insert: str, drafts: Sequence[Draft]) -> None:
    style = Style(tx.dialect, "qmark" if tx.dialect is Dialect.SQLITE else "numeric_dollar")
    for statement, values in style.statements(insert, _sealed(drafts), secrets.token_hex(8)):
        await tx.execute(statement, *values)
