"""Problem documents: every refusal says what is wrong and what to do next (RFC 9457)."""

from __future__ import annotations

import msgspec

from trunkline.errors import (
    ConflictError,
    GapError,
    LimitExceededError,
    LogUnavailableError,
    OutcomeUnknownError,
    ProtocolError,
    UsageError,
)
from trunkline.wire.http import Headers, format_retry_after

CONTENT_TYPE = "application/problem+json"
URN_PREFIX = "urn:trunkline:problem:"
TRACE_PREFIX = "urn:trunkline:trace:"
DEFAULT_RETRY_AFTER = 1.0

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Problem]

# What a client may read: these say what the caller did; others may tell of our insides.
_SPEAKING = (UsageError, ConflictError, GapError, ProtocolError)


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Be a refusal as clients see it.

    Args:
        type: ``urn:trunkline:problem:<code>``.
        title: The kind of problem, in words.
        status: The HTTP status.
        detail: What happened here, and what to do next.
        instance: Names this occurrence, where it has a name.
        limit: The setting that was met, for limit errors.
        allowed: Its value.
        retry_after: Seconds to wait; sent as a header only.
    """

    type: str
    title: str
    status: int
    detail: str = ""
    instance: str | None = None
    limit: str | None = None
    allowed: float | None = None
    retry_after: float | None = None

    @property
    def code(self) -> str:
        """Return the code within the type."""
        return self.type.removeprefix(URN_PREFIX)

    def encode(self) -> bytes:
        """Write the document's body."""
        return _encoder.encode(msgspec.structs.replace(self, retry_after=None))

    def headers(self) -> Headers:
        """Return the headers that go with it: type, no caching, Retry-After when it applies."""
        headers = [("content-type", CONTENT_TYPE), ("cache-control", "no-store")]
        if self.retry_after is not None:
            headers.append(("retry-after", format_retry_after(self.retry_after)))
        return headers


_decoder = msgspec.json.Decoder(Problem)


def problem(
    status: int, code: str, detail: str, *, title: str | None = None, instance: str | None = None
) -> Problem:
    """Make a problem document.

    Args:
        status: The HTTP status.
        code: The kind, in lower case with hyphens.
        detail: What happened and what to do next.
        title: The kind in words; made from the code when left out.
        instance: Names this occurrence.

    Returns:
        The document.
    """
    words = title or code.replace("-", " ").capitalize()
    return Problem(URN_PREFIX + code, words, status, detail, instance)


def problem_of(error: Exception, *, instance: str | None = None) -> Problem:
    """Make the problem document that an exception deserves.

    Args:
        error: What was raised. A caller's mistake keeps its words; of anything else only the kind
            is told, for its words may name files or data.
        instance: Names this occurrence.

    Returns:
        The document; ``500 internal`` for exceptions that are not ours.
    """
    status = getattr(error, "status", 500)
    code = getattr(error, "code", "internal")
    if not isinstance(status, int) or not isinstance(code, str):
        status, code = 500, "internal"
    if isinstance(error, _SPEAKING):
        detail = str(error)
    elif isinstance(error, OutcomeUnknownError):
        detail = "the log went away: it may be stored or not; try again, with the same key"
    elif isinstance(error, LogUnavailableError):
        detail = "the log cannot be reached now and nothing was stored: try again later"
    else:
        detail = "the server failed to answer this request: its log says why"
    trace = getattr(error, "trace_id", "")
    if instance is None and trace:
        instance = f"{TRACE_PREFIX}{trace}"
    made = problem(status, code, detail, instance=instance)
    return _with_limits(made, error)


def _with_limits(made: Problem, error: Exception) -> Problem:
    if isinstance(error, LimitExceededError):
        wait = error.retry_after
        if wait is None and error.status in {429, 503}:
            wait = DEFAULT_RETRY_AFTER
        return msgspec.structs.replace(
            made, limit=error.limit, allowed=error.allowed, retry_after=wait
        )
    if isinstance(error, LogUnavailableError):
        return msgspec.structs.replace(made, retry_after=DEFAULT_RETRY_AFTER)
    return made


def parse_problem(body: bytes) -> Problem | None:
    """Read a problem document, for clients.

    Args:
        body: A response's body.

    Returns:
        The document, or None when the body is none.
    """
    try:
        return _decoder.decode(body)
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return None
