"""The gateway's settings, which may change while it runs: each use reads the present value."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Final

from trunkline.errors import ConfigError, GrammarError
from trunkline.model.entity import MAX_PREFIX_BYTES
from trunkline.model.pattern import channel_pattern
from trunkline.wire.entity_sync import DEFAULT_PATH

_SLASHES = re.compile(r"/{2,}")
_PREFIX = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*\Z")
_ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://(\*\.)?[^\s/*?#@]+\Z")

_MIB: Final = 1024 * 1024

# Name: lowest and highest value that makes sense, both allowed.
_RANGES: Final[dict[str, tuple[float, float]]] = {
    "long_polling_interval": (0.001, 3600),
    "max_active_clients": (0, 10_000_000),
    "heartbeat_interval": (0.01, 3600),
    "max_hold": (0.01, 30 * 86400),
    "slow_timeout": (0.01, 3600),
    "body_timeout": (0.01, 3600),
    "retry_after": (0, 3600),
    "access_ttl": (0, 86400),
    "max_body_bytes": (1024, 1024 * _MIB),
    "max_header_bytes": (1024, 16 * _MIB),
    "max_query_bytes": (256, 16 * _MIB),
    "max_frame_bytes": (1024, 16 * _MIB),
    "max_channels": (1, 100_000),
    "max_subscriptions": (1, 1_000_000),
    "max_connections": (1, 10_000_000),
    "max_connections_per_client": (1, 10_000_000),
    "max_batch": (1, 100_000),
    "requests_per_second": (0.001, 1_000_000),
    "burst": (1, 10_000_000),
    "cors_max_age": (0, 86400),
    "max_watches": (1, 1_000_000),
    "presence_grace": (0, 3600),
    "presence_lease": (0.1, 3600),
}
_MAY_BE_NONE: Final = frozenset({"requests_per_second", "max_connections_per_client"})
_WHOLE: Final = frozenset(
    {
        "max_active_clients",
        "max_body_bytes",
        "max_header_bytes",
        "max_query_bytes",
        "max_frame_bytes",
        "max_channels",
        "max_subscriptions",
        "max_connections",
        "max_connections_per_client",
        "max_batch",
        "burst",
        "cors_max_age",
        "max_watches",
    }
)
_SWITCHES: Final = frozenset(
    {"long_polling_enabled", "chunked_encoding_enabled", "diagnostics", "entity_pass_unknown"}
)
_TEXTS: Final = frozenset({"allowed_origins", "publish_keys"})


@dataclass(slots=True, kw_only=True)
class GatewayOptions:
    """Hold the gateway's settings; assigning a bad value raises, and a good one holds at once.

    Args:
        base_path: Where the gateway's paths begin, such as ``/events``; empty for the root.
        long_polling_enabled: Whether polls may be held open.
        long_polling_interval: How long a poll is held, seconds.
        chunked_encoding_enabled: Whether held polls may stream.
        max_active_clients: Held polls in this process; beyond it polls are answered at once.
        heartbeat_interval: Silence after which a held connection is written to, seconds.
        max_hold: After about so many seconds a stream is told to come back, so that load evens
            out between processes.
        slow_timeout: Seconds after which a client that takes nothing is cut off.
        body_timeout: Seconds a client may take to send a request's body.
        retry_after: Seconds after which clients are told to come back, before jitter.
        access_ttl: Seconds for which an answer about one channel of a pattern stands.
        allowed_origins: Origins besides the gateway's own whose pages may use it; ``*`` for any
            (without cookies), ``https://*.example.com`` for any host below one.
        max_body_bytes: Size of a request's body.
        max_header_bytes: Size of a request's headers, all together.
        max_query_bytes: Size of a request's query string.
        max_frame_bytes: Size of a client's message on a WebSocket.
        max_channels: Channels in one request.
        max_subscriptions: Channels of one WebSocket.
        max_connections: Streams and WebSockets in this process.
        max_connections_per_client: The same for one user, or one address where there is no user.
        max_batch: Messages in one publish.
        requests_per_second: Requests of one user or address, on average; None for no limit.
        burst: How many of them may come at once.
        publish_keys: Bearer keys of the publish API; without one it is closed.
        diagnostics: Whether the diagnostics page answers (to admins).
        cors_max_age: Seconds a browser may remember a preflight's answer.
        max_watches: Entities that one client may watch.
        entity_prefix: Keeps the change notices of applications on one engine apart.
        entity_path: Where entity-sync's clients connect.
        entity_pass_unknown: Whether what is not understood is handed to the application's
            receiver too, and not only what is plainly its own.
        presence: Channels, by name or pattern, on which clients are seen; none by default.
        presence_grace: Seconds for which a client that polls is still seen after a poll.
        presence_lease: Seconds of silence after which a process counts as dead, and its clients
            as gone; the same in every process.
    """

    base_path: str = ""
    long_polling_enabled: bool = True
    long_polling_interval: float = 25.0
    chunked_encoding_enabled: bool = True
    max_active_clients: int = 1000
    heartbeat_interval: float = 15.0
    max_hold: float = 1800.0
    slow_timeout: float = 30.0
    body_timeout: float = 30.0
    retry_after: float = 2.0
    access_ttl: float = 60.0
    allowed_origins: tuple[str, ...] = ()
    max_body_bytes: int = _MIB + 64 * 1024
    max_header_bytes: int = 32 * 1024
    max_query_bytes: int = 16 * 1024
    max_frame_bytes: int = 64 * 1024
    max_channels: int = 100
    max_subscriptions: int = 500
    max_connections: int = 10_000
    max_connections_per_client: int | None = None
    max_batch: int = 1000
    requests_per_second: float | None = None
    burst: int = 50
    publish_keys: tuple[str, ...] = ()
    diagnostics: bool = False
    cors_max_age: int = 7200
    max_watches: int = 1000
    entity_prefix: str = "main"
    entity_path: str = DEFAULT_PATH
    entity_pass_unknown: bool = False
    presence: tuple[str, ...] = ()
    presence_grace: float = 8.0
    presence_lease: float = 13.0

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, _checked(name, value))

    def __repr__(self) -> str:
        shown = (
            f"{one.name}={'***' if one.name == 'publish_keys' else getattr(self, one.name)!r}"
            for one in fields(self)
        )
        return f"GatewayOptions({', '.join(shown)})"


def _checked(name: str, value: Any) -> Any:
    if name in _RANGES:
        return _checked_number(name, value)
    if name in _SWITCHES:
        if not isinstance(value, bool):
            raise ConfigError(f"{name}={value!r} must be true or false")
        return value
    if name in _TEXTS:
        return _checked_texts(name, value)
    check = _CHECKS.get(name)
    return value if check is None else check(value)


def _checked_number(name: str, value: Any) -> Any:
    if value is None and name in _MAY_BE_NONE:
        return None
    low, high = _RANGES[name]
    kinds = (int,) if name in _WHOLE else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or math.isnan(value):
        word = "a whole number" if name in _WHOLE else "a number"
        raise ConfigError(f"{name}={value!r} must be {word} between {low:g} and {high:g}")
    if not low <= value <= high:
        raise ConfigError(f"{name}={value!r} must be between {low:g} and {high:g}")
    return value if name in _WHOLE else float(value)


def _checked_texts(name: str, value: Any) -> tuple[str, ...]:
    texts = (value,) if isinstance(value, str) else tuple(value)
    if name == "publish_keys":
        # The keys themselves never stand in an error: it may end in a log.
        if not all(isinstance(one, str) and len(one) >= 8 and one.isascii() for one in texts):
            raise ConfigError("publish_keys: each key must be ASCII text of 8 or more characters")
        return texts
    cleaned = tuple(str(one).rstrip("/").lower() for one in texts)
    for one in cleaned:
        if not _ORIGIN.match(one):
            raise ConfigError(
                f"allowed_origins: {one!r} is no origin: write it like https://app.example.com, "
                "https://*.example.com, or * for any"
            )
    return cleaned


def _checked_base(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable() or set(value) & set("?#"):
        raise ConfigError(f"base_path={value!r} must be a path such as /events, or empty")
    return _SLASHES.sub("/", f"/{value}/").rstrip("/")


def _checked_prefix(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_PREFIX_BYTES or not _PREFIX.match(value):
        raise ConfigError(
            f"entity_prefix={value!r} must be of letters, digits and ._- (with / between), at most "
            f"{MAX_PREFIX_BYTES} of them"
        )
    return value


def _checked_path(value: Any) -> str:
    is_path = isinstance(value, str) and value.startswith("/") and len(value) > 1
    if not is_path or value == "/ws" or not value.isprintable() or set(value) & set("?#"):
        raise ConfigError(f"entity_path={value!r} must be a path such as {DEFAULT_PATH}")
    return str(value)


def _checked_presence(value: Any) -> tuple[str, ...]:
    texts = (value,) if isinstance(value, str) else tuple(value)
    try:
        for one in texts:
            channel_pattern(one)
    except (GrammarError, AttributeError, TypeError) as error:
        raise ConfigError(f"presence: {error}: name channels or patterns") from error
    return texts


_CHECKS: Final[dict[str, Callable[[Any], Any]]] = {
    "base_path": _checked_base,
    "entity_prefix": _checked_prefix,
    "entity_path": _checked_path,
    "presence": _checked_presence,
}
