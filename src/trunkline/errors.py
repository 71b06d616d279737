"""Every exception Trunkline raises, in one tree, so that callers can catch by kind of failure.

TrunklineError
├── UsageError                 the caller's fault; ``status`` is the 4xx it deserves
│   ├── GrammarError           a channel name, pattern, site, position or id outside the grammar
│   ├── InvalidMessageError    a message that may not be published as given
│   │   ├── InvalidTargetError     an empty audience list, or users or groups on a /global/ channel
│   │   ├── UnencodableDataError   data that strict JSON cannot carry
│   │   └── MessageTooLargeError   over the size limit
│   ├── ChannelKindError       a plain publish to a stream, or a stream that shall be trimmed
│   ├── ConfigError            a setting that is unknown or out of range
│   ├── MissingExtraError      an optional dependency is not installed
│   ├── AccessDeniedError      the identity may not do this
│   ├── LimitExceededError     one of the gateway's limits, by name
│   ├── SocketRequestError     a request on a socket that cannot be served; it names the request
│   └── LineClosedError        publish, read or subscribe after close
├── ConflictError              the state moved on; look again and decide again
│   ├── VersionConflictError   an expected version does not hold
│   ├── KeyReusedError         an idempotency key returns with other content
│   └── LeaseLostError         another process does now what only one may do
├── LogError                   the engine could not do it; nothing was stored
│   ├── LogUnavailableError    locked, unreachable, out of space: try again later
│   │   └── OutcomeUnknownError    it went away in the middle: whether it is stored is not known
│   ├── LogCorruptError        the stored data cannot be trusted
│   └── SchemaTooNewError      the store was written by a newer release
├── ServerUnavailableError     a client gave up on its server; asking again later is safe
├── GapError                   a reader's position is older than what is kept, or of another epoch
└── ProtocolError              a peer sent what the protocol does not allow
"""

from __future__ import annotations


class TrunklineError(Exception):
    """Be the root of all exceptions raised by Trunkline."""

    status = 500
    code = "internal"


class UsageError(TrunklineError):
    """Report a mistake of the caller, who should change the call."""

    status = 400
    code = "bad-request"


class GrammarError(UsageError, ValueError):
    """Report a name, pattern, position or id outside the grammar."""

    code = "grammar"


class InvalidMessageError(UsageError, ValueError):
    """Report a message that may not be published as given."""

    status = 422
    code = "invalid-message"


class InvalidTargetError(InvalidMessageError):
    """Report an audience that is empty, or not allowed on this channel."""

    code = "invalid-target"


class UnencodableDataError(InvalidMessageError):
    """Report data that strict JSON cannot carry: NaN, lone surrogates, foreign types."""

    code = "unencodable-data"


class MessageTooLargeError(InvalidMessageError):
    """Report a message over the size limit.

    Attributes:
        size: Size of the message, bytes.
        limit: What is allowed, bytes.
    """

    status = 413
    code = "message-too-large"

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"the message has {size} bytes and at most {limit} are allowed: "
            "store the bulk elsewhere and publish a reference to it"
        )
        self.size = size
        self.limit = limit


class ChannelKindError(UsageError):
    """Report an operation that a channel's kind (plain or stream) does not allow."""

    status = 409
    code = "channel-kind"


class ConfigError(UsageError, ValueError):
    """Report a setting that is unknown, of the wrong type or out of range."""

    code = "config"


class MissingExtraError(UsageError, ImportError):
    """Report that an optional dependency is needed; the message has the installing command."""

    code = "missing-extra"

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional dependency: pip install 'trunkline[{extra}]'")
        self.extra = extra


class AccessDeniedError(UsageError):
    """Report that an identity may not do what it asked for."""

    status = 403
    code = "access-denied"


