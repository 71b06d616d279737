"""From a fired signal to transmissions: one for each app that may hear it, equal ones merged.

A delivery id follows from the notice and the endpoint, so resolving a notice twice queues it
once. Nothing here catches a refused insert: what is there already is passed over by the insert
itself, and the transaction around it stays usable.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

from trunkline.model import codec
from trunkline.runtime.clock import Clock
from trunkline.sql.database import Database, Row
from trunkline.webhooks.connection import grants
from trunkline.webhooks.keys import key_of, key_text
from trunkline.webhooks.notice import Notice
from trunkline.webhooks.seam import DEAD, QUEUED
from trunkline.webhooks.statements import listed, paired, statements_of

#: Accounts that one statement looks up.
ACCOUNTS: Final = 500
_DISABLED: Final = "not sent: the endpoint is disabled"

Route = tuple[Notice, str, str, bool]  # the notice, an app, its endpoint, whether that is enabled


class Session(Protocol):
    """Be a transaction, whoever began it."""

    async def fetch(self, statement: str, *values: Any) -> Sequence[Row]:
        """Run a statement and return its rows."""

    async def execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement once for each row of values."""


class Resolution:
    """Queue transmissions.

    Args:
        database: Where the tables are.
        clock: Tells the time.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._dialect = database.dialect
        self._sql = statements_of(database)
        self._clock = clock

    async def queue(
        self, tx: Session, notices: Sequence[Notice], *, head_start: float = 0.0
    ) -> int:
        """Queue what apps may hear of some notices.

        Args:
            tx: The transaction.
            notices: In the order in which they were fired.
            head_start: Seconds that the worker leaves them to somebody else.

        Returns:
            How many transmissions that is, merged ones counted once.
        """
        rows: dict[Any, tuple[Any, ...]] = {}
        for route in await self._routes(tx, notices):
            row = self._row(route, head_start)
            collapse = row[11]
            rows.setdefault((row[1], collapse or row[0]), row)
        if rows:
            # Endpoint by endpoint, so that two who queue the same never wait for each other; for
            # each in the order of firing, which ordered deliveries keep.
            ordered = sorted(rows.values(), key=lambda row: row[1])
            await tx.execute_many(self._sql.queue, ordered)
        return len(rows)

    async def waiting(self, tx: Session, notice: Notice) -> list[str]:
        """Return the delivery ids of what is queued and equal to a notice.

        Args:
            tx: The transaction.
            notice: The notice.
        """
        routes = await self._routes(tx, [notice])
        if notice.identity is None:
            ids = [delivery_id(notice.id, endpoint) for _, _, endpoint, _ in routes]
            rows = await tx.fetch(self._sql.queued_by_id, self._listed(ids))
        else:
            endpoints = self._listed([endpoint for _, _, endpoint, _ in routes])
            rows = await tx.fetch(self._sql.queued_by_identity, endpoints, notice.identity)
        return [row[0] for row in rows]

    # -- who may hear it ----------------------------------------------------------------------

    async def _routes(self, tx: Session, notices: Sequence[Notice]) -> list[Route]:
        accounts = list({notice.account for notice in notices})
        found: dict[tuple[str, str], list[Row]] = {}
        for first in range(0, len(accounts), ACCOUNTS):
            some = accounts[first : first + ACCOUNTS]
            for row in await tx.fetch(self._sql.listening, *paired(self._dialect, some)):
                found.setdefault((row[0], row[1]), []).append(row)
        return [route for notice in notices for route in _among(notice, found.get(notice.account))]

    def _row(self, route: Route, head_start: float) -> tuple[Any, ...]:
        notice, app_id, endpoint_id, is_enabled = route
        now = self._clock.now()
        kind, account = notice.account
        return (
            delivery_id(notice.id, endpoint_id),
            endpoint_id,
            app_id,
            codec.encode([kind, account]).decode(),
            kind,
            account,
            notice.signal_name,
            notice.signal_class,
            notice.action,
            None if notice.object_id is None else key_text(key_of(notice.object_id)),
            codec.encode(notice.context).decode(),
            notice.identity,
            notice.order_key,
            QUEUED if is_enabled else DEAD,
            now + head_start if is_enabled else None,
            now,
            None if is_enabled else now,
            None if is_enabled else _DISABLED,
        )

    def _listed(self, values: list[str]) -> Any:
        return listed(self._dialect, values)


def _among(notice: Notice, rows: Iterable[Row] | None) -> list[Route]:
    return [
        (notice, row[3], row[4], row[5] == "enabled")
        for row in rows or ()
        if grants(codec.decode(row[2]), notice.signal_name)
    ]


def delivery_id(notice_id: str, endpoint_id: str) -> str:
    """Return the id under which a notice goes to an endpoint, however often it is tried."""
    digest = hashlib.sha256(f"{notice_id} {endpoint_id}".encode()).digest()[:18]
    return "msg_" + base64.urlsafe_b64encode(digest).decode()
