"""The transmissions of a line as operators see them: listed, counted, and purged by age."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from trunkline.model import codec
from trunkline.runtime.clock import Clock
from trunkline.sql.database import Row
from trunkline.webhooks.apps import Ready
from trunkline.webhooks.errors import SignalError, UnknownAppError
from trunkline.webhooks.keys import Key, checked_key, key_from, key_text
from trunkline.webhooks.seam import STATES
from trunkline.webhooks.statements import listed, statements_of

#: Transmissions that one transaction purges.
logger = logging.getLogger("trunkline.webhooks")

CHUNK: Final = 500
_NEWEST: Final = 2**63 - 1


class TransmissionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Describe a transmission.

    Args:
        seq: Its number in the store.
        id: The delivery id, the same in every attempt.
        endpoint_id: Where it goes.
        app_id: Whose endpoint that is; None for a callback.
        account_type: Kind of the account.
        account_id: Whose notice it is.
        signal_name: Which kind of notice.
        signal_class: The class that was fired.
        action: What happened.
        object_id: To what; None for an object without an id.
        context: What was captured then.
        order_key: Others of its endpoint with the same key wait for it.
        state: ``queued``, ``sending``, ``sent``, ``failed`` (and due again), ``dead`` (given
            up) or ``withdrawn`` (nobody may have it any more).
        attempts: How often it was tried.
        created_at: Unix seconds.
        due_at: When it is tried next, Unix seconds; None when it is over.
        finished_at: When it was over, Unix seconds.
        last_status: The last answer's status.
        last_error: What went wrong last.
        resend_of: The delivery id that it repeats.
    """

    seq: int
    id: str
    endpoint_id: str
    app_id: str | None
    account_type: str
    account_id: Key
    signal_name: str
    signal_class: str
    action: str
    object_id: Key | None
    context: dict[str, Any]
    order_key: str | None
    state: str
    attempts: int
    created_at: float
    due_at: float | None
    finished_at: float | None
    last_status: int | None
    last_error: str | None
    resend_of: str | None


class AttemptInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Describe an attempt.

    Args:
        number: Counts from 1.
        started_at: Unix seconds.
        outcome: ``delivered``, or what went wrong.
        status: The answer's status.
        error: What went wrong, for people.
        timing: Seconds of each part.
        request: URL and headers, without signatures.
        request_body: What was sent.
        response_headers: The answer's headers.
        response_body: The answer's beginning.
    """

    number: int
    started_at: float
    outcome: str
    status: int | None
    error: str | None
    timing: Any
    request: Any
    request_body: bytes | None
    response_headers: Any
    response_body: bytes | None


class Transmissions:
    """Look after transmissions.

    Args:
        ready: Opens the line if need be, and returns its database.
        clock: Tells the time.
    """

    def __init__(self, ready: Ready, clock: Clock) -> None:
        self._ready = ready
        self._clock = clock

    async def list(
        self,
        *,
        state: str | None = None,
        app_id: str | None = None,
        account_id: Key | None = None,
        account_type: str = "account",
        before: int | None = None,
        limit: int = 100,
    ) -> Sequence[TransmissionInfo]:
        """Return transmissions, the newest first.

        Args:
            state: Only in this state.
            app_id: Only to this app.
            account_id: Only of this account.
            account_type: The account's kind.
            before: Only those with a lower number.
            limit: Transmissions at most.

        Raises:
            SignalError: There is no such state.
        """
        if state is not None and state not in STATES:
            raise SignalError(f"no state {state!r}: there are {', '.join(STATES)}")
        account = "" if account_id is None else key_text(checked_key("account_id", account_id))
        kind, which, app = account_type if account else "", state or "", app_id or ""
        database = await self._ready()
        rows = await database.fetch(
            statements_of(database).transmissions,
            _NEWEST if before is None else before,
            *(which, which, app, app, kind, kind, account, limit),
        )
        return [_info(row) for row in rows]

    async def get(self, delivery_id: str) -> TransmissionInfo:
        """Return a transmission.

        Raises:
            UnknownAppError: There is none.
        """
        database = await self._ready()
        rows = await database.fetch(statements_of(database).transmission, delivery_id)
        if not rows:
            raise UnknownAppError(
                f"no transmission {delivery_id!r}: it never was, or it was purged"
            )
        return _info(rows[0])

    async def attempts(self, delivery_id: str) -> Sequence[AttemptInfo]:
        """Return all attempts of a transmission, in order."""
        database = await self._ready()
        return [
            _attempt(row)
            for row in await database.fetch(statements_of(database).attempts, delivery_id)
        ]

    async def counts(self) -> dict[str, int]:
        """Return how many transmissions are in each state."""
        database = await self._ready()
        found = {row[0]: row[1] for row in await database.fetch(statements_of(database).counts)}
        return {state: found.get(state, 0) for state in STATES}

    async def purge(self, *, older_than: float, dead: bool = False) -> int:
        """Remove what has been over for longer than so many seconds, with its attempts.

        What is undelivered stays, however old.

        Args:
            older_than: Seconds.
            dead: Whether to remove what was given up too.

        Returns:
            How many transmissions are gone.
        """
        database = await self._ready()
        sql, until, count = statements_of(database), self._clock.now() - older_than, 0
        while True:
            async with database.transaction() as tx:
                rows = await tx.fetch(sql.purgeable, until, int(dead), CHUNK)
                ids = listed(database.dialect, [row[0] for row in rows])
                removed = await tx.execute(sql.purge, ids) if rows else 0
                if rows:
                    await tx.execute(sql.purge_attempts, ids)
            count += removed
            if len(rows) < CHUNK or not removed:
                return count

    async def bound(self, most: int) -> int:
        """Withdraw the oldest undelivered transmissions of endpoints that have too many.

        Args:
            most: How many an endpoint may have.

        Returns:
            How many were withdrawn.
        """
        database = await self._ready()
        sql, withdrawn = statements_of(database), 0
        for endpoint_id, count in await database.fetch(sql.overfull, most):
            reason = f"the endpoint had more than {most} undelivered"
            left = count - most
            while left > 0:
                now, size = self._clock.now(), min(left, CHUNK)
                async with database.transaction() as tx:
                    await tx.execute(sql.withdraw_oldest, now, reason, endpoint_id, size)
                withdrawn += size
                left -= size
            logger.warning(
                "endpoint %s has %d undelivered: the oldest beyond %d were withdrawn",
                endpoint_id,
                count,
                most,
            )
        return withdrawn


def _info(row: Row) -> TransmissionInfo:
    return TransmissionInfo(
        seq=row[0],
        id=row[1],
        endpoint_id=row[2],
        app_id=row[3],
        account_type=row[4],
        account_id=key_from(row[5]),
        signal_name=row[6],
        signal_class=row[7],
        action=row[8],
        object_id=None if row[9] is None else key_from(row[9]),
        context=codec.decode(row[10]),
        order_key=row[11],
        state=row[12],
        attempts=row[13],
        created_at=row[14],
        due_at=row[15],
        finished_at=row[16],
        last_status=row[17],
        last_error=row[18],
        resend_of=row[19],
    )


def _attempt(row: Row) -> AttemptInfo:
    timing, request, headers = (
        None if text is None else codec.decode(text) for text in (row[5], row[6], row[8])
    )
    return AttemptInfo(
        number=row[0],
        started_at=row[1],
        outcome=row[2],
        status=row[3],
        error=row[4],
        timing=timing,
        request=request,
        request_body=None if row[7] is None else bytes(row[7]),
        response_headers=headers,
        response_body=None if row[9] is None else bytes(row[9]),
    )
