"""Access keys: public keys by which apps can prove to the host who they are (Demux, upstream)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from trunkline.errors import MissingExtraError
from trunkline.runtime.clock import Clock
from trunkline.sql.database import Database
from trunkline.webhooks.errors import SignalError, TakenError
from trunkline.webhooks.statements import statements_of

BITS: Final = 2048


class AccessKey(msgspec.Struct, frozen=True, kw_only=True):
    """Be an app's public key.

    Args:
        app_id: Whose.
        fingerprint: ``SHA256:`` and the base64 of its SHA-256 (DER, SubjectPublicKeyInfo).
        public_pem: The key.
        created_at: Unix seconds.
    """

    app_id: str
    fingerprint: str
    public_pem: str
    created_at: float


class AccessKeys:
    """Keep access keys.

    Args:
        database: Where.
        clock: Tells the time.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._sql = statements_of(database)

    async def generate(self, app_id: str) -> tuple[AccessKey, str]:
        """Make a pair; keep the public key and return both, the private one as PEM."""
        serialization, rsa = _cryptography()
        private = rsa.generate_private_key(public_exponent=65537, key_size=BITS)
        pem = private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return await self._keep(app_id, private.public_key()), bytes(pem).decode()

    async def add(self, app_id: str, public_pem: str) -> AccessKey:
        """Keep a public key.

        Raises:
            SignalError: It is none that can be used.
            TakenError: It is there already.
        """
        serialization, rsa = _cryptography()
        try:
            public = serialization.load_pem_public_key(public_pem.encode())
        except Exception as error:
            raise SignalError("this is no public key in PEM") from error
        if not isinstance(public, rsa.RSAPublicKey) or public.key_size < BITS:
            raise SignalError(f"an access key is an RSA public key of {BITS} bits or more")
        return await self._keep(app_id, public)

    async def _keep(self, app_id: str, public: Any) -> AccessKey:
        serialization, _ = _cryptography()
        kind = serialization.PublicFormat.SubjectPublicKeyInfo
        der = bytes(public.public_bytes(serialization.Encoding.DER, kind))
        pem = bytes(public.public_bytes(serialization.Encoding.PEM, kind)).decode()
        digest = base64.b64encode(hashlib.sha256(der).digest()).decode()
        key = AccessKey(
            app_id=app_id,
            fingerprint=f"SHA256:{digest}",
            public_pem=pem,
            created_at=self._clock.now(),
        )
        async with self._database.transaction() as tx:
            row = (key.fingerprint, app_id, pem, key.created_at)
            if not await tx.execute(self._sql.add_key, *row):
                raise TakenError(f"the key {key.fingerprint} is there already")
        return key

    async def list(self, app_id: str) -> Sequence[AccessKey]:
        """Return the keys of an app, the oldest first."""
        return [
            AccessKey(app_id=app_id, fingerprint=row[0], public_pem=row[1], created_at=row[2])
            for row in await self._database.fetch(self._sql.keys, app_id)
        ]

    async def remove(self, app_id: str, fingerprint: str) -> bool:
        """Forget a key; False if there was none."""
        async with self._database.transaction() as tx:
            return bool(await tx.execute(self._sql.remove_key, app_id, fingerprint))


def _cryptography() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa
    except ImportError as error:
        raise MissingExtraError("access keys", "webhooks") from error
    return serialization, rsa
