"""The egress guard: what may be called at all, checked on the socket that is connected.

A name may lead anywhere, and elsewhere a moment later. So the URL is checked when a request
begins; every address that its name has, when it is looked up; the address of each socket, before
it is connected; and the other end's, before a byte is sent. Nothing is connected to find out.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, TypeVar

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from trunkline.errors import UsageError
from trunkline.webhooks.addresses import Network, is_public, is_within, read_address, read_networks

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.connector import AddrInfoType, Connection
    from aiohttp.tracing import Trace

#: Characters of a URL at most.
LONGEST_URL: Final = 2048
_HOST: Final = re.compile(r"[0-9A-Za-z._-]{1,253}|[0-9A-Fa-f:.]{2,45}", re.ASCII)
#: URLs and addresses whose passing is remembered.
REMEMBERED: Final = 10_000
#: A last label that is a number is an address in one of the many spellings of one.
_NUMERIC: Final = re.compile(r"(?:^|\.)(?:0[xX][0-9a-fA-F]*|[0-9]+)\.?$")


class BlockedError(UsageError):
    """Report a URL or an address that may not be called; nothing was connected."""

    status = 422
    code = "blocked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Egress:
    """Say what may be called.

    Args:
        http: Whether ``http:`` is allowed beside ``https:``.
        networks: Networks that are allowed although they are not public, for development and
            for one's own services, such as ``127.0.0.0/8``.
        ports: The only ports that are allowed; None for all but those of other protocols.
        own: This application's own hosts, which are never called, so that nothing it sends can
            come back to it for ever.
    """

    http: bool = False
    networks: tuple[str, ...] = ()
    ports: frozenset[int] | None = None
    own: tuple[str, ...] = ()
    _allowed: tuple[Network, ...] = field(init=False, repr=False, default=())
    #: What was found lately, for the same addresses and URLs come again and again.
    _passed: dict[str, None] = field(init=False, repr=False, compare=False, default_factory=dict)
    _read: dict[str, URL] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_allowed", read_networks(self.networks))

    def check_url(self, url: str) -> URL:
        """Check what can be known of a URL before its name is looked up.

        Raises:
            BlockedError: It may not be called; the message says why and what would do.
        """
        if (known := self._read.get(url)) is not None:
            return known
        parsed = self._check_url(url)
        _remember(self._read, url, parsed)
        return parsed

    def _check_url(self, url: str) -> URL:
        if len(url) > LONGEST_URL or not url.isprintable():
            raise BlockedError(f"a URL has at most {LONGEST_URL} characters, all printable")
        try:
            parsed = URL(url)
            port = parsed.port
        except ValueError:
            raise BlockedError("the URL can't be read: write https://host/path") from None
        self.check(parsed)
        if parsed.fragment:
            raise BlockedError("a URL that is called has no #fragment")
        if port in FOREIGN_PORTS and self.ports is None:
            raise BlockedError(f"port {port} is another protocol's: use 443 or one from 1024 on")
        return parsed

    def check(self, url: URL) -> None:
        """Check a URL that is about to be called; as :meth:`check_url`, for one that was read."""
        if url.scheme != "https" and not (url.scheme == "http" and self.http):
            raise BlockedError("only https: URLs are called, unless http is allowed")
        if url.user is not None or url.password is not None:
            raise BlockedError("a URL with a user or a password in it is not called")
        host = url.raw_host or ""
        if not _HOST.fullmatch(host):
            raise BlockedError("the URL has no host that can be: write https://host/path")
        if self.ports is not None and url.port not in self.ports:
            raise BlockedError(f"port {url.port} is not among those that are allowed")
        if host.lower().rstrip(".") in self.own:
            raise BlockedError("the URL leads back to this application: a loop would never end")
        self._check_host(host)

    def _check_host(self, host: str) -> None:
        try:
            address = read_address(host.strip("[]"))
        except ValueError:
            if _NUMERIC.search(host):
                raise BlockedError("write an address in full: 192.0.2.1, or a name") from None
            return
        self.check_address(str(address))

    def check_address(self, text: str) -> None:
        """Check an address that a socket is about to be connected to, or is.

        Raises:
            BlockedError: It may not be called.
        """
        if text in self._passed:
            return
        try:
            address = read_address(text)
        except ValueError:
            raise BlockedError("the address can't be read") from None
        if not is_public(address) and not is_within(address, self._allowed):
            raise BlockedError("the URL leads to an address that is not public")
        _remember(self._passed, text, None)

    def make_socket(self, info: AddrInfoType) -> socket.socket:
        """Make the socket for an address that may be called.

        Raises:
            BlockedError: It may not.
        """
        trace = current_trace.get()
        try:
            self.check_address(str(info[4][0]))
        except BlockedError as error:
            if trace is not None:
                trace.blocked = error
            raise
        if trace is not None:
            trace.connecting_at = perf_counter()
        made = socket.socket(*info[:3])
        made.setblocking(False)
        return made


K = TypeVar("K")
V = TypeVar("V")


def _remember(known: dict[K, V], key: K, value: V) -> None:
    if len(known) >= REMEMBERED:
        known.clear()
    known[key] = value


#: Ports of well-known protocols whose servers may take a line of a request for a command.
FOREIGN_PORTS: Final = frozenset(
    (*range(1, 80), *range(81, 443), *range(444, 1024), 6000, 6379, 11211)
)


class CallTrace:
    """Note how one call went, while the connection is made for it."""

    __slots__ = ("blocked", "connected_at", "connecting_at", "is_second", "names")

    def __init__(self) -> None:
        self.blocked: BlockedError | None = None
        self.names = 0.0
        self.connecting_at = 0.0
        self.connected_at = 0.0
        self.is_second = False


current_trace: ContextVar[CallTrace | None] = ContextVar("trunkline_call", default=None)


class GuardedResolver(AbstractResolver):
    """Look names up, and refuse one of whose addresses any may not be called.

    Args:
        egress: What may be called.
        resolver: Does the looking up; the system's by default.
    """

    def __init__(self, egress: Egress, resolver: AbstractResolver | None = None) -> None:
        self._egress = egress
        self._resolver = resolver or aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return a name's addresses, all checked.

        Raises:
            OSError: There is no such name.
            BlockedError: One of them may not be called.
        """
        began, trace = perf_counter(), current_trace.get()
        found = await self._resolver.resolve(host, port, family)
        if trace is not None:
            trace.names = perf_counter() - began
        try:
            for one in found:
                self._egress.check_address(one["host"])
        except BlockedError as error:
            if trace is not None:
                trace.blocked = error
            raise
        return found

    async def close(self) -> None:
        """Let the resolver go."""
        await self._resolver.close()


