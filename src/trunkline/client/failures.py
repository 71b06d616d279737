"""What can go wrong with a server, sorted by the one question that matters: does waiting help?"""

from __future__ import annotations

from trunkline.errors import (
    AccessDeniedError,
    ChannelKindError,
    ConflictError,
    GrammarError,
    InvalidMessageError,
    InvalidTargetError,
    ProtocolError,
    TrunklineError,
    UnencodableDataError,
    UsageError,
)
from trunkline.wire.http import parse_retry_after, reason_phrase
from trunkline.wire.problem import parse_problem

# 408 Request Timeout, 425 Too Early and 429 Too Many Requests ask to come back.
_PASSING = frozenset({408, 425, 429})
_PASSING_CODES = frozenset({"internal", "log", "log-unavailable", "closed", "limit-exceeded"})
_LASTING_LIMITS = ("max_channels", "max_subscriptions", "max_watches")
_BY_CODE: dict[str, type[TrunklineError]] = {
    one.code: one
    for one in (
        AccessDeniedError,
        ChannelKindError,
        GrammarError,
        InvalidMessageError,
        InvalidTargetError,
        UnencodableDataError,
    )
}


class Interruption(Exception):  # noqa: N818 - it is no error of the caller and never leaves the room
    """Say that a connection or a request failed in a way that another attempt may cure.

    Attributes:
        wait: Seconds that the server asked to wait, or None.
    """

    def __init__(self, message: str, *, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class Misdirection(Interruption):
    """Say that what answered is not the server meant: a wrong address, or a proxy's own page.

    Whether it passes is decided by whether the server was ever reached.
    """

    def error(self) -> ProtocolError:
        """Return the error for the caller."""
        return ProtocolError(str(self))


def failure_of_status(
    status: int, *, body: bytes, retry_after: str | None, location: str | None, now: float
) -> Exception:
    """Turn a response that is no success into what to raise.

    Args:
        status: The HTTP status.
        body: The beginning of the body.
        retry_after: The Retry-After header.
        location: The Location header.
        now: Unix seconds.

    Returns:
        An :class:`Interruption` when another attempt may help, else the caller's error.
    """
    found = parse_problem(body)
    told = found.detail if found else ""
    text = f"the server answered {status} {reason_phrase(status)}".rstrip()
    text = f"{text}: {told}" if told else text
    if status >= 500 or status in _PASSING:
        return Interruption(text, wait=parse_retry_after(retry_after, now=now))
    if status == 404 and not told:
        return Misdirection(f"{text}: is the base URL right?")
    if 300 <= status < 400:
        where = f" to {location[:200]!r}" if location else ""
        text = f"{text}{where}: redirects are not followed; use the right base URL, or sign in"
        return _with(UsageError(text), status, "redirected")
    if status in {401, 403}:
        return _with(AccessDeniedError(text), status, found.code if found else None)
    return failure_of_code(found.code if found else "bad-request", text, status=status)


def failure_of_code(code: str, text: str, *, status: int | None = None) -> Exception:
    """Turn a refusal's code into what to raise.

    Args:
        code: As in problem documents and the socket's error frames.
        text: What the server said.
        status: The HTTP status, if there was one.

    Returns:
        As :func:`failure_of_status`.
    """
    # Too many channels stay too many; any other limit passes.
    is_lasting = any(limit in text for limit in _LASTING_LIMITS)
    if status is None and code in _PASSING_CODES and not is_lasting:
        return Interruption(text)
    if known := _BY_CODE.get(code):
        return _with(known(text), status, code)
    if status == 409:
        return _with(ConflictError(text), status, code)
    return _with(UsageError(text), status, code)


def _with(error: TrunklineError, status: int | None, code: str | None) -> TrunklineError:
    error.status = error.status if status is None else status
    error.code = code or error.code
    return error
