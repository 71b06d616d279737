"""The endpoints of a line as operators see them: how they fare, and what to send again."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from trunkline.runtime.clock import Clock
from trunkline.sql.database import Database, Row
from trunkline.webhooks.endpoint_statements import EndpointStatements, endpoint_statements
from trunkline.webhooks.errors import UnknownAppError

#: Seconds over which a success rate is told.
WINDOW = 3600.0
_WHICH = "trunkline endpoints list shows them all"


class EndpointState(msgspec.Struct, frozen=True, kw_only=True):
    """Describe an endpoint for operators.

    Args:
        id: Its id.
        app_id: The app whose endpoint it is, or None.
        url: Where it is.
        state: ``enabled`` or ``disabled``.
        breaker: ``closed``, or ``open`` while it is left alone because it fails.
        failures: Failures in a row.
        parked_until: It gets nothing before, Unix seconds; 0 if it isn't parked.
        failing_since: The first failure since the last success.
        succeeded_at: The last success.
        failed_at: The last failure.
        disabled_reason: Why it is disabled.
        waiting: Transmissions that wait for it, throttled ones too.
        sending: Transmissions under way.
        oldest_due: Since when the oldest of those waiting is due, Unix seconds, or None.
        attempts: Attempts within the last hour.
        success_rate: The part of them that delivered, or None without any.
    """

    id: str
    app_id: str | None
    url: str
    state: str
    breaker: str
    failures: int
    parked_until: float
    failing_since: float | None
    succeeded_at: float | None
    failed_at: float | None
    disabled_reason: str | None
    waiting: int
    sending: int
    oldest_due: float | None
    attempts: int
    success_rate: float | None


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """Describe background work that has transmissions sent again.

    Args:
        id: Its id.
        kind: ``recover``: what was given up after attempts. ``replay``: what was never tried,
            because its endpoint was disabled.
        endpoint_id: Of which endpoint.
        since: Only what was queued from then on, Unix seconds.
        until: And before then.
        state: ``running``, ``done`` or ``cancelled``.
        progress: The part that is done, 0 to 1.
        found: Transmissions that are sent again.
        created_at: When it began.
        updated_at: When it last moved.
    """

    id: str
    kind: str
    endpoint_id: str
    since: float
    until: float
    state: str
    progress: float
    found: int
    created_at: float
    updated_at: float


class Endpoints:
    """Look after endpoints.

    Args:
        ready: Opens the line if need be, and returns its database.
        clock: Tells the time.
        poke: Has the delivery look at once.
    """

    def __init__(
        self, ready: Callable[[], Awaitable[Database]], clock: Clock, poke: Callable[[], None]
    ) -> None:
        self._ready = ready
        self._clock = clock
        self._poke = poke

    async def list(self, *, after: str = "", limit: int = 1000) -> Sequence[EndpointState]:
        """Describe endpoints, by id.

        Args:
            after: Begin after this id.
            limit: Endpoints at most.
        """
        database, sql = await self._open()
        rows = await database.fetch(sql.list, after, limit)
        return await self._states(database, sql, rows)

    async def show(self, endpoint_id: str) -> EndpointState:
        """Describe one endpoint.

        Raises:
            UnknownAppError: There is none.
        """
        database, sql = await self._open()
        rows = await database.fetch(sql.show, endpoint_id)
        if not rows:
            raise UnknownAppError(f"no endpoint {endpoint_id!r}: {_WHICH}")
        return (await self._states(database, sql, rows))[0]

    async def _states(
        self, database: Database, sql: EndpointStatements, rows: Sequence[Row]
    ) -> Sequence[EndpointState]:
        now = self._clock.now()
        queued: dict[str, Counter[str]] = {}
        oldest: dict[str, float] = {}
        for endpoint_id, state, count, due_at in await database.fetch(sql.counts):
            kind = "sending" if state == "sending" else "waiting"
            queued.setdefault(endpoint_id, Counter())[kind] += count
            if due_at is not None and due_at <= now:
                oldest[endpoint_id] = min(due_at, oldest.get(endpoint_id, due_at))
        made: dict[str, Counter[str]] = {}
        for endpoint_id, outcome, count in await database.fetch(sql.attempts, now - WINDOW):
            made.setdefault(endpoint_id, Counter())[outcome] += count
        return [
            _state(
                row,
                queued.get(row["id"], Counter()),
                oldest.get(row["id"]),
                made.get(row["id"], Counter()),
            )
            for row in rows
        ]

    async def enable(self, endpoint_id: str) -> None:
        """Have an endpoint get requests again; all its failures are forgiven.

        What was given up meanwhile stays so: see :meth:`replay`.

        Raises:
            UnknownAppError: There is none.
        """
        await self._change("enable", self._clock.now(), endpoint_id)

    async def disable(self, endpoint_id: str, reason: str = "an operator disabled it") -> None:
        """Have an endpoint get nothing any more; what waits for it is given up.

        Raises:
            UnknownAppError: There is none.
        """
        now = self._clock.now()
        await self._change("disable", now, reason, now, endpoint_id)

    async def _change(self, statement: str, *values: object) -> None:
        database, sql = await self._open()
        async with database.transaction() as tx:
            if not await tx.execute(getattr(sql, statement), *values):
                raise UnknownAppError(f"no endpoint {values[-1]!r}: {_WHICH}")
        self._poke()

    # -- again --------------------------------------------------------------------------------

    async def resend(self, delivery_id: str) -> str:
        """Have one transmission sent again, at once and with all its attempts.

        One that was not delivered goes out under its own id; one that was, as a new one, for its
        receiver would take the same id for a repetition.

        Returns:
            The delivery id.

        Raises:
            UnknownAppError: There is none, or it is just being sent.
        """
        database, sql = await self._open()
        now = self._clock.now()
        async with database.transaction() as tx:
            if await tx.execute(sql.again, now, delivery_id):
                found = delivery_id
            else:
                found = f"msg_{secrets.token_urlsafe(24)}"
                if not await tx.execute(sql.copy, found, now, now, delivery_id):
                    raise UnknownAppError(
                        f"no transmission {delivery_id!r} that could be sent again: it never was, "
                        "was purged, or is being sent just now"
                    )
        self._poke()
        return found

    async def recover(
        self, endpoint_id: str, *, since: float, until: float | None = None
    ) -> Recovery:
        """Have everything sent again that was given up after attempts, as background work.

        Args:
            endpoint_id: Of which endpoint.
            since: Only what was queued from then on, Unix seconds.
            until: And before then; now by default.

        Raises:
            UnknownAppError: There is no such endpoint.
        """
        return await self._begin("recover", endpoint_id, since, until)

    async def replay(
        self, endpoint_id: str, *, since: float, until: float | None = None
    ) -> Recovery:
        """Have everything sent that was never tried, as background work; as :meth:`recover`."""
        return await self._begin("replay", endpoint_id, since, until)

    async def _begin(
        self, kind: str, endpoint_id: str, since: float, until: float | None
    ) -> Recovery:
        await self.show(endpoint_id)
        database, sql = await self._open()
        ident, now = f"rec_{secrets.token_hex(8)}", self._clock.now()
        until = now if until is None else until
        async with database.transaction() as tx:
            await tx.execute(sql.begin, ident, kind, endpoint_id, since, until, now, now)
        return await self.recovery(ident)

    async def recovery(self, ident: str) -> Recovery:
        """Describe background work.

        Raises:
            UnknownAppError: There is none with this id.
        """
        database, sql = await self._open()
        rows = await database.fetch(sql.recovery, ident)
        if not rows:
            raise UnknownAppError(f"no recovery {ident!r}")
        return recovery_of(rows[0])

    async def recoveries(self, *, limit: int = 100) -> Sequence[Recovery]:
        """Describe background work, the newest first."""
        database, sql = await self._open()
        return [recovery_of(row) for row in await database.fetch(sql.recoveries, limit)]

    async def cancel(self, ident: str) -> None:
        """End background work; what it has found already is sent.

        Raises:
            UnknownAppError: There is none with this id that runs.
        """
        database, sql = await self._open()
        async with database.transaction() as tx:
            if not await tx.execute(sql.cancel, self._clock.now(), ident):
                raise UnknownAppError(f"no recovery {ident!r} is running")

    async def _open(self) -> tuple[Database, EndpointStatements]:
        database = await self._ready()
        return database, endpoint_statements(database.dialect, database.schema)


def recovery_of(row: Row) -> Recovery:
    """Return a recovery from its row."""
    last = row["last"]
    is_over = row["state"] == "done" or last <= row["reached"]
    return Recovery(
        id=row["id"],
        kind=row["kind"],
        endpoint_id=row["endpoint_id"],
        since=row["since"],
        until=row["until"],
        state=row["state"],
        progress=1.0 if is_over else row["reached"] / last,
        found=row["found"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _state(
    row: Row, queued: Counter[str], oldest: float | None, made: Counter[str]
) -> EndpointState:
    attempts = sum(made.values())
    return EndpointState(
        id=row["id"],
        app_id=row["app_id"],
        url=row["url"],
        state=row["state"],
        breaker=row["breaker"],
        failures=row["failures"],
        parked_until=row["parked_until"],
        failing_since=row["failing_since"],
        succeeded_at=row["succeeded_at"],
        failed_at=row["failed_at"],
        disabled_reason=row["disabled_reason"],
        waiting=queued["waiting"],
        sending=queued["sending"],
        oldest_due=oldest,
        attempts=attempts,
        success_rate=made["delivered"] / attempts if attempts else None,
    )
