"""The connections of a line: apps installed on accounts, and what accounts let them hear."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from trunkline.runtime.clock import Clock
from trunkline.webhooks.app import checked_signals, json_text
from trunkline.webhooks.apps import Apps, Ready
from trunkline.webhooks.connection import Connection, connection_of
from trunkline.webhooks.errors import SignalError, UnknownAppError
from trunkline.webhooks.keys import Key, checked_key, key_text
from trunkline.webhooks.statements import statements_of

Decide = Callable[[Connection], tuple[Iterable[str], Iterable[str]]]


class Connections:
    """Keep connections.

    Args:
        ready: Opens the line if need be, and returns its database.
        apps: The apps.
        clock: Tells the time.
    """

    def __init__(self, ready: Ready, apps: Apps, clock: Clock) -> None:
        self._ready = ready
        self._apps = apps
        self._clock = clock

    async def connect(
        self,
        app_id: str,
        *,
        account_id: Key,
        account_type: str = "account",
        signals: Iterable[str] | None = None,
    ) -> Connection:
        """Install an app on an account; what is installed already stays as it is.

        Args:
            app_id: Which app.
            account_id: Which account.
            account_type: Its kind.
            signals: What the account grants; what the app asks for by default.

        Returns:
            The connection.

        Raises:
            UnknownAppError: There is no such app.
            SignalError: The app is not for such accounts, or something makes no sense.
        """
        app = await self._apps.get(app_id)
        if not app.takes(account_type):
            raise SignalError(
                f"{app.name!r} is for {', '.join(app.account_types)}, not for {account_type!r}"
            )
        granted = app.signals if signals is None else checked_signals(signals)
        ident, now = f"con_{secrets.token_hex(10)}", self._clock.now()
        account = key_text(checked_key("account_id", account_id))
        row = (ident, app_id, account_type, account, json_text(granted), now, now)
        database = await self._ready()
        async with database.transaction() as tx:
            await tx.execute(statements_of(database).add_connection, *row)
        found = await self.between(app_id, account_id=account_id, account_type=account_type)
        if found is None:
            raise UnknownAppError("the connection was removed just now: connect again")
        return found

    async def disconnect(self, connection_id: str) -> None:
        """Remove an app from an account; what is queued for it there is not sent any more.

        Raises:
            UnknownAppError: There is no such connection.
        """
        database = await self._ready()
        async with database.transaction() as tx:
            if not await tx.execute(statements_of(database).remove_connection, connection_id):
                raise _unknown(connection_id)

    async def grant(self, connection_id: str, *signals: str) -> Connection:
        """Let an app hear signals; all that it asks for and waits for, without any.

        Raises:
            UnknownAppError: There is no such connection.
            SignalError: One is no signal's name.
        """

        def decide(one: Connection) -> tuple[Iterable[str], Iterable[str]]:
            new = signals or one.pending
            return (*one.signals, *new), (name for name in one.declined if name not in new)

        return await self._decide(connection_id, decide)

    async def decline(self, connection_id: str, *signals: str) -> Connection:
        """Keep an app from signals, granted or not; all that wait, without any.

        Raises:
            UnknownAppError: There is no such connection.
            SignalError: One is no signal's name.
        """

        def decide(one: Connection) -> tuple[Iterable[str], Iterable[str]]:
            gone = signals or one.pending
            return (name for name in one.signals if name not in gone), (*one.declined, *gone)

        return await self._decide(connection_id, decide)

    async def _decide(self, connection_id: str, decide: Decide) -> Connection:
        database = await self._ready()
        sql = statements_of(database)
        async with database.transaction() as tx:
            rows = await tx.fetch(sql.locked_connection, connection_id)
            if not rows:
                raise _unknown(connection_id)
            granted, declined = map(checked_signals, decide(connection_of(rows[0])))
            texts = (json_text(granted), json_text(declined))
            await tx.execute(sql.change_connection, *texts, self._clock.now(), connection_id)
        return await self.get(connection_id)

    async def get(self, connection_id: str) -> Connection:
        """Return a connection.

        Raises:
            UnknownAppError: There is none.
        """
        database = await self._ready()
        rows = await database.fetch(statements_of(database).connection, connection_id)
        if not rows:
            raise _unknown(connection_id)
        return connection_of(rows[0])

    async def between(
        self, app_id: str, *, account_id: Key, account_type: str = "account"
    ) -> Connection | None:
        """Return the connection of an app and an account, if there is one.

        Args:
            app_id: Which app.
            account_id: Which account.
            account_type: Its kind.
        """
        database = await self._ready()
        account = key_text(checked_key("account_id", account_id))
        rows = await database.fetch(
            statements_of(database).connection_between, app_id, account_type, account
        )
        return connection_of(rows[0]) if rows else None

    async def list(
        self,
        *,
        app_id: str | None = None,
        account_id: Key | None = None,
        account_type: str = "account",
        after: str = "",
        limit: int = 100,
    ) -> Sequence[Connection]:
        """Return connections by id.

        Args:
            app_id: Only of this app.
            account_id: Only of this account.
            account_type: The account's kind.
            after: Begin after this id.
            limit: Connections at most.
        """
        app = app_id or ""
        account = "" if account_id is None else key_text(checked_key("account_id", account_id))
        kind = account_type if account else ""
        database = await self._ready()
        rows = await database.fetch(
            statements_of(database).connections, after, app, app, kind, kind, account, limit
        )
        return [connection_of(row) for row in rows]

    async def entry_url(self, connection_id: str, data: Mapping[str, Any] | None = None) -> str:
        """Return a signed URL by which somebody of the account enters the app.

        Args:
            connection_id: Which connection.
            data: What the app is to know on top of the account; JSON.

        Raises:
            UnknownAppError: There is no such connection.
            SignalError: The app has no entry_url, or the data is too large.
        """
        one = await self.get(connection_id)
        ident = str(one.account_id) if isinstance(one.account_id, UUID) else one.account_id
        account = {"account_id": ident, "account_type": one.account_type}
        return await self._apps.entry_url(one.app_id, {**(data or {}), **account})


def _unknown(connection_id: str) -> UnknownAppError:
    return UnknownAppError(
        f"no connection {connection_id!r}: trunkline connections list shows them all"
    )
