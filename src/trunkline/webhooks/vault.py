"""Secrets at rest: sealed with a master key, bound to the row they belong to.

AES-256-GCM with the row's identity as associated data, so that a sealed secret copied to another
row can't be opened there. Several master keys may be given: the first seals, all open, so that a
key can be changed. Without one, secrets are stored as they are; ``doctor`` may tell.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from collections.abc import Sequence
from typing import Any, Final

from trunkline.errors import ConfigError, MissingExtraError
from trunkline.webhooks.errors import SecretError

_OPEN: Final = b"\x00"
_SEALED: Final = b"\x01"
_ID: Final = 4
_NONCE: Final = 12


class Vault:
    """Seal and open secrets.

    Args:
        keys: Master keys, 32 bytes each as base64, the one that seals first; none for none.

    Raises:
        ConfigError: A key is none.
        MissingExtraError: cryptography is not installed, and there is a key.
    """

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self._keys = {}
        for text in keys:
            key = _key(text)
            self._keys[hashlib.sha256(key).digest()[:_ID]] = _cipher(key)

    @property
    def is_sealing(self) -> bool:
        """Tell whether there is a master key."""
        return bool(self._keys)

    def seal(self, secret: str, *, owner: str) -> bytes:
        """Return what is stored of a secret.

        Args:
            secret: The secret.
            owner: Identifies the row.
        """
        if not self._keys:
            return _OPEN + secret.encode()
        ident, cipher = next(iter(self._keys.items()))
        nonce = secrets.token_bytes(_NONCE)
        return (
            _SEALED + ident + nonce + bytes(cipher.encrypt(nonce, secret.encode(), owner.encode()))
        )

    def open(self, sealed: bytes, *, owner: str) -> str:
        """Return the secret.

        Args:
            sealed: What was stored.
            owner: Identifies the row.

        Raises:
            SecretError: Its master key is not given, or it was tampered with.
        """
        if sealed[:1] == _OPEN:
            return sealed[1:].decode()
        ident, rest = sealed[1 : 1 + _ID], sealed[1 + _ID :]
        cipher = self._keys.get(ident)
        if cipher is None:
            raise SecretError(
                "a stored secret was sealed with another master key: add that key to the "
                "webhooks' secret_keys, behind the new one"
            )
        try:
            return bytes(cipher.decrypt(rest[:_NONCE], rest[_NONCE:], owner.encode())).decode()
        except Exception as error:
            raise SecretError("a stored secret was changed, and can't be opened") from error

    def __repr__(self) -> str:
        return f"<Vault with {len(self._keys)} keys>"


def hint(secret: str) -> str:
    """Return what may be shown of a secret: how it begins, by its kind, and its last letters."""
    prefix = secret[: secret.find("_") + 1] if secret.startswith("wh") else ""
    return f"{prefix}…{secret[-4:]}" if len(secret) >= 20 else "…"


def _key(text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except (ValueError, TypeError, binascii.Error):
        key = b""
    if len(key) != 32:
        raise ConfigError("webhooks: each of secret_keys is 32 random bytes as base64")
    return key


def _cipher(key: bytes) -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        raise MissingExtraError("sealing secrets", "webhooks") from error
    return AESGCM(key)
