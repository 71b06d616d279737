"""HTTP's small change: header fields that cannot be injected, response heads, Retry-After."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from trunkline.errors import GrammarError

Headers = list[tuple[str, str]]

MAX_RETRY_AFTER = 86_400.0

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_FORBIDDEN_IN_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def check_header(name: str, value: str) -> tuple[str, str]:
    """Check a header field and return it, its name in lower case.

    Args:
        name: The field's name, a token of RFC 9110 section 5.6.2.
        value: Its value; surrounding blanks are dropped.

    Returns:
        The name and the value.

    Raises:
        GrammarError: The name is no token, or the value holds CR, LF, another control character
            or something outside Latin-1: it could forge a header or end the head.
    """
    if not _TOKEN.match(name):
        raise GrammarError(f"{name[:60]!r} is no name of an HTTP header")
    if _FORBIDDEN_IN_VALUE.search(value):
        raise GrammarError(f"the HTTP header {name} has a control character in its value")
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        raise GrammarError(f"the HTTP header {name} has a value outside Latin-1") from None
    return name.lower(), value.strip(" \t")


def merge_headers(base: Iterable[tuple[str, str]], extra: Iterable[tuple[str, str]]) -> Headers:
    """Put extra headers after some base ones, so that no name stands twice.

    Args:
        base: Checked headers.
        extra: What an application adds; a name that is there already replaces its value in place,
            and of several with one name the last counts.

    Returns:
        The headers in order.

    Raises:
        GrammarError: An extra header is malformed.
    """
    merged = dict(base)
    merged.update(check_header(name, value) for name, value in extra)
    return list(merged.items())


def encode_head(status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    """Write the head of an HTTP/1.1 response, for connections whose transport we hold.

    Args:
        status: The status code.
        headers: Header fields; they are checked again, for nothing after us does.

    Returns:
        Status line, fields and the blank line.

    Raises:
        GrammarError: A header is malformed.
    """
    lines = [f"HTTP/1.1 {status} {reason_phrase(status)}"]
    lines += [": ".join(check_header(name, value)) for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def asgi_headers(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Return headers as ASGI's ``http.response.start`` wants them."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def reason_phrase(status: int) -> str:
    """Return the standard phrase for a status code, or an empty one."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def format_retry_after(seconds: float) -> str:
    """Write a delay for Retry-After: whole seconds, rounded up, so that nobody is early."""
    return str(math.ceil(min(max(seconds, 0.0), MAX_RETRY_AFTER)))


def parse_retry_after(value: str | None, *, now: float) -> float | None:
    """Read a Retry-After header (RFC 9110 section 10.2.3).

    Args:
        value: The header's value, or None when there was none.
        now: The present, Unix seconds, which a date is compared with.

    Returns:
        Seconds to wait, between 0 and a day; None when there is no usable value.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:20]), MAX_RETRY_AFTER)
    try:
        date = parsedate_to_datetime(text)
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        return min(max(date.timestamp() - now, 0.0), MAX_RETRY_AFTER)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
