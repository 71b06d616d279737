"""The URL of a Redis line: which server, which layout, and the driver's options."""

from __future__ import annotations

import difflib
import inspect
import re
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
from redis.asyncio import ConnectionPool, Redis

from trunkline.errors import ConfigError
from trunkline.runtime.masking import masked_url

SCHEMES: Final = ("redis", "rediss", "redis+sentinel")
NATIVE, MESSAGE_BUS = "native", "message_bus"
SENTINEL_PORT: Final = 26379


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """Hold our own options.

    Args:
        layout: ``native``, or ``message_bus`` to share the line with Ruby.
        prefix: What every key begins with; native layout only.
        queue_limit: Messages that may wait while the server takes none, at least 1.
        queue_timeout: Seconds that a publish may wait for the server, more than 0.
        poll_interval: Seconds between looks for news that no notification told, more than 0.
        max_global_backlog_size: message_bus's own setting: pointers in its global backlog.
    """

    layout: str = NATIVE
    prefix: str = "trunkline:"
    queue_limit: int = 10_000
    queue_timeout: float = 15.0
    poll_interval: float = 1.0
    max_global_backlog_size: int = 2000


class Location(msgspec.Struct, frozen=True, kw_only=True):
    """Say where a line is and how to talk to its server.

    Args:
        shown: The URL without secrets, for messages.
        tuning: Our own options.
        driver: Keyword arguments of the driver's client.
        sentinels: Hosts and ports of the Sentinels; none without Sentinel.
        service: The name that the Sentinels know the master by.
        sentinel_driver: Keyword arguments for talking to the Sentinels.
        client: The application's own client, which is never closed, or None.
        firehose: The ``db`` option, which names message_bus's pub/sub channel.
    """

    shown: str
    tuning: Tuning
    driver: Mapping[str, Any] = msgspec.field(default_factory=dict)
    sentinels: tuple[tuple[str, int], ...] = ()
    service: str = ""
    sentinel_driver: Mapping[str, Any] = msgspec.field(default_factory=dict)
    client: Any = None
    firehose: int = 0


_OURS: Final = Tuning.__struct_fields__
_PARAMETERS: Final = {
    name: parameter
    for name, parameter in inspect.signature(Redis.__init__).parameters.items()
    if name not in {"self", "ssl", "decode_responses", "retry_on_timeout", "retry_on_error"}
}
_SENTINEL: Final = "sentinel_"
_KNOWN: Final = (*_OURS, *_PARAMETERS, "client", "sentinel_username", "sentinel_password")


def parse_location(url: str, options: Mapping[str, Any]) -> Location:
    """Parse a Redis URL.

    ``redis://user:password@host:6379/0``, ``rediss://…`` for TLS, or
    ``redis+sentinel://user:password@host1:26379,host2/service/0``; options in the query.

    Args:
        url: The URL.
        options: More options, which win over the query's; ``client`` is a ready one.

    Raises:
        ConfigError: The URL makes no sense, or an option is unknown or out of range.
    """
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ConfigError(f"{masked_url(url)!r} is no Redis line: write redis://host:6379/0")
    given: dict[str, Any] = dict(parse_qsl(parts.query, keep_blank_values=True))
    given = {name: _typed(name, value) for name, value in given.items()} | dict(options)
    _refuse_unknown(given)
    try:
        tuning = msgspec.convert(
            {name: given[name] for name in _OURS if name in given}, Tuning, strict=False
        )
    except msgspec.ValidationError as error:
        raise ConfigError(f"an option of {masked_url(url)!r} is wrong: {error}") from error
    _check(tuning, given)
    address = _address(parts.scheme, parts.netloc, parts.path)
    driver = {name: given[name] for name in _PARAMETERS if name in given}
    return Location(
        shown=masked_url(url),
        tuning=tuning,
        driver={**address.driver, **driver},
        sentinels=address.sentinels,
        service=address.service,
        sentinel_driver={
            name.removeprefix(_SENTINEL): value
            for name, value in given.items()
            if name.startswith(_SENTINEL)
        },
        client=_checked_client(given),
        firehose=_number("db", given.get("db", 0)),
    )


