"""Secrets of apps and peers: several are valid at once, so that both sides can change theirs."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from typing import Final

import msgspec

from trunkline.runtime.clock import Clock
from trunkline.sql.database import Database, Row, Transaction
from trunkline.webhooks.errors import SignalError
from trunkline.webhooks.statements import statements_of
from trunkline.webhooks.vault import Vault, hint
from trunkline.wire.signature import SigningKey, encode_key_pair, encode_secret

SIGNAL: Final = "signal"
SIGNAL_ED25519: Final = "signal_ed25519"
ENTRY: Final = "entry"
PURPOSES: Final = (SIGNAL, SIGNAL_ED25519, ENTRY)
#: Secrets of one purpose that are valid at once.
MOST: Final = 5


class SecretInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Describe a secret without telling it.

    Args:
        id: Names it.
        purpose: ``signal``, ``signal_ed25519`` or ``entry``.
        hint: Its last letters.
        created_at: Unix seconds.
        expires_at: When it stops being valid, Unix seconds; None for the current one.
    """

    id: str
    purpose: str
    hint: str
    created_at: float
    expires_at: float | None


class SecretRing:
    """Keep the secrets of apps, and those that peers had before.

    Args:
        database: Where they are.
        vault: Seals them.
        clock: Tells the time.
    """

    def __init__(self, database: Database, vault: Vault, clock: Clock) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock
        self._sql = statements_of(database)

    async def add(
        self, tx: Transaction, app_id: str, purpose: str, value: str | None = None
    ) -> tuple[str, str]:
        """Store a secret.

        Args:
            tx: The transaction.
            app_id: Whose.
            purpose: What for.
            value: The secret; a new one by default.

        Returns:
            Its id and itself.

        Raises:
            SignalError: The purpose is none, or the value can't be used for it.
        """
        value = new_secret(purpose) if value is None else checked_secret(purpose, value)
        return await self._put(tx, app_id, purpose, value), value

    async def _put(self, tx: Transaction, app_id: str, purpose: str, value: str) -> str:
        ident = f"sec_{secrets.token_hex(8)}"
        sealed = self._vault.seal(value, owner=f"{app_id} {ident}")
        now = self._clock.now()
        await tx.execute(self._sql.add_secret, ident, app_id, purpose, sealed, hint(value), now)
        return ident

    async def rotate(self, app_id: str, purpose: str, *, grace: float, value: str | None) -> str:
        """Add a secret, and let those before it end after a while.

        Args:
            app_id: Whose.
            purpose: What for.
            grace: Seconds; 0 when the old one may be in wrong hands.
            value: The secret; a new one by default.

        Returns:
            The new secret.
        """
        now = self._clock.now()
        async with self._database.transaction() as tx:
            ident, value = await self.add(tx, app_id, purpose, value)
            await self._expire(tx, app_id, purpose, end=now + max(0.0, grace), but=ident)
            await self._check_count(tx, app_id, purpose, most=MOST)
        return value

    async def retire(self, tx: Transaction, owner: str, value: str, *, grace: float) -> None:
        """Keep a secret for signals that was replaced elsewhere, for a while.

        Args:
            tx: The transaction that replaces it.
            owner: Whose, as an app's id is.
            value: The secret.
            grace: Seconds that it, and those before it, stay valid at most.

        Raises:
            SignalError: Too many are valid still.
        """
        await self._put(tx, owner, SIGNAL, value)
        end = self._clock.now() + max(0.0, grace)
        await self._expire(tx, owner, SIGNAL, end=end, but="")
        await self._check_count(tx, owner, SIGNAL, most=MOST - 1)

    async def _expire(
        self, tx: Transaction, app_id: str, purpose: str, *, end: float, but: str
    ) -> None:
        await tx.execute(self._sql.expire_secrets, end, app_id, purpose, but, end)
        await tx.execute(self._sql.forget_secrets, self._clock.now())

    async def _check_count(self, tx: Transaction, app_id: str, purpose: str, *, most: int) -> None:
        rows = await self._rows(tx, app_id)
        if sum(row[1] == purpose for row in rows) > most:
            raise SignalError(
                f"{MOST} secrets are valid there already: wait, or rotate with a grace of 0 first"
            )

    async def _rows(self, tx: Transaction, app_id: str) -> Sequence[Row]:
        return await tx.fetch(self._sql.secrets, app_id, self._clock.now())

    async def infos(self, app_id: str) -> list[SecretInfo]:
        """Describe the valid secrets of an app, the newest first."""
        rows = await self._database.fetch(self._sql.secrets, app_id, self._clock.now())
        return [
            SecretInfo(id=row[0], purpose=row[1], hint=row[3], created_at=row[4], expires_at=row[5])
            for row in rows
        ]

    async def reveal(self, app_id: str, purpose: str) -> list[str]:
        """Return the valid secrets of one purpose, the newest first.

        Raises:
            SecretError: One can't be opened.
        """
        rows = await self._database.fetch(self._sql.secrets, app_id, self._clock.now())
        return [self.opened(app_id, row[0], row[2]) for row in rows if row[1] == purpose]

    def opened(self, app_id: str, ident: str, sealed: bytes) -> str:
        """Return a secret.

        Raises:
            SecretError: It can't be opened.
        """
        return self._vault.open(bytes(sealed), owner=f"{app_id} {ident}")


def new_secret(purpose: str) -> str:
    """Return a random secret for a purpose.

    Raises:
        SignalError: The purpose is none.
    """
    if purpose == SIGNAL:
        return encode_secret(secrets.token_bytes(32))
    if purpose == SIGNAL_ED25519:
        return encode_key_pair(secrets.token_bytes(32))[0]
    if purpose == ENTRY:
        return secrets.token_urlsafe(32)
    raise SignalError(f"a secret is for one of {', '.join(PURPOSES)}, not {purpose!r}")


def checked_secret(purpose: str, value: str) -> str:
    """Return a secret that somebody gave.

    Raises:
        SignalError: It can't be used for its purpose; it is not told.
    """
    if purpose not in PURPOSES:
        raise SignalError(f"a secret is for one of {', '.join(PURPOSES)}, not {purpose!r}")
    if not isinstance(value, str) or not 16 <= len(value) <= 512 or not value.isprintable():
        raise SignalError("a secret is printable text of 16 to 512 characters")
    if purpose != ENTRY:
        scheme = SigningKey.read(value).scheme
        if (scheme == "v1a") != (purpose == SIGNAL_ED25519):
            raise SignalError(f"this secret signs by {scheme}, which is not for {purpose!r}")
    return value


def public_key(private: str) -> str:
    """Return the ``whpk_`` text for a ``whsk_`` one, which receivers may be given."""
    seed = base64.b64decode(private.removeprefix("whsk_"))[:32]
    return encode_key_pair(seed)[1]
