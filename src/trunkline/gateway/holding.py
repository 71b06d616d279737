"""Holding polls: the head and first block of a stream, or silence until something is to be said."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any, NamedTuple

from trunkline.gateway.backlog import PollBacklog
from trunkline.gateway.connection import Connection
from trunkline.gateway.context import Context
from trunkline.gateway.custody import Custody
from trunkline.gateway.framing import ARRAYS, BLOCKS, CHUNKED_BLOCKS, BlockFraming, Payload
from trunkline.gateway.holds import Holds
from trunkline.gateway.offer import offer_of, take
from trunkline.gateway.request import Request, Send
from trunkline.gateway.sinks import LAST_BODY, AsgiSink, body_events
from trunkline.gateway.switchboard import Switchboard
from trunkline.gateway.transport import TransportSink
from trunkline.model.identity import Viewer
from trunkline.model.interest import Interest
from trunkline.wire.http import Headers, asgi_headers
from trunkline.wire.poll import Mode
from trunkline.wire.poll_reply import (
    encode_array,
    held_headers,
    held_response,
    stream_head,
    stream_headers,
)

access_logger = logging.getLogger("uvicorn.access")


class HeldPoll(NamedTuple):
    """Be a poll that shall be held.

    Args:
        request: How it came.
        viewer: Who asks.
        seq: The number of the request.
        interest: The channels it may read.
        backlog: What it is told at once.
        tells_gaps: Whether it wants gap messages.
    """

    request: Request
    viewer: Viewer
    seq: int
    interest: Interest
    backlog: PollBacklog
    tells_gaps: bool


class Holder:
    """Make connections of polls.

    Args:
        context: What endpoints share.
        board: Connects them with the line.
        custody: Watches over them.
        holds: Knows which client holds which.
    """

    def __init__(
        self, context: Context, board: Switchboard, custody: Custody, holds: Holds
    ) -> None:
        self._context = context
        self._board = board
        self._custody = custody
        self._holds = holds

    async def hold(self, held: HeldPoll, mode: Mode, send: Send) -> None:
        """Hold a poll; on plain ASGI until its end, else until it is handed over."""
        if mode is Mode.STREAM:
            await self._stream(held, send)
        else:
            await self._wait(held, send)

    async def _stream(self, held: HeldPoll, send: Send) -> None:
        request, extra = held.request, held.request.response_headers
        direct = TransportSink()
        if take(offer_of(request.scope), direct, has_head=False):
            log_access(request)
            framing = CHUNKED_BLOCKS[held.tells_gaps]
            direct.reply(stream_head(extra) + _first_block(held, framing))
            await self._begin(held, self._connect(held, framing, direct))
            return
        framing = BLOCKS[held.tells_gaps]
        headers = _closing(request, stream_headers(extra, hop_by_hop=False))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        sink = AsgiSink(body_events, LAST_BODY)
        sink.reply(_first_block(held, framing))
        await self._begin(held, self._connect(held, framing, sink))
        await sink.run(request.receive, send)

    async def _wait(self, held: HeldPoll, send: Send) -> None:
        request, extra = held.request, held.request.response_headers
        framing = ARRAYS[held.tells_gaps]
        direct = TransportSink(wrap=partial(_held_response, extra))
        if take(offer_of(request.scope), direct, has_head=False):
            log_access(request)
            await self._begin(held, self._connect(held, framing, direct))
            return
        sink = AsgiSink(partial(_held_events, request), None, is_single=True)
        await self._begin(held, self._connect(held, framing, sink))
        await sink.run(request.receive, send)

    def _connect(self, held: HeldPoll, framing: Any, sink: TransportSink | AsgiSink) -> Connection:
        is_stream = isinstance(framing, BlockFraming)
        return self._board.connect(
            held.viewer,
            framing,
            sink,
            transport="streaming" if is_stream else "long-polling",
            hold=self._context.options.long_polling_interval,
        )

    async def _begin(self, held: HeldPoll, connection: Connection) -> None:
        self._custody.keep(connection, held.request)
        if connection.has_ended:
            return
        if not self._holds.claim(connection, held.seq):
            connection.end("done")
            return
        if held.interest:
            backlog = held.backlog
            try:
                await self._board.attach(connection, held.interest, backlog.parts, backlog.epoch)
            except BaseException:
                connection.end("shutdown")
                raise


def _first_block(held: HeldPoll, framing: BlockFraming) -> bytes:
    """Write what there is, or an empty block that shows the client that streaming works."""
    return framing.block(encode_array(held.backlog.elements))


def _held_response(extra: Headers, array: bytes) -> bytes:
    return held_response(array, extra)


def _held_events(request: Request, payload: Payload) -> list[dict[str, Any]]:
    body = payload if isinstance(payload, bytes) else b"".join(payload)
    headers = held_headers(request.response_headers, length=len(body), hop_by_hop=False)
    start = {
        "type": "http.response.start",
        "status": 200,
        "headers": _closing(request, headers),
    }
    return [start, {"type": "http.response.body", "body": body}]


def _closing(request: Request, headers: Headers) -> list[tuple[bytes, bytes]]:
    """Say, as message_bus does, that the connection ends with the answer."""
    is_one = request.http_version.startswith("1")
    return asgi_headers([*headers, ("connection", "close")] if is_one else headers)


def log_access(request: Request) -> None:
    """Write the line that the server writes for answers whose head it sends."""
    if access_logger.hasHandlers():
        scope = request.scope
        query = scope.get("query_string", b"").decode("latin-1")
        client = scope.get("client") or ("", 0)
        access_logger.info(
            '%s - "%s %s HTTP/%s" %d',
            f"{client[0]}:{client[1]}",
            request.method,
            scope["path"] + (f"?{query}" if query else ""),
            request.http_version,
            200,
        )