def _refuse_unknown(given: Mapping[str, Any]) -> None:
    for name in given:
        if name in _KNOWN:
            continue
        near = difflib.get_close_matches(name, _KNOWN, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"ours are {', '.join(_OURS)}"
        raise ConfigError(f"a Redis line has no option {name!r}: {hint}")


def _check(tuning: Tuning, given: Mapping[str, Any]) -> None:
    if tuning.layout not in {NATIVE, MESSAGE_BUS}:
        raise ConfigError(f"layout={tuning.layout!r} is none: there are {NATIVE}, {MESSAGE_BUS}")
    if tuning.layout == MESSAGE_BUS and "prefix" in given:
        raise ConfigError(
            "layout=message_bus takes no prefix: Ruby's message_bus has fixed names for its keys"
        )
    if tuning.layout == NATIVE and "max_global_backlog_size" in given:
        raise ConfigError(
            "max_global_backlog_size belongs to layout=message_bus: set max_line_size instead"
        )
    if not re.fullmatch(r"[^\x00-\x20{}]{1,100}", tuning.prefix):
        raise ConfigError(f"prefix={tuning.prefix!r} must be 1 to 100 characters without spaces")
    for name in ("queue_limit", "queue_timeout", "poll_interval", "max_global_backlog_size"):
        if not 0 < (value := getattr(tuning, name)) < 1e9:
            raise ConfigError(f"{name}={value} must be more than 0")


class _Address(msgspec.Struct, frozen=True):
    driver: Mapping[str, Any]
    sentinels: tuple[tuple[str, int], ...] = ()
    service: str = ""


def _address(scheme: str, netloc: str, path: str) -> _Address:
    user, _, hosts = netloc.rpartition("@")
    driver: dict[str, Any] = {}
    name, _, password = user.partition(":")
    if name:
        driver["username"] = unquote(name)
    if password:
        driver["password"] = unquote(password)
    places = [piece for piece in path.split("/") if piece]
    if scheme != "redis+sentinel":
        host, port = _host(hosts or "localhost", 6379)
        driver |= {"host": host, "port": port, "db": _number("db", places[0] if places else 0)}
        if scheme == "rediss":
            driver["ssl"] = True
        if len(places) > 1 or "," in hosts:
            raise ConfigError(f"a Redis line is one server and database, not {hosts}{path}")
        return _Address(driver)
    if not hosts or not places or len(places) > 2:
        raise ConfigError("write redis+sentinel://host1:26379,host2:26379/service/0")
    driver["db"] = _number("db", places[1] if len(places) > 1 else 0)
    sentinels = tuple(_host(one, SENTINEL_PORT) for one in hosts.split(","))
    return _Address(driver, sentinels, unquote(places[0]))


def _host(text: str, port: int) -> tuple[str, int]:
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\],]+))(?::(\d{1,5}))?", text)
    if found is None:
        raise ConfigError(f"{text!r} is no host and port: write host:{port}")
    return unquote(found[1] or found[2]), int(found[3] or port)


def _number(name: str, value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ConfigError(f"{name}={value!r} is no number") from None


def _checked_client(given: Mapping[str, Any]) -> Any:
    client = given.get("client")
    pool = given.get("connection_pool") or getattr(client, "connection_pool", None)
    if client is not None and not isinstance(client, Redis):
        raise ConfigError(
            f"client must be a redis.asyncio.Redis, not {type(client).__name__}: "
            "Redis Cluster is not supported, and a synchronous client would block"
        )
    if pool is not None and not isinstance(pool, ConnectionPool):
        raise ConfigError(
            f"connection_pool must be a redis.asyncio.ConnectionPool, not {type(pool).__name__}"
        )
    if pool is not None and pool.connection_kwargs.get("decode_responses"):
        raise ConfigError("the given client decodes responses: make one without decode_responses")
    return client


def _typed(name: str, text: str) -> Any:
    """Read a driver's option from a URL's query as the type that the driver declares."""
    if name not in _PARAMETERS:
        return text
    declared = str(_PARAMETERS[name].annotation)
    for word, read in _READERS.items():
        if word in declared:
            try:
                return read(text)
            except (KeyError, ValueError):
                raise ConfigError(
                    f"{name}={text!r} is wrong: the driver wants {declared}"
                ) from None
    return text


def _truth(text: str) -> bool:
    return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[
        text.lower()
    ]


#: By a word in the declaration; the first that occurs decides.
_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "VerifyFlags": lambda text: [ssl.VerifyFlags[one] for one in text.split(",")],
    "TLSVersion": lambda text: ssl.TLSVersion[text],
    "VerifyMode": str,
    "bool": _truth,
    "float": float,
    "int": int,
}
