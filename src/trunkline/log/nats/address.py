"""The URL of a line on NATS: its servers, how its streams are made, and the driver's options."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Mapping
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, urlsplit

import msgspec
from nats.aio.client import Client

from trunkline.errors import ConfigError

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SERVER: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+)(:\d{1,5})?")
_DRIVERS: Final = {
    name: one.default
    for name, one in inspect.signature(Client.connect).parameters.items()
    if name not in {"self", "servers"}
}
#: Whoever loses its server shall find one again, soon and for ever.
_OUR_DEFAULTS: Final[Mapping[str, Any]] = {
    "max_reconnect_attempts": -1,
    "reconnect_time_wait": 0.05,
    "connect_timeout": 2,
    # A server that hangs is left after three of these, and its clients go to another.
    "ping_interval": 4,
    "name": "trunkline",
}


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Say where a line is, how its streams are made, and how to connect.

    Args:
        servers: Their URLs.
        line: The line's name; several may share the servers.
        replicas: Copies of each stream, 1 to 5; it holds when the streams are made. By default
            3 when three servers are named, else 1.
        storage: ``file``, or ``memory`` for a line that may forget.
        stream: What the streams' names begin with, ``trunkline_<line>`` by default.
        sync: ``always`` when the servers run with ``sync_interval: always``, so that appends are
            gathered into batches that are synced once.
        timeout: Seconds within which an append is decided or fails; at least 5.
        open_timeout: Seconds within which the servers must be reached at an opening.
        api_prefix: Where the JetStream API is, for accounts that import it under another name.
        driver: Arguments for the driver's ``connect``.
        client: A client that the application has connected already, or None.
    """

    servers: tuple[str, ...]
    line: str = "main"
    replicas: int = 0
    storage: Literal["file", "memory"] = "file"
    stream: str = ""
    sync: Literal["default", "always"] = "default"
    timeout: float = 30.0
    open_timeout: float = 10.0
    api_prefix: str = "$JS.API"
    driver: Mapping[str, Any] = {}
    client: Any = None

    @property
    def place(self) -> str:
        """Return the servers for a message, without what they are accessed with."""
        return ", ".join(server.rpartition("://")[2].rpartition("@")[2] for server in self.servers)

    @property
    def is_always_synced(self) -> bool:
        """Tell whether the servers sync every write."""
        return self.sync == "always"


_OWN: Final = tuple(name for name in Address.__struct_fields__ if name not in {"servers", "driver"})


def parse_address(url: str, options: Mapping[str, Any]) -> Address:
    """Parse ``nats://user:password@a:4222,b,c?line=main``, with options in the query.

    Args:
        url: The URL; ``tls://`` asks for an encrypted connection.
        options: More options, which win over the query's; ``client`` may be a connected client.

    Returns:
        Where the line is.

    Raises:
        ConfigError: The URL names no server, or an option is unknown or out of range.
    """
    parts = urlsplit(url)
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    if parts.scheme not in {"nats", "tls"} or parts.path.strip("/") or parts.fragment:
        raise ConfigError(f"{shown!r} is no NATS line: write nats://a:4222,b:4222 or tls://…")
    given = {**dict(parse_qsl(parts.query, keep_blank_values=True)), **options}
    own: dict[str, Any] = {"servers": _servers(parts.scheme, parts.netloc, shown)}
    driver = dict(_OUR_DEFAULTS)
    for name, value in given.items():
        if name in _OWN:
            own[name] = value
        elif name in _DRIVERS:
            driver[name] = _driver_value(name, value)
        else:
            raise ConfigError(_unknown(name))
    client = own.pop("client", None)
    if client is not None and not isinstance(client, Client):
        raise ConfigError(f"client must be a nats.aio.client.Client, not {type(client).__name__}")
    try:
        found = msgspec.convert(own, Address, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"an option of {shown!r} is wrong: {error}") from error
    return _checked(msgspec.structs.replace(found, driver=driver, client=client))


def _servers(scheme: str, netloc: str, shown: str) -> list[str]:
    access, at, hosts = netloc.rpartition("@")
    servers = []
    for host in hosts.split(","):
        found = _SERVER.fullmatch(host.strip())
        if found is None:
            raise ConfigError(f"{shown!r} names no server at {host!r}: write nats://a:4222,b:4222")
        servers.append(f"{scheme}://{access}{at}{found[1]}{found[2] or ':4222'}")
    return servers


def _checked(found: Address) -> Address:
    stream = found.stream or f"trunkline_{found.line}"
    for name, value in (("line", found.line), ("stream", stream)):
        if _NAME.fullmatch(value) is None:
            raise ConfigError(f"{name}={value!r} must be 1 to 64 of A-Z, a-z, 0-9, _ and -")
    replicas = found.replicas or (3 if len(found.servers) >= 3 else 1)
    if not 1 <= replicas <= 5:
        raise ConfigError(f"replicas={replicas} must be from 1 to 5; 1 and 3 are usual")
    if not 5 <= found.timeout < 1e6:
        raise ConfigError(f"timeout={found.timeout} must be at least 5 seconds")
    if not 0 < found.open_timeout < 1e6:
        raise ConfigError(f"open_timeout={found.open_timeout} must be more than 0 seconds")
    return msgspec.structs.replace(found, stream=stream, replicas=replicas)


def _driver_value(name: str, value: Any) -> Any:
    """Return an option for the driver; a text is made what the driver's default is."""
    default = _OUR_DEFAULTS.get(name, _DRIVERS[name])
    if not isinstance(value, str) or isinstance(default, str):
        return value
    wanted = type(default) if isinstance(default, (bool, int, float)) else str
    if wanted is int:
        wanted = float if "." in value else int
    try:
        return msgspec.convert(value, wanted, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"the driver's option {name}={value!r} is wrong: {error}") from error


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, [*_OWN, *_DRIVERS], n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(_OWN)}"
    return f"a NATS line and its driver have no option {name!r}: {hint}"
