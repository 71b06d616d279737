"""The server as a client reaches it: URLs, credentials, responses, and which failures may pass."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from trunkline.client.failures import Interruption, Misdirection, failure_of_status
from trunkline.client.settings import Settings
from trunkline.errors import ConfigError, LineClosedError, MissingExtraError, ProtocolError

if TYPE_CHECKING:
    import aiohttp

try:
    import aiohttp as _aiohttp
except ImportError:  # pragma: no cover - the tests have it; see test_endpoint.py
    _aiohttp = None  # type: ignore[assignment]

MAX_ERROR_BYTES = 64 * 1024
MAX_FRAME_BYTES = 16 * 1024 * 1024
CONNECT_TIMEOUT = 30.0


class Endpoint:
    """Reach one gateway.

    Redirects are not followed: a request carries credentials, and they belong to this server.

    Args:
        base_url: Where the gateway is mounted, such as ``https://example.org/base``.
        settings: The client's.

    Raises:
        ConfigError: The URL is no http or https URL.
        MissingExtraError: aiohttp is not installed.
    """

    def __init__(self, base_url: str, settings: Settings) -> None:
        if _aiohttp is None:
            raise MissingExtraError("the client", "client")
        parts = urlsplit(base_url)
        scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
        if scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ConfigError(f"{parts.scheme}://{parts.hostname} is no base URL: http(s)://host/…")
        self._base = f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self.origin = f"{scheme}://{parts.netloc.rpartition('@')[2]}"
        self._settings = settings
        self._session = settings.session
        self._is_open = False

    def open(self) -> None:
        """Make the session, unless one was given; needs a running loop. Idempotent."""
        self._is_open = True
        if self._session is None:
            # Every event stream holds a connection, so the pool must not be the limit.
            connector = _aiohttp.TCPConnector(limit=0)
            self._session = _aiohttp.ClientSession(connector=connector)

    async def close(self) -> None:
        """Close the session, unless it was given."""
        self._is_open = False
        session, self._session = self._session, self._settings.session
        if session is not None and session is not self._session:
            await session.close()

    @asynccontextmanager
    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Make a request and hold its successful response.

        Args:
            method: The HTTP method.
            path: Path and query below the base URL.
            headers: The protocol's own; the user's replace them.
            body: The request's body.
            timeout: Seconds for the whole of it; None for as long as it lives.

        Returns:
            A context with the response, whose body is unread.

        Raises:
            Interruption: It failed in a way that may pass; also while the body is read.
            TrunklineError: It was refused for good.
        """
        session = self._live_session()
        limits = _aiohttp.ClientTimeout(total=timeout, sock_connect=CONNECT_TIMEOUT)
        with _interruptions():
            async with session.request(
                method,
                self._base + path,
                headers=await self._headers(headers),
                data=body,
                timeout=limits,
                allow_redirects=False,
            ) as response:
                if response.status != 200:
                    raise await self._failure(response)
                yield response

    async def chunks(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """Yield a response's body as it arrives.

        Raises:
            Interruption: Nothing came for the time of *silence_timeout*.
        """
        while True:
            try:
                async with asyncio.timeout(self._settings.silence_timeout):
                    data = await response.content.readany()
            except TimeoutError:
                raise Interruption("the server fell silent") from None
            if not data:
                return
            yield data

    async def body(self, response: aiohttp.ClientResponse, limit: int) -> bytes:
        """Read a whole body.

        Raises:
            ProtocolError: It has more than *limit* bytes.
            Interruption: It stops coming.
        """
        whole = bytearray()
        async for data in self.chunks(response):
            whole += data
            if len(whole) > limit:
                raise ProtocolError(f"the server's answer has more than {limit} bytes")
        return bytes(whole)

    @asynccontextmanager
    async def socket(
        self, path: str, *, subprotocol: str
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Open a WebSocket.

        Args:
            path: Path and query below the base URL.
            subprotocol: What is spoken on it.

        Returns:
            A context with the socket.

        Raises:
            Interruption: As for :meth:`request`.
            TrunklineError: As for :meth:`request`.
        """
        session = self._live_session()
        with _interruptions():
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    socket = await session.ws_connect(
                        self._base + path,
                        headers=await self._headers({}),
                        protocols=(subprotocol,),
                        max_msg_size=MAX_FRAME_BYTES,
                        timeout=_aiohttp.ClientWSTimeout(ws_close=2.0),
                    )
            except _aiohttp.WSServerHandshakeError as error:
                raise self._handshake_failure(error) from error
            try:
                yield socket
            finally:
                await socket.close()

    def _live_session(self) -> aiohttp.ClientSession:
        if self._session is None or not self._is_open:
            raise LineClosedError("the client is closed: use it within `async with client:`")
        return self._session

    async def _headers(self, own: Mapping[str, str]) -> dict[str, str]:
        merged = {name.lower(): value for name, value in own.items()}
        for added in (self._settings.headers or {}, await self._settings.credentials()):
            merged.update((name.lower(), value) for name, value in added.items())
        return merged

    async def _failure(self, response: aiohttp.ClientResponse) -> Exception:
        body = b""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                body = await response.content.read(MAX_ERROR_BYTES)
        except (TimeoutError, _aiohttp.ClientError):
            body = b""  # the status says enough
        return failure_of_status(
            response.status,
            body=body,
            retry_after=response.headers.get("retry-after"),
            location=response.headers.get("location"),
            now=self._settings.clock.now(),
        )

    def _handshake_failure(self, error: aiohttp.WSServerHandshakeError) -> Exception:
        headers: Mapping[str, str] = error.headers or {}
        if error.status in {101, 200}:
            return Misdirection(f"the server speaks no WebSocket here: {error.message}")
        return failure_of_status(
            error.status,
            body=b"",
            retry_after=headers.get("retry-after"),
            location=headers.get("location"),
            now=self._settings.clock.now(),
        )


def check_content_type(response: aiohttp.ClientResponse, *wanted: str) -> str:
    """Return a response's media type.

    Raises:
        Misdirection: It is none of the wanted ones.
    """
    given = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in wanted:
        raise Misdirection(
            f"the server answered with {given[:60] or 'no content type'!r} "
            f"instead of {' or '.join(wanted)}: is the base URL right?"
        )
    return given


@contextmanager
def _interruptions() -> Iterator[None]:
    """Turn what the network does into interruptions."""
    try:
        yield
    except _aiohttp.InvalidURL as error:
        raise ConfigError("the base URL is malformed") from error
    except TimeoutError as error:
        raise Interruption("the server did not answer in time") from error
    except (_aiohttp.ClientError, OSError) as error:
        raise Interruption(f"{type(error).__name__}: {error}") from error