class LimitExceededError(UsageError):
    """Report that a limit was met.

    Attributes:
        limit: The setting's name.
        allowed: Its value.
    """

    status = 429
    code = "limit-exceeded"

    def __init__(
        self, limit: str, allowed: float, *, status: int = 429, retry_after: float | None = None
    ) -> None:
        super().__init__(f"the limit {limit}={allowed:g} is exceeded")
        self.limit = limit
        self.allowed = allowed
        self.status = status
        self.retry_after = retry_after


class SocketRequestError(UsageError):
    """Report a request on a socket that cannot be served; status and code are the cause's.

    Attributes:
        request_id: The id the client gave its request, or None when it could not be read.
    """

    def __init__(self, cause: UsageError, request_id: str | int | None) -> None:
        super().__init__(str(cause))
        self.status = cause.status
        self.code = cause.code
        self.request_id = request_id


class LineClosedError(UsageError):
    """Report a call on a line, log or client that was closed."""

    status = 503
    code = "closed"


class ConflictError(TrunklineError):
    """Report that the state moved on since the caller looked."""

    status = 409
    code = "conflict"


class VersionConflictError(ConflictError):
    """Report that an append's expected version does not hold.

    Attributes:
        channel: The channel's name.
        expected: The version the caller expected.
        actual: The channel's last id.
    """

    code = "version-conflict"

    def __init__(self, channel: str, expected: int, actual: int) -> None:
        super().__init__(
            f"{channel} is at version {actual}, not at {expected}: "
            "load it again and decide on its new state"
        )
        self.channel = channel
        self.expected = expected
        self.actual = actual


class KeyReusedError(ConflictError):
    """Report that an idempotency key came back with other content.

    Attributes:
        channel: The channel's name.
        key: The key.
    """

    code = "key-reused"

    def __init__(self, channel: str, key: str) -> None:
        super().__init__(
            f"the key {key!r} was used on {channel} with other content: "
            "use a new key for a new message"
        )
        self.channel = channel
        self.key = key


class LeaseLostError(ConflictError):
    """Report that another process took over what only one may do; nothing was stored."""

    code = "lease-lost"


class LogError(TrunklineError):
    """Report that the engine could not do it; unless it says otherwise, nothing was stored."""

    status = 503
    code = "log"


class LogUnavailableError(LogError):
    """Report an engine that is locked, unreachable or out of space; trying later may help."""

    code = "log-unavailable"


class OutcomeUnknownError(LogUnavailableError):
    """Report an engine that went away in the middle and did not come back in time.

    It alone of all log errors leaves open whether the call was stored. A publish made again under
    the same key is stored once; so is what a transaction appends, if it is made again with its
    expected version.
    """

    code = "outcome-unknown"


class LogCorruptError(LogError):
    """Report stored data that cannot be trusted."""

    status = 500
    code = "log-corrupt"


class SchemaTooNewError(LogError):
    """Report a store written by a newer release; the message names both versions."""

    status = 500
    code = "schema-too-new"


class ServerUnavailableError(TrunklineError):
    """Report that a client could not reach its server in time, or got no usable answer.

    Whether the last attempt took effect is unknown. A publish that is made again under the same
    key is safe.

    Attributes:
        key: The idempotency key of the publish that was given up, or None.
    """

    status = 503
    code = "server-unavailable"

    def __init__(self, message: str, *, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key


class GapError(TrunklineError):
    """Report that messages between a reader's position and what is kept are gone.

    Attributes:
        reason: ``trimmed`` or ``reset``.
        after: The position the reader asked from.
        floor: The newest lost message's id.
    """

    status = 410
    code = "gap"

    def __init__(self, reason: str, *, after: int, floor: int) -> None:
        super().__init__(
            f"messages between {after} and {floor} are gone ({reason}): reload your state, "
            "then read on"
        )
        self.reason = reason
        self.after = after
        self.floor = floor


class ProtocolError(TrunklineError):
    """Report that a peer sent what the protocol does not allow.

    Attributes:
        close_code: The WebSocket close code it deserves, where there is a socket.
    """

    status = 400
    code = "protocol"

    def __init__(self, message: str, *, close_code: int = 1002) -> None:
        super().__init__(message)
        self.close_code = close_code
