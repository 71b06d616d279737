"""The connection: nats-py finds, keeps and secures it, and this module writes and hears on it.

What costs time in nats-py is a queue, a task and a dictionary per message. On a connection of our
own, commands are therefore written in one piece per turn of the loop, and answers are handed over
as they are parsed. A client that the application brings is used by its public methods alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

from trunkline.errors import LogError, LogUnavailableError
from trunkline.log.nats.address import Address

logger = logging.getLogger(__name__)

#: Called with a message's subject, its raw headers (empty if none) and its payload.
Handler = Callable[[bytes, bytes, bytes], None]
#: Commands that may wait for a client that is not our own.
WAITING = 65_536


class Wire(Protocol):
    """Be what the engine needs of a connection."""

    @property
    def client(self) -> Client:
        """Return the driver's client."""

    @property
    def is_up(self) -> bool:
        """Tell whether commands can be sent."""

    def send(self, subject: str, reply: str, header: bytes, payload: bytes) -> None:
        """Send a message soon; it is lost when the connection is."""

    async def listen(self, subject: str, handler: Handler) -> None:
        """Subscribe to a subject that ends in a wildcard, until the connection closes."""

    async def close(self) -> None:
        """Release it."""


class _ShortParser(Parser):
    """Hand over at once what is for us, and leave everything else to the driver's parser."""

    def __init__(self, wire: OwnWire) -> None:
        self._wire = wire
        self._rest = b""
        super().__init__(wire)

    def reset(self) -> None:
        self._rest = b""
        super().reset()

    async def parse(self, data: bytes = b"") -> None:
        if self.buf or self.state != AWAITING_CONTROL_LINE:
            await super().parse(data)
            return
        if self._rest:
            data, self._rest = self._rest + data, b""
        start, is_cut = self._wire.take(data)
        if start:
            data = data[start:]
        if is_cut:
            self._rest = data
        elif data:
            await super().parse(data)


class OwnWire(Client):
    """Be a connection of our own: the driver's client, with a short way in and out."""

    def __init__(self) -> None:
        super().__init__()
        self._ps = _ShortParser(self)
        self._handlers: list[tuple[bytes, Handler]] = []
        self._out: list[bytes] = []
        self._loop = asyncio.get_running_loop()

    @property
    def client(self) -> Client:
        """Return the driver's client, which is this."""
        return self

    @property
    def is_up(self) -> bool:
        """Tell whether commands can be sent."""
        return self.is_connected

    def send(self, subject: str, reply: str, header: bytes, payload: bytes) -> None:
        """Send a message with everything else of this turn of the loop."""
        if not self._out:
            self._loop.call_soon(self._write_out)
        size = len(header) + len(payload)
        if header:
            line = f"HPUB {subject} {reply} {len(header)} {size}\r\n"
        else:
            line = f"PUB {subject} {reply} {size}\r\n"
        self._out += (line.encode(), header, payload, b"\r\n")

    def _write_out(self) -> None:
        out, self._out = self._out, []
        if self.is_connected and self._transport is not None:
            self._transport.write(b"".join(out))

    async def listen(self, subject: str, handler: Handler) -> None:
        """Subscribe to a subject that ends in a wildcard, until the connection closes."""
        self._handlers.append((subject.rstrip("*>").encode(), handler))
        await self.subscribe(subject, cb=_ignore)

    def take(self, data: bytes) -> tuple[int, bool]:
        """Hand over the messages for us that stand at the beginning of *data*.

        Args:
            data: What the server sent; see the NATS client protocol for MSG and HMSG.

        Returns:
            Where the rest begins, and whether it is the first part of a message for us.
        """
        start, size = 0, len(data)
        while start < size:
            has_header = data.startswith(b"HMSG ", start)
            if not has_header and not data.startswith(b"MSG ", start):
                return start, False
            end = data.find(b"\r\n", start)
            if end < 0:
                return start, False
            fields = data[start:end].split(b" ")
            handler = self._handler_of(fields[1])
            if handler is None:
                return start, False
            first = end + 2
            last = first + int(fields[-1])
            if last + 2 > size:
                return start, True
            body = first + int(fields[-2]) if has_header else first
            handler(fields[1], data[first:body], data[body:last])
            start = last + 2
        return start, False

    def _handler_of(self, subject: bytes) -> Handler | None:
        for prefix, handler in self._handlers:
            if subject.startswith(prefix):
                return handler
        return None

    async def _attempt_reconnect(self) -> None:
        # The driver would wait until all is written, which a server that hangs never reads.
        self._abort()
        await super()._attempt_reconnect()

    async def _process_connect_init(self) -> None:
        try:
            await super()._process_connect_init()
        except BaseException:
            self._abort()  # the driver tries the next server and forgets this connection
            raise

    def _abort(self) -> None:
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        handler = self._handler_of(subject)
        if handler is not None:
            handler(subject, headers or b"", data)
            return
        await super()._process_msg(sid, subject, reply, data, headers)


