"""Signatures of webhooks: Standard Webhooks (``v1`` and ``v1a``), and Demux's older header.

Sources: the Standard Webhooks specification 1.0 (standardwebhooks.com, section "Signature
scheme") and Demux's ``X-Demux-Signature``. What is signed is ``id.timestamp.body``, byte by byte
as sent. A header may carry several signatures, so that secrets can be changed without a pause.
Verifying never raises anything but :class:`SignatureError`, whatever a stranger sends.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from trunkline.errors import GrammarError, MissingExtraError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"
#: Headers of the same meaning that Svix's own servers send.
SVIX: Final = {ID: "svix-id", TIMESTAMP: "svix-timestamp", SIGNATURE: "svix-signature"}
DEMUX_SIGNAL: Final = "X-Demux-Signal"
DEMUX_SIGNATURE: Final = "X-Demux-Signature"

#: Seconds that a timestamp may be away from the receiver's clock.
TOLERANCE: Final = 300.0
#: Candidates in one header that are looked at: a longer list is nobody's rotation.
CANDIDATES: Final = 32
#: Bytes of a secret, as the specification bounds them.
SHORTEST, LONGEST = 24, 64

_SECRET, _PRIVATE, _PUBLIC = "whsec_", "whsk_", "whpk_"
_DIGITS: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_ID: Final = re.compile(r"[!-~]{1,256}", re.ASCII)
_HEX: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


class SignatureError(UsageError):
    """Report a request that is not proven to come from whom it says.

    The message is the same whatever is wrong, for whoever tries should learn nothing from it.
    """

    status = 401
    code = "signature"

    def __init__(self) -> None:
        super().__init__(
            "the signature is not valid: check the secret, the clock, and that the body is the "
            "bytes that came, before any parsing"
        )


class UnsignableError(GrammarError):
    """Report a key or an id that can't be used to sign; the key itself is not told."""

    code = "unsignable"


@dataclass(frozen=True, slots=True, repr=False)
class SigningKey:
    """Sign, with one key of either kind.

    Args:
        scheme: ``v1`` (HMAC-SHA256) or ``v1a`` (ed25519).
        key: The secret, or the private key's 32 bytes.
    """

    scheme: str
    key: bytes

    def __repr__(self) -> str:
        return f"<SigningKey {self.scheme}>"

    @classmethod
    def read(cls, text: str) -> SigningKey:
        """Read ``whsec_…`` or ``whsk_…``; anything else is a secret as it stands, as in Demux.

        Raises:
            UnsignableError: It is no key.
        """
        if text.startswith(_PRIVATE):
            # 32 bytes of seed, or seed and public key together.
            return cls("v1a", _decoded(text.removeprefix(_PRIVATE), sizes=(32, 64))[:32])
        if text.startswith(_SECRET):
            return cls("v1", _decoded(text.removeprefix(_SECRET)))
        if not text:
            raise UnsignableError("an empty secret signs nothing: make one with new_secret()")
        return cls("v1", text.encode())

    def sign(self, delivery_id: str, timestamp: int, body: bytes) -> str:
        """Return one signature with its scheme, as it stands in the header."""
        content = _content(delivery_id, timestamp, body)
        if self.scheme == "v1":
            mac = hmac.digest(self.key, content, hashlib.sha256)
        else:
            mac = _private(self.key).sign(content)
        return f"{self.scheme},{base64.b64encode(mac).decode()}"


@dataclass(frozen=True, slots=True, repr=False)
class VerifyingKey:
    """Verify, with one key of either kind.

    Args:
        scheme: ``v1`` or ``v1a``.
        key: The secret, or the public key's 32 bytes.
    """

    scheme: str
    key: bytes

    def __repr__(self) -> str:
        return f"<VerifyingKey {self.scheme}>"

    @classmethod
    def read(cls, text: str) -> VerifyingKey:
        """Read ``whsec_…`` or ``whpk_…``; anything else is a secret as it stands.

        Raises:
            UnsignableError: It is no key.
        """
        if text.startswith(_PUBLIC):
            return cls("v1a", _decoded(text.removeprefix(_PUBLIC), sizes=(32,)))
        if text.startswith(_PRIVATE):
            raise UnsignableError("a private key is not for receivers: give the whpk_ one")
        key = SigningKey.read(text)
        return cls(key.scheme, key.key)

    def accepts(self, mac: bytes, content: bytes) -> bool:
        """Tell whether a signature is this key's, in constant time."""
        if self.scheme == "v1":
            return hmac.compare_digest(hmac.digest(self.key, content, hashlib.sha256), mac)
        from cryptography.exceptions import InvalidSignature

        try:
            _public(self.key).verify(mac, content)
        except (InvalidSignature, ValueError):
            return False
        return True


def check_id(delivery_id: str) -> str:
    """Return an id that can be signed: visible ASCII without a dot, which separates the parts.

    Raises:
        UnsignableError: It isn't.
    """
    if not _ID.fullmatch(delivery_id) or "." in delivery_id:
        raise UnsignableError(f"the delivery id {delivery_id!r} has to be visible ASCII, no dots")
    return delivery_id


