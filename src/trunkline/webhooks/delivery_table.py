"""Transmissions as the delivery sees them: claimed with a fence, recorded in batches.

A claim is a lease: it sets the time at which the row is due again, and raises the row's epoch.
What comes back under an older epoch is not recorded, so that a process that was frozen, or cut
off from the store, can't undo what another has done since.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import starmap
from typing import Any

import msgspec

from trunkline.sql.database import Database, Dialect, Row, Transaction
from trunkline.webhooks.breaker import Health
from trunkline.webhooks.claims import WAITING, Attempt, Claim, Endpoint, Lane, Outcome
from trunkline.webhooks.delivery_options import EndpointOptions
from trunkline.webhooks.delivery_statements import statements_for
from trunkline.webhooks.outgoing import Transmission
from trunkline.webhooks.seam import FAILED, SENDING

logger = logging.getLogger("trunkline.webhooks")

#: Called with what was recorded, in the transaction that does so.
OnRecord = Callable[[Database, Transaction, Sequence[Outcome]], Awaitable[None]]

LOST = "the process that sent it ended before it could record the answer"

_decode_options = msgspec.json.Decoder(EndpointOptions).decode


class DeliveryTable:
    """Claim and record in one database.

    Args:
        database: The line's own.
        owner: Names this process in the rows it holds.
        on_record: Told of outcomes as they are recorded.
    """

    def __init__(self, database: Database, owner: str, on_record: OnRecord | None = None) -> None:
        self.database = database
        self._on_record = on_record
        self._owner = owner
        self._sql = statements_for(database.dialect, database.schema)
        self._is_sqlite = database.dialect is Dialect.SQLITE
        self._options: dict[str, EndpointOptions] = {}

    # -- looking ------------------------------------------------------------------------------

    async def newest(self) -> int:
        """Return the number of the newest transmission; cheap."""
        return int((await self.database.fetch(self._sql.newest))[0][0] or 0)

    async def look(self, after: tuple[str, str], limit: int) -> list[Lane]:
        """Return lanes in which something is under way or queued, each with its next due time.

        Args:
            after: Endpoint and tenant after which to begin.
            limit: Lanes at most.
        """
        if self._is_sqlite:
            rows = await self.database.fetch(self._sql.look, *after, limit)
        else:
            async with self.database.transaction() as tx:
                await tx.fetch(self._sql.plan)
                rows = await tx.fetch(self._sql.look, *after, limit)
        return [Lane(*row) for row in rows]

    async def endpoints(self, ids: Sequence[str]) -> list[Endpoint]:
        """Return endpoints, those that there are."""
        rows = await self.database.fetch(self._sql.endpoints, self._list(ids))
        return [self._endpoint(row) for row in rows]

    def _endpoint(self, row: Row) -> Endpoint:
        text = row["options"]
        options = self._options.get(text)
        if options is None:
            if len(self._options) > 10_000:
                self._options.clear()
            options = self._options[text] = _options(text)
        disabled_at = row["disabled_at"]
        if row["state"] != "enabled" and disabled_at is None:
            disabled_at = 0.0
        health = Health(
            breaker="open" if row["breaker"] != "closed" else "closed",
            opens=row["breaker_opens"],
            failures=row["failures"],
            parked_until=row["parked_until"],
            failing_since=row["failing_since"],
            succeeded_at=row["succeeded_at"],
            failed_at=row["failed_at"],
            notice=row["notice"],
            disabled_at=disabled_at,
            disabled_reason=row["disabled_reason"],
        )
        return Endpoint(
            id=row["id"],
            app_id=row["app_id"],
            tenant=row["tenant"],
            url=row["url"],
            options=options,
            health=health,
        )

    # -- claiming -----------------------------------------------------------------------------

    async def claim(
        self, tx: Transaction, rooms: Mapping[tuple[str, str], int], *, now: float, until: float
    ) -> tuple[list[Claim], dict[tuple[str, str], int]]:
        """Claim what is due in some lanes, the longest due first.

        Args:
            tx: The transaction.
            rooms: How many at most, by endpoint and tenant.
            now: Unix seconds.
            until: When the lease ends.

        Returns:
            The claims, and how many rows were found by lane.
        """
        if self._is_sqlite:
            picked = [
                row
                for (endpoint, tenant), room in rooms.items()
                for row in await tx.fetch(self._sql.pick, endpoint, tenant, now, room)
            ]
        else:
            await tx.fetch(self._sql.plan)
            lanes = list(rooms)
            picked = list(
                await tx.fetch(
                    self._sql.pick,
                    [one[0] for one in lanes],
                    [one[1] for one in lanes],
                    list(rooms.values()),
                    now,
                )
            )
        claims = await self._take(tx, picked, now, until)
        found: dict[tuple[str, str], int] = dict.fromkeys(rooms, 0)
        for claim in claims:
            found[claim.transmission.endpoint_id, claim.transmission.tenant] += 1
        if any(row["waits"] for row in picked):
            return claims, dict(rooms)  # there may be more behind those that wait
        return claims, found

    async def claim_these(
        self, tx: Transaction, ids: Sequence[str], *, now: float, until: float
    ) -> list[Claim]:
        """Claim those of these delivery ids that are queued, whether due or not."""
        picked = await tx.fetch(self._sql.pick_ids, self._list(ids))
        return await self._take(tx, picked, now, until)

    async def _take(
        self, tx: Transaction, picked: Sequence[Row], now: float, until: float
    ) -> list[Claim]:
        waiting = [row["seq"] for row in picked if row["waits"]]
        if waiting:
            await self._put_off(tx, waiting)
        ready = {row["seq"]: row for row in picked if not row["waits"]}
        if not ready:
            return []
        rows = await tx.fetch(self._sql.claim, self._owner, until, self._list([*ready]))
        claims = [_claim(row, ready[row["seq"]]["due_at"]) for row in rows]
        claims.sort(key=lambda one: (one.transmission.due_at, one.transmission.seq))
        lost = [one for one in claims if ready[one.transmission.seq]["state"] == SENDING]
        await self._note(tx, [(one.transmission, _lost(one, now)) for one in lost])
        return claims

    async def _put_off(self, tx: Transaction, seqs: Sequence[int]) -> None:
        """Let those wait that come after another one with the same key."""
        statement = self._sql.wake.replace(f" AND due_at >= {WAITING:.0f}", "")
        await tx.execute(statement, WAITING, self._list(seqs))

    # -- recording ----------------------------------------------------------------------------

    async def record(
        self, tx: Transaction, outcomes: Sequence[Outcome], now: float
    ) -> list[Outcome]:
        """Record what became of claims, unless they are somebody else's by now.

        Returns:
            Those that were recorded.
        """
        rows = [_recorded(one, now) for one in outcomes]
        if self._is_sqlite:
            kept = {row[7] for row in rows if await tx.execute(self._sql.record, *row)}
        else:
            columns = [list(column) for column in zip(*rows, strict=True)]
            del columns[6]  # the same number twice, for SQLite's placeholders
            kept = {row[0] for row in await tx.fetch(self._sql.record, *columns)}
        done = [one for one in outcomes if one.claim.transmission.seq in kept]
        await self._note(
            tx, [(one.claim.transmission, one.attempt) for one in done if one.attempt is not None]
        )
        for one in done:
            sent = one.claim.transmission
            if sent.order_key is not None and one.state != FAILED:
                await tx.execute(self._sql.wake_next, now, sent.endpoint_id, sent.order_key)
        if self._on_record is not None:
            await self._on_record(self.database, tx, done)
        return done

    async def _note(
        self, tx: Transaction, attempts: Sequence[tuple[Transmission, Attempt]]
    ) -> None:
        if not attempts:
            return
        rows = list(starmap(_attempted, attempts))
        if self._is_sqlite:
            await tx.execute_many(self._sql.attempt, rows)
        else:
            columns = [list(column) for column in zip(*rows, strict=True)]
            await tx.fetch(self._sql.attempt, *columns)

    async def release(self, tx: Transaction, claims: Sequence[Claim], now: float) -> None:
        """Give claims back that were not begun."""
        for claim in claims:
            sent = claim.transmission
            await tx.execute(self._sql.release, now, sent.seq, sent.lease_epoch)

    async def set_health(self, tx: Transaction, endpoint: Endpoint, now: float) -> None:
        """Store how an endpoint fares, unless somebody disabled it meanwhile."""
        health = endpoint.health
        await tx.execute(
            self._sql.set_health,
            health.breaker,
            health.opens,
            health.failures,
            health.parked_until,
            health.failing_since,
            health.succeeded_at,
            health.failed_at,
            health.notice,
            health.disabled_at,
            health.disabled_reason,
            "enabled" if health.is_enabled else "disabled",
            now,
            endpoint.id,
        )

    # -- keeping ------------------------------------------------------------------------------

    async def sweep(self, endpoint_id: str, reason: str, *, now: float, limit: int) -> int:
        """Give up what waits for an endpoint that gets nothing any more; return how many."""
        async with self.database.transaction() as tx:
            return await tx.execute(self._sql.sweep, now, reason, endpoint_id, limit)

    async def wake_sleepers(self, now: float, limit: int) -> None:
        """Wake what waits for another one with the same key that is gone by now."""
        rows = await self.database.fetch(self._sql.sleeping, limit)
        if rows:
            async with self.database.transaction() as tx:
                await tx.execute(self._sql.wake, now, self._list([row[0] for row in rows]))

    def _list(self, values: Sequence[Any]) -> Any:
        return msgspec.json.encode(values).decode() if self._is_sqlite else list(values)


def _options(text: str) -> EndpointOptions:
    try:
        return _decode_options(text)
    except msgspec.DecodeError as error:  # a bad row may not end all others' deliveries
        logger.warning("an endpoint's options are not usable, so the defaults hold: %s", error)
        return EndpointOptions()


def _claim(row: Row, due_at: float) -> Claim:
    values = dict(zip(row.keys(), row, strict=True))
    tries = values.pop("tries")
    return Claim(transmission=Transmission(due_at=due_at, **values), tries=tries)


def _lost(claim: Claim, now: float) -> Attempt:
    return Attempt(number=claim.transmission.attempts, started_at=now, outcome="lost", error=LOST)


def _recorded(outcome: Outcome, now: float) -> tuple[Any, ...]:
    attempt, sent = outcome.attempt, outcome.claim.transmission
    made = int(attempt is not None)
    return (
        outcome.state,
        outcome.due_at,
        now if outcome.due_at is None else None,
        None if attempt is None else attempt.status,
        outcome.error,
        made,
        made,
        sent.seq,
        sent.lease_epoch,
    )


def _attempted(sent: Transmission, attempt: Attempt) -> tuple[Any, ...]:
    return (
        sent.id,
        sent.endpoint_id,
        attempt.number,
        attempt.started_at,
        attempt.outcome,
        attempt.status,
        attempt.error,
        attempt.timing,
        attempt.request,
        attempt.request_body,
        attempt.response_headers,
        attempt.response_body,
    )
