"""Entry tokens: how an account's user comes to an app with a proof of where from.

A JSON Web Token (RFC 7519), HS256 and nothing else, that lives for a minute. Demux's claims
``data`` and ``exp`` are there, and ``iss``, ``aud``, ``iat`` and ``jti`` beside them. Times are
compared here with the caller's, for a token's reader has a clock of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from trunkline.errors import AccessDeniedError, MissingExtraError

ALGORITHM: Final = "HS256"
PARAMETER: Final = "token"
#: Seconds that the two clocks may differ by.
LEEWAY: Final = 5.0
LONGEST: Final = 8192


class EntryRefusedError(AccessDeniedError):
    """Report an entry token that doesn't hold; which rule it breaks is told to nobody."""

    code = "entry-refused"

    def __init__(self) -> None:
        super().__init__("this entry token is not valid: ask for a new one")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """Be what a token says.

    Args:
        data: What the host put in, the account among it.
        account_type: Kind of the account, or None.
        account_id: The account as JSON has it, or None.
        token_id: Names the token; None in Demux's.
        expires_at: Unix seconds.
    """

    data: dict[str, Any]
    account_type: str | None
    account_id: Any
    token_id: str | None
    expires_at: float


def sign_entry(claims: Mapping[str, Any], key: bytes) -> str:
    """Return a token.

    Args:
        claims: What it says.
        key: The app's secret.

    Raises:
        MissingExtraError: PyJWT is not installed.
    """
    return str(_jwt().encode(dict(claims), _padded(key), algorithm=ALGORITHM))


def read_entry(
    token: str, keys: Sequence[bytes], *, now: float, audience: str | None = None
) -> Entry:
    """Check a token, but not whether it was used before.

    Args:
        token: As it came.
        keys: All secrets that are valid now.
        now: Unix seconds.
        audience: The app's id, which the token must then be for; None for Demux's tokens.

    Raises:
        EntryRefusedError: It doesn't hold, whatever the reason.
        MissingExtraError: PyJWT is not installed.
    """
    jwt = _jwt()
    if not isinstance(token, str) or len(token) > LONGEST:
        raise EntryRefusedError
    # Only the signature is checked there: times and audience are compared below.
    options = dict.fromkeys(("verify_exp", "verify_iat", "verify_nbf", "verify_aud"), False)
    claims: Any = None
    for key in keys:
        try:
            claims = jwt.decode(token, _padded(key), algorithms=[ALGORITHM], options=options)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            continue
    return _entry(claims, now, audience)


def _entry(claims: Any, now: float, audience: str | None) -> Entry:
    try:
        found = msgspec.convert(claims, _Claims)
    except (msgspec.ValidationError, RecursionError):
        raise EntryRefusedError from None
    if not now < found.exp + LEEWAY or found.iat > now + LEEWAY:
        raise EntryRefusedError
    if audience is not None and (found.aud != audience or found.jti is None):
        raise EntryRefusedError
    return Entry(
        data=found.data,
        account_type=found.data.get("account_type"),
        account_id=found.data.get("account_id"),
        token_id=found.jti,
        expires_at=found.exp,
    )


class _Claims(msgspec.Struct):
    exp: float
    data: dict[str, Any]
    iat: float = 0.0
    aud: str | None = None
    jti: str | None = None


def with_token(url: str, token: str) -> str:
    """Return a URL with a token in its query, whatever else is there.

    Args:
        url: The app's entry_url.
        token: Replaces one that is there.
    """
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    fields = [(name, value) for name, value in pairs if name != PARAMETER]
    return urlunsplit(parts._replace(query=urlencode([*fields, (PARAMETER, token)])))


def _padded(key: bytes) -> bytes:
    """Fill up a short key; HMAC does the same (RFC 2104), but PyJWT warns of short ones."""
    return key.ljust(32, b"\0")


def _jwt() -> Any:
    try:
        import jwt
    except ImportError as error:
        raise MissingExtraError("entry tokens", "webhooks") from error
    return jwt