class GuestWire:
    """Be a connection that the application made and keeps.

    Args:
        client: The driver's client, connected.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self._subscriptions: list[Any] = []
        self._queue: asyncio.Queue[tuple[str, str, bytes, bytes]] = asyncio.Queue(WAITING)

    @property
    def is_up(self) -> bool:
        """Tell whether commands can be sent."""
        return self.client.is_connected

    def send(self, subject: str, reply: str, header: bytes, payload: bytes) -> None:
        """Send a message soon, by :meth:`run`."""
        try:
            self._queue.put_nowait((subject, reply, header, payload))
        except asyncio.QueueFull:
            logger.warning("the application's NATS client does not keep up: a command is dropped")

    async def run(self) -> None:
        """Send what :meth:`send` was given, for as long as the line is open."""
        while True:
            subject, reply, header, payload = await self._queue.get()
            try:
                await self.client.publish(subject, payload, reply, _as_dict(header))
            except nats.errors.Error as error:
                logger.warning("the application's NATS client refused a command: %s", error)

    async def listen(self, subject: str, handler: Handler) -> None:
        """Subscribe to a subject, until the line closes."""

        async def hear(message: Msg) -> None:
            handler(message.subject.encode(), _as_bytes(message.headers), message.data)

        self._subscriptions.append(await self.client.subscribe(subject, cb=hear))

    async def close(self) -> None:
        """End our subscriptions; the client stays the application's."""
        for subscription in self._subscriptions:
            try:
                await subscription.unsubscribe()
            except nats.errors.Error as error:
                logger.debug("a subscription was gone already: %s", error)
        self._subscriptions.clear()


async def connect(
    address: Address, *, lost: Callable[[], None], found: Callable[[], None]
) -> OwnWire:
    """Connect by the address's options.

    Args:
        address: Where to.
        lost: Called when the connection breaks.
        found: Called when it is there again.

    Raises:
        LogError: The servers refuse us, or none is reached in time.
    """
    options = dict(address.driver)
    refusal: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    trouble: list[str] = []

    async def note(error: Exception) -> None:
        trouble.append(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
        if is_refusal(error) and not refusal.done():
            refusal.set_result(str(error))
        logger.info("NATS: %s", trouble[-1])
        del trouble[:-1]

    options["error_cb"] = _after(note, options.get("error_cb"))
    options["disconnected_cb"] = _after(_calling(lost), options.get("disconnected_cb"))
    options["reconnected_cb"] = _after(_calling(found), options.get("reconnected_cb"))
    wire = OwnWire()
    connecting: asyncio.Future[None] = asyncio.ensure_future(
        wire.connect(list(address.servers), **options)
    )
    try:
        futures: set[asyncio.Future[Any]] = {connecting, refusal}
        done, _ = await asyncio.wait(
            futures,
            timeout=address.open_timeout,
            return_when=asyncio.FIRST_COMPLETED,
        )
    finally:
        if not connecting.done():
            connecting.cancel()
            await asyncio.wait({connecting})
    if connecting in done and connecting.exception() is None:
        return wire
    await wire.close()
    if refusal.done():
        raise refused(address, refusal.result())
    error = connecting.exception() if connecting in done else None
    if error is not None and is_refusal(error):
        raise refused(address, str(error))
    why = str(error or "") or (trouble[-1] if trouble else "no answer")
    raise LogUnavailableError(
        f"no NATS server answers at {address.place} ({why}): start it, or correct the URL"
    )


def is_refusal(error: BaseException) -> bool:
    """Tell whether an error says that a server does not let us in."""
    if isinstance(error, nats.errors.AuthorizationError):
        return True
    text = str(error).lower()
    return "authorization" in text or "authentication" in text


def refused(address: Address, why: str) -> LogError:
    """Return the error for a login that was refused."""
    return LogError(
        f"the NATS server at {address.place} refuses the login ({why.strip()}): check user, "
        "password, token or user_credentials"
    )


Callback = Callable[..., Awaitable[None]]


def _after(first: Callback, second: Callback | None) -> Callback:
    """Return a callback that calls ours, then the application's."""
    if second is None:
        return first
    other = second

    async def both(*args: Any) -> None:
        await first(*args)
        await other(*args)

    return both


def _calling(function: Callable[[], None]) -> Callback:
    async def call() -> None:
        function()

    return call


async def _ignore(_: Msg) -> None:
    """Never be called: messages of this subscription are handed over before."""


def _as_dict(header: bytes) -> dict[str, str] | None:
    if not header:
        return None
    lines = header.decode().split("\r\n")[1:]
    return dict(line.split(": ", 1) for line in lines if line)


def _as_bytes(headers: dict[str, str] | None) -> bytes:
    if not headers:
        return b""
    status = headers.get("Status")
    first = "NATS/1.0" if status is None else f"NATS/1.0 {status}"
    rest = [f"{name}: {value}" for name, value in headers.items() if name != "Status"]
    return "\r\n".join([first, *rest, "", ""]).encode()