def sign(
    keys: Sequence[SigningKey], *, delivery_id: str, timestamp: int, body: bytes
) -> dict[str, str]:
    """Return the three headers of Standard Webhooks.

    Args:
        keys: All that are valid now; none for a request that isn't signed.
        delivery_id: The same in every attempt.
        timestamp: Unix seconds of this attempt.
        body: The bytes that are sent.

    Raises:
        UnsignableError: The id has a character that it may not have.
    """
    headers = {ID: check_id(delivery_id), TIMESTAMP: str(timestamp)}
    if keys:
        headers[SIGNATURE] = " ".join(key.sign(delivery_id, timestamp, body) for key in keys)
    return headers


def verify(
    headers: Mapping[str, str],
    body: bytes,
    keys: Sequence[VerifyingKey],
    *,
    now: float,
    tolerance: float = TOLERANCE,
) -> tuple[str, int]:
    """Check that a request was signed with one of *keys*, lately.

    Args:
        headers: The request's, in any case; Svix's names are understood too.
        body: The bytes as they came.
        keys: All that are valid now.
        now: Unix seconds.
        tolerance: Seconds that the timestamp may be away, either way.

    Returns:
        The delivery id and the timestamp.

    Raises:
        SignatureError: It wasn't, whatever the reason.
    """
    found = _lowered(headers)
    delivery_id, stamp, signatures = (found.get(name, "") for name in (ID, TIMESTAMP, SIGNATURE))
    if not _ID.fullmatch(delivery_id) or not _DIGITS.fullmatch(stamp):
        raise SignatureError
    timestamp = int(stamp)
    content = _content(delivery_id, timestamp, body, stamp)
    # Every candidate is tried with every key: which one fits is not told by how long it takes.
    fits = [key.accepts(mac, content) for mac, key in _pairs(signatures, keys)]
    if not any(fits) or not abs(now - timestamp) <= tolerance:
        raise SignatureError
    return delivery_id, timestamp


def sign_as_demux(key: SigningKey, signal_name: str, body: bytes) -> dict[str, str]:
    """Return Demux's two headers: the signal's name, and the body's HMAC in hexadecimal."""
    mac = hmac.new(key.key, body, hashlib.sha256).hexdigest()
    return {DEMUX_SIGNAL: signal_name, DEMUX_SIGNATURE: mac}


def verify_as_demux(headers: Mapping[str, str], body: bytes, keys: Sequence[VerifyingKey]) -> str:
    """Check Demux's signature, which covers the body alone: it can be replayed.

    Returns:
        The signal's name, which is not signed.

    Raises:
        SignatureError: It isn't valid.
    """
    found = {str(name).lower(): value for name, value in headers.items()}
    mac = found.get(DEMUX_SIGNATURE.lower(), "")
    if not isinstance(mac, str) or not _HEX.fullmatch(mac):
        raise SignatureError
    fits = [
        hmac.compare_digest(hmac.new(key.key, body, hashlib.sha256).hexdigest(), mac)
        for key in keys
        if key.scheme == "v1"
    ]
    if not any(fits):
        raise SignatureError
    return str(found.get(DEMUX_SIGNAL.lower(), ""))


def encode_secret(secret: bytes) -> str:
    """Return random bytes as a ``whsec_`` secret.

    Raises:
        UnsignableError: They are not 24 to 64.
    """
    if not SHORTEST <= len(secret) <= LONGEST:
        raise UnsignableError(f"a secret has {SHORTEST} to {LONGEST} bytes, not {len(secret)}")
    return _SECRET + base64.b64encode(secret).decode()


def encode_key_pair(seed: bytes) -> tuple[str, str]:
    """Return the ``whsk_`` and ``whpk_`` texts of the ed25519 key that 32 random bytes give."""
    public = _private(seed).public_key().public_bytes_raw()
    return (
        _PRIVATE + base64.b64encode(seed).decode(),
        _PUBLIC + base64.b64encode(public).decode(),
    )


def _content(delivery_id: str, timestamp: int, body: bytes, stamp: str | None = None) -> bytes:
    return b"%s.%s.%s" % (delivery_id.encode(), (stamp or str(timestamp)).encode(), body)


def _lowered(headers: Mapping[str, str]) -> dict[str, str]:
    found = {str(name).lower(): value for name, value in headers.items() if isinstance(value, str)}
    return {name: found.get(name, found.get(other, "")) for name, other in SVIX.items()}


def _pairs(signatures: str, keys: Iterable[VerifyingKey]) -> Iterable[tuple[bytes, VerifyingKey]]:
    for candidate in signatures.split(" ", CANDIDATES)[:CANDIDATES]:
        scheme, _, text = candidate.partition(",")
        try:
            mac = base64.b64decode(text.encode("ascii"), validate=True)
        except (ValueError, binascii.Error):
            continue
        for key in keys:
            if key.scheme == scheme:
                yield mac, key


def _decoded(text: str, sizes: tuple[int, ...] = ()) -> bytes:
    try:
        key = base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, binascii.Error):
        raise UnsignableError("a key's text after its prefix is base64, and this isn't") from None
    if not key or (sizes and len(key) not in sizes):
        raise UnsignableError("a key of this kind doesn't have so many bytes")
    return key


@cache
def _private(seed: bytes) -> Ed25519PrivateKey:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise MissingExtraError("signing with ed25519", "webhooks") from error
    return ed25519.Ed25519PrivateKey.from_private_bytes(seed)


@cache
def _public(key: bytes) -> Ed25519PublicKey:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise MissingExtraError("verifying ed25519", "webhooks") from error
    return ed25519.Ed25519PublicKey.from_public_bytes(key)
