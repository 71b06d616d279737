"""Another service: how it proves who it is, and how we prove who we are to it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from trunkline.errors import ConfigError, GrammarError
from trunkline.model.pattern import Pattern
from trunkline.wire.signature import SigningKey, VerifyingKey
from trunkline.wire.toot import Format

Scheme = Literal["signature", "basic", "bearer", "none"]

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", re.ASCII)
_PASSWORD: Final = re.compile(r"[!-~]{8,200}", re.ASCII)
_KIND: Final = "scrypt-14"
_COST: Final = 2**14


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """Be what one service gives another, so that it can prove who it is.

    Args:
        name: Who it is there.
        password: For HTTP Basic, and within :attr:`token`; None for none.
        secret: A ``whsec_`` key that both sign with; None for none.
    """

    name: str
    password: str | None = None
    secret: str | None = None

    @property
    def token(self) -> str | None:
        """Return the bearer token, or None."""
        return None if self.password is None else f"{self.name}.{self.password}"

    @property
    def basic(self) -> str | None:
        """Return the ``Authorization`` of HTTP Basic (RFC 7617), or None."""
        if self.password is None:
            return None
        pair = f"{self.name}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"

    def __repr__(self) -> str:
        return f"<Credentials of {self.name}>"


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """Be another service, as operators see it: without secrets.

    Args:
        name: Its name here.
        channels: Patterns of what it may subscribe to, within our prefix.
        format: ``standard`` or ``toot``.
        scheme: How we prove who we are to it: ``signature``, ``basic``, ``bearer`` or ``none``.
        has_password: Whether it may come with a password or a token.
        has_secret: Whether what goes between us is signed.
        created_at: Unix seconds.
        updated_at: Unix seconds.
    """

    name: str
    channels: tuple[str, ...]
    format: Format
    scheme: Scheme
    has_password: bool
    has_secret: bool
    created_at: float
    updated_at: float

    def may_hear(self, channel: str) -> bool:
        """Tell whether it may subscribe to a channel."""
        return any(Pattern(text, ".").matches(channel) for text in self.channels)


class PeerKeys(msgspec.Struct, frozen=True, kw_only=True):
    """Be what requests between us and a peer are proven with.

    Args:
        name: The peer's.
        us: Who we are there.
        scheme: How we show it.
        secret: What both sign with, or None.
        retired: What both signed with before, as long as it is valid; the newest first.
        authorization: The header that we send, or None.
        password: The hash of what it comes with, or None.
    """

    name: str
    us: str
    scheme: Scheme
    secret: str | None
    authorization: str | None
    password: str | None
    retired: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<PeerKeys of {self.name}>"

    @property
    def signing(self) -> tuple[SigningKey, ...]:
        """Return what signs requests to it, all together; none where they aren't signed."""
        return tuple(map(SigningKey.read, self._valid)) if self.scheme == "signature" else ()

    @property
    def verifying(self) -> tuple[VerifyingKey, ...]:
        """Return what verifies requests from it."""
        return tuple(map(VerifyingKey.read, self._valid))

    @property
    def _valid(self) -> tuple[str, ...]:
        return () if self.secret is None else (self.secret, *self.retired)


def check_name(name: str) -> str:
    """Return a peer's name.

    Raises:
        ConfigError: It is none: letters, digits, ``_`` and ``-``.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r}: a peer's name has 1 to 100 letters, digits, '_', '-'")
    return name


def check_password(password: str) -> str:
    """Return a password that can be sent.

    Raises:
        ConfigError: It can't; it is not told.
    """
    if not _PASSWORD.fullmatch(password):
        raise ConfigError("a peer's password is 8 to 200 visible ASCII characters")
    return password


def check_channels(channels: tuple[str, ...]) -> tuple[str, ...]:
    """Return patterns of channels.

    Raises:
        ConfigError: One is none.
    """
    for text in channels:
        try:
            Pattern(text, ".")
        except GrammarError as error:
            raise ConfigError(str(error)) from error
    return channels


def hash_password(password: str) -> str:
    """Return what is stored of a password: scrypt (RFC 7914) with a salt of its own. Slow."""
    salt = secrets.token_bytes(16)
    return f"{_KIND}${salt.hex()}${_digest(password, salt).hex()}"


def fits(password: str, stored: str) -> bool:
    """Tell whether a password is the one that was hashed, in constant time. Slow."""
    kind, _, rest = stored.partition("$")
    salt, _, digest = rest.partition("$")
    if kind != _KIND:
        return False
    return hmac.compare_digest(_digest(password, bytes.fromhex(salt)), bytes.fromhex(digest))


#: What a password of nobody is compared with, so that names can't be told by the time it takes.
NOBODY: Final = f"{_KIND}${'00' * 16}${'00' * 32}"


def _digest(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=_COST, r=8, p=1, maxmem=2**26, dklen=32)


def read_authorization(headers: Mapping[str, str]) -> tuple[str, str] | None:
    """Return name and password from ``Authorization``, Basic or Bearer, or None."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    if len(value) > 1000:
        return None
    if kind.lower() == "bearer":
        name, dot, password = value.strip().partition(".")
        return (name, password) if dot else None
    if kind.lower() != "basic":
        return None
    try:
        text = base64.b64decode(value.strip(), validate=True).decode()
    except (ValueError, binascii.Error):
        return None
    name, colon, password = text.partition(":")
    return (name, password) if colon else None