class GuardedConnector(aiohttp.TCPConnector):
    """Connect sockets to what may be called, and to nothing else.

    A session that is to be given to a line is made with it: ``aiohttp.ClientSession(connector=
    GuardedConnector(Egress()))``. Redirects that such a session follows are checked as well.

    Args:
        egress: What may be called.
        resolver: Looks names up; the system's by default.
        **options: For aiohttp's ``TCPConnector``.
    """

    def __init__(
        self, egress: Egress, *, resolver: AbstractResolver | None = None, **options: Any
    ) -> None:
        self.egress = egress
        self._checked: dict[URL, None] = {}
        context = options.pop("ssl", None)
        if not isinstance(context, ssl.SSLContext):
            context = ssl.create_default_context()
        context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
        options.setdefault("limit", 0)
        options.setdefault("ttl_dns_cache", 10)
        super().__init__(
            resolver=GuardedResolver(egress, resolver),
            socket_factory=egress.make_socket,
            ssl=context,
            **options,
        )

    async def connect(
        self, req: ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        """Give a connection for a request, unless the request may not be made.

        Raises:
            BlockedError: It may not.
        """
        if req.proxy:
            raise BlockedError("a proxy would look the name up itself: it is not used")
        if req.url not in self._checked:
            self.egress.check(req.url)
            _remember(self._checked, req.url, None)
        connection = await super().connect(req, traces, timeout)
        transport = connection.transport
        peer = None if transport is None else transport.get_extra_info("peername")
        try:
            self.egress.check_address(str(peer[0]) if peer else "")
        except BlockedError:
            connection.close()
            raise
        trace = current_trace.get()
        if trace is not None:
            trace.connected_at = perf_counter()
        return connection


def check_session(session: aiohttp.ClientSession) -> aiohttp.ClientSession:
    """Return a session that somebody made, if it can't go around the guard.

    Raises:
        BlockedError: Its connector is not a :class:`GuardedConnector`.
    """
    if not isinstance(session.connector, GuardedConnector):
        raise BlockedError(
            "this session would go around the egress guard: make it with connector="
            "GuardedConnector(Egress())"
        )
    return session


def forbidden_headers(names: Sequence[str]) -> list[str]:
    """Return those headers that only the sender itself may set."""
    return [name for name in names if _is_ours(name.lower())]


_OURS: Final = frozenset(
    {
        "host",
        "connection",
        "keep-alive",
        "expect",
        "upgrade",
        "te",
        "trailer",
        "transfer-encoding",
        "content-length",
        "content-encoding",
        "accept-encoding",
        "proxy-authorization",
        "proxy-connection",
    }
)


def _is_ours(name: str) -> bool:
    return name in _OURS
