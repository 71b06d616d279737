"""The apps of a line: made, changed, found, given secrets, entered and removed."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypedDict, Unpack

import msgspec

from trunkline.model import codec
from trunkline.runtime.clock import Clock
from trunkline.sql.database import Database, Transaction
from trunkline.webhooks.access_key import AccessKey, AccessKeys
from trunkline.webhooks.app import App, app_of, check_app, checked_signals, json_text
from trunkline.webhooks.entry import entry_link
from trunkline.webhooks.errors import TakenError, UnknownAppError
from trunkline.webhooks.granting import merged, regrant
from trunkline.webhooks.ring import ENTRY, SIGNAL, SecretInfo, SecretRing
from trunkline.webhooks.settings import WebhookOptions
from trunkline.webhooks.statements import Statements, statements_of
from trunkline.webhooks.vault import Vault

Ready = Callable[[], Awaitable[Database]]
CheckUrl = Callable[[str], object]


class AppFields(TypedDict, total=False):
    """Be what an app may be given besides its name.

    Attributes:
        description: For people.
        indicator: A short name of its own.
        entry_url: Where an account's user enters it.
        signal_url: Where its signals go.
        signals: What it asks for; ``*`` for all.
        account_types: Accounts that may install it; none for all.
        configuration: Whatever the host keeps with it; JSON.
        options: How it is delivered to; JSON.
    """

    description: str
    indicator: str | None
    entry_url: str | None
    signal_url: str | None
    signals: Iterable[str]
    account_types: Iterable[str]
    configuration: Mapping[str, Any]
    options: Mapping[str, Any]


class Apps:
    """Keep apps.

    Args:
        ready: Opens the line if need be, and returns its database.
        vault: Seals secrets.
        options: The settings.
        clock: Tells the time.
        check_url: Refuses addresses that requests may not go to.
    """

    def __init__(
        self,
        ready: Ready,
        vault: Vault,
        options: WebhookOptions,
        clock: Clock,
        *,
        check_url: CheckUrl | None = None,
    ) -> None:
        self._ready = ready
        self._vault = vault
        self._options = options
        self._clock = clock
        self._check_url = check_url

    async def create(
        self, name: str, *, secret: str | None = None, **fields: Unpack[AppFields]
    ) -> App:
        """Add an app, with secrets of its own.

        Args:
            name: For people.
            secret: One secret for everything, as Demux had it; by default two new ones.
            **fields: See :class:`AppFields`.

        Returns:
            The app; its secrets are revealed by :meth:`reveal_secret`.

        Raises:
            SignalError: A field makes no sense.
            TakenError: Another app has the indicator.
        """
        now = self._clock.now()
        ident = f"app_{secrets.token_hex(10)}"
        app = self._changed(App(id=ident, name=name, created_at=now, updated_at=now), fields)
        database = await self._ready()
        sql, ring = statements_of(database), self._ring(database)
        async with database.transaction() as tx:
            if not await tx.execute(sql.add_app, ident, *_columns(app), now, now):
                raise TakenError(f"another app has the indicator {app.indicator!r}")
            for purpose in (SIGNAL, ENTRY):
                await ring.add(tx, ident, purpose, secret)
            if app.signal_url is not None:
                await self._add_endpoint(tx, sql, app)
        return await self.get(ident)

    async def update(
        self,
        app_id: str,
        *,
        name: str | None = None,
        approval: bool = True,
        **fields: Unpack[AppFields],
    ) -> App:
        """Change an app.

        A signal that it newly asks for waits for each account's approval; one that it no longer
        asks for is taken from all connections at once.

        Args:
            app_id: Which.
            name: Another name.
            approval: Say False to grant newly asked signals everywhere at once.
            **fields: What to change; see :class:`AppFields`.

        Raises:
            UnknownAppError: There is none.
            SignalError: A field makes no sense.
            TakenError: Another app has the indicator.
        """
        before = await self.get(app_id)
        named = before if name is None else msgspec.structs.replace(before, name=name)
        app = self._changed(named, fields)
        await self._check_indicator(app)
        database, now = await self._ready(), self._clock.now()
        sql = statements_of(database)
        async with database.transaction() as tx:
            await tx.execute(sql.change_app, *_columns(app), now, app_id)
            await self._move_endpoint(tx, sql, before, app)
            gone = set(before.signals) - set(app.signals)
            new = [] if approval else [one for one in app.signals if one not in before.signals]
            if gone or new:
                await regrant(tx, sql, app_id, lambda had: merged(had, new, gone), now)
        return await self.get(app_id)

    async def grant_all(self, app_id: str) -> int:
        """Grant every connection of an app exactly what the app asks for.

        Returns:
            How many connections changed.

        Raises:
            UnknownAppError: There is none.
        """
        app = await self.get(app_id)
        database = await self._ready()
        async with database.transaction() as tx:
            return await regrant(
                tx, statements_of(database), app_id, lambda _: list(app.signals), self._clock.now()
            )

    async def get(self, app_id: str) -> App:
        """Return an app.

        Raises:
            UnknownAppError: There is none.
        """
        database = await self._ready()
        rows = await database.fetch(statements_of(database).app, app_id)
        if not rows:
            raise UnknownAppError(f"no app {app_id!r}: trunkline apps list shows them all")
        return app_of(rows[0])

    async def find(self, indicator: str) -> App | None:
        """Return the app with an indicator, if there is one."""
        database = await self._ready()
        rows = await database.fetch(statements_of(database).app_of_indicator, indicator)
        return app_of(rows[0]) if rows else None

    async def list(self, *, after: str = "", limit: int = 100) -> Sequence[App]:
        """Return apps by id.

        Args:
            after: Begin after this id.
            limit: Apps at most.
        """
        database = await self._ready()
        return [
            app_of(row) for row in await database.fetch(statements_of(database).apps, after, limit)
        ]

    async def delete(self, app_id: str) -> None:
        """Remove an app, its connections and secrets; what is queued for it is withdrawn.

        Raises:
            UnknownAppError: There is none.
        """
        await self.get(app_id)
        database = await self._ready()
        sql = statements_of(database)
        async with database.transaction() as tx:
            for statement in (
                sql.remove_connections,
                sql.remove_app_secrets,
                sql.remove_keys,
                sql.remove_endpoint,
                sql.remove_app,
            ):
                await tx.execute(statement, app_id)
            await tx.execute(sql.withdraw_app, self._clock.now(), app_id)

    # -- secrets ------------------------------------------------------------------------------

    async def rotate_secret(
        self,
        app_id: str,
        purpose: str = SIGNAL,
        *,
        grace: float | None = None,
        value: str | None = None,
    ) -> str:
        """Give an app a new secret; the old ones stay valid for a while.

        Args:
            app_id: Which.
            purpose: ``signal``, ``signal_ed25519`` or ``entry``.
            grace: Seconds that old ones stay valid; 0 when one may be in wrong hands. As the
                settings say by default.
            value: The secret; a new one by default.

        Returns:
            The new secret.

        Raises:
            UnknownAppError: There is none.
            SignalError: The purpose is none, or the value can't be used.
        """
        await self.get(app_id)
        ring = self._ring(await self._ready())
        wait = self._options.secret_grace if grace is None else grace
        return await ring.rotate(app_id, purpose, grace=wait, value=value)

    async def secrets(self, app_id: str) -> Sequence[SecretInfo]:
        """Describe an app's valid secrets, without telling them."""
        await self.get(app_id)
        return await self._ring(await self._ready()).infos(app_id)

    async def reveal_secret(self, app_id: str, purpose: str = SIGNAL) -> str:
        """Return an app's current secret, to be shown to its maker.

        Raises:
            UnknownAppError: There is no such app, or it has no secret for this.
            SecretError: It can't be opened.
        """
        await self.get(app_id)
        found = await self._ring(await self._ready()).reveal(app_id, purpose)
        if not found:
            raise UnknownAppError(
                f"this app has no secret for {purpose!r}: rotate_secret makes one"
            )
        return found[0]

    async def entry_url(
        self, app_id: str, data: Mapping[str, Any] | None = None, *, ttl: float | None = None
    ) -> str:
        """Return a signed URL by which somebody enters an app; it is valid for a minute.

        Args:
            app_id: Which.
            data: What the app is to know; JSON.
            ttl: Seconds that it is valid; as the settings say by default.

        Raises:
            UnknownAppError: There is none.
            SignalError: It has no entry_url, or the data is too large.
        """
        app = await self.get(app_id)
        return entry_link(
            app,
            await self.reveal_secret(app_id, ENTRY),
            data or {},
            issuer=self._options.source,
            now=self._clock.now(),
            ttl=self._options.entry_ttl if ttl is None else ttl,
        )

    # -- access keys --------------------------------------------------------------------------

    async def generate_access_key(self, app_id: str) -> tuple[AccessKey, str]:
        """Make an RSA key pair by which an app can prove to the host who it is.

        Returns:
            The key that is kept, and the private key (PEM), which is kept nowhere.

        Raises:
            UnknownAppError: There is none.
            MissingExtraError: cryptography is not installed.
        """
        await self.get(app_id)
        return await self._keys(await self._ready()).generate(app_id)

    async def add_access_key(self, app_id: str, public_pem: str) -> AccessKey:
        """Keep a public key that an app's maker brought.

        Raises:
            UnknownAppError: There is none.
            SignalError: It is no RSA public key of 2048 bits or more.
            TakenError: The key is there already.
        """
        await self.get(app_id)
        return await self._keys(await self._ready()).add(app_id, public_pem)

    async def access_keys(self, app_id: str) -> Sequence[AccessKey]:
        """Return an app's public keys, the oldest first."""
        return await self._keys(await self._ready()).list(app_id)

    async def remove_access_key(self, app_id: str, fingerprint: str) -> bool:
        """Forget a public key; False if there was none."""
        return await self._keys(await self._ready()).remove(app_id, fingerprint)

    # -- inside -------------------------------------------------------------------------------

    def _ring(self, database: Database) -> SecretRing:
        return SecretRing(database, self._vault, self._clock)

    def _keys(self, database: Database) -> AccessKeys:
        return AccessKeys(database, self._clock)

    def _changed(self, app: App, fields: AppFields) -> App:
        values: dict[str, Any] = dict(fields)
        if "signals" in values:
            values["signals"] = checked_signals(values["signals"])
        if "account_types" in values:
            values["account_types"] = tuple(dict.fromkeys(values["account_types"]))
        for name in {"configuration", "options"} & values.keys():
            values[name] = codec.decode(codec.encode(dict(values[name])))
        changed = check_app(msgspec.structs.replace(app, **values))
        if changed.signal_url not in {None, app.signal_url} and self._check_url is not None:
            self._check_url(str(changed.signal_url))
        return changed

    async def _check_indicator(self, app: App) -> None:
        if app.indicator is not None:
            other = await self.find(app.indicator)
            if other is not None and other.id != app.id:
                raise TakenError(f"another app has the indicator {app.indicator!r}")

    async def _add_endpoint(self, tx: Transaction, sql: Statements, app: App) -> None:
        now, ident = self._clock.now(), f"ep_{secrets.token_hex(10)}"
        options = json_text(app.options)
        await tx.execute(sql.add_endpoint, ident, app.id, app.signal_url, options, now, now)

    async def _move_endpoint(self, tx: Transaction, sql: Statements, old: App, new: App) -> None:
        now = self._clock.now()
        if new.signal_url is None:
            await tx.execute(sql.remove_endpoint, new.id)
            await tx.execute(sql.withdraw_app, now, new.id)
        elif old.endpoint_id is None:
            await self._add_endpoint(tx, sql, new)
        else:
            if new.signal_url != old.signal_url:
                await tx.execute(sql.change_url, new.signal_url, now, new.id)
            if new.options != old.options:
                await tx.execute(sql.change_endpoint, json_text(new.options), now, new.id)


def _columns(app: App) -> tuple[Any, ...]:
    return (
        app.name,
        app.description,
        app.indicator,
        app.entry_url,
        json_text(app.signals),
        json_text(app.account_types),
        json_text(app.configuration),
        json_text(app.options),
    )
