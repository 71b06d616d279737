"""Server-sent events: ``GET {base}/sse?channel=…``, resumed by Last-Event-ID."""

from __future__ import annotations

from typing import Final, NamedTuple

from trunkline.errors import AccessDeniedError
from trunkline.gateway.access import Split
from trunkline.gateway.answer import Answer
from trunkline.gateway.connection import Connection
from trunkline.gateway.context import Context
from trunkline.gateway.custody import Custody
from trunkline.gateway.entity_speech import EventSpeech
from trunkline.gateway.entity_talk import EntityTalk
from trunkline.gateway.framing import CHUNKED_EVENTS, EVENTS, EventFraming
from trunkline.gateway.offer import offer_of, take
from trunkline.gateway.request import Request, Send
from trunkline.gateway.sinks import LAST_BODY, AsgiSink, Sink, body_events
from trunkline.gateway.starting import Prepared
from trunkline.gateway.switchboard import Switchboard
from trunkline.gateway.transport import TransportSink
from trunkline.model.identity import Identity, Viewer
from trunkline.model.position import Position
from trunkline.wire import sse
from trunkline.wire.http import asgi_headers, merge_headers
from trunkline.wire.sse_request import EventStreamRequest, parse_stream_request
from trunkline.wire.watch import Named

LAST_EVENT_ID: Final = "last-event-id"
SECRET_HEADER: Final = "x-trunkline-secret"  # noqa: S105 - a header's name


class EventStreams:
    """Serve event streams.

    Args:
        context: What endpoints share.
        board: Connects clients with the line.
        custody: Takes connections in.
    """

    def __init__(self, context: Context, board: Switchboard, custody: Custody) -> None:
        self._context = context
        self._board = board
        self._custody = custody

    async def __call__(self, request: Request, send: Send) -> Answer | None:
        """Serve one request, for as long as its stream lasts unless the transport is taken."""
        options = self._context.options
        identity = await self._custody.admit(request)
        asked = parse_stream_request(
            request.raw_query,
            request.header(LAST_EVENT_ID),
            max_channels=options.max_channels,
            max_watches=options.max_watches,
        )
        await request.body(options.max_body_bytes, timeout=options.body_timeout)
        split = await self._context.gatekeeper.split(identity, asked.channels)
        if not split.granted and not asked.watches:
            refused = "; ".join(f"{one.channel}: {one.detail}" for one in split.refused[:5])
            raise AccessDeniedError(f"all channels are refused: {refused}")
        prepared = await self._prepare(asked, split, identity)
        try:
            key = self._custody.enter(request, identity)
            viewer = Viewer(identity, asked.client_id, strict=False)
            stream = _Stream(viewer, split, prepared, key, asked.watches)
            await self._serve(stream, request, send)
        finally:
            if prepared is not None:
                prepared.release()
        return None

    async def _prepare(
        self, asked: EventStreamRequest, split: Split, identity: Identity
    ) -> Prepared | None:
        if asked.watches and self._context.entities is not None:
            await self._context.entities.listen()
        if not split.granted:
            return None
        starts = dict.fromkeys(split.granted, asked.start)
        return await self._board.prepare(starts, identity.site_id, last=asked.last)

    async def _serve(self, stream: _Stream, request: Request, send: Send) -> None:
        try:
            headers = merge_headers(sse.HEADERS, request.response_headers)
            await send(
                {"type": "http.response.start", "status": 200, "headers": asgi_headers(headers)}
            )
        except BaseException:
            self._custody.leave(stream.key)
            raise
        held = TransportSink()
        if take(offer_of(request.scope), held, has_head=True):
            await self._begin(stream, request, held, CHUNKED_EVENTS)
            return
        sink = AsgiSink(body_events, LAST_BODY)
        await self._begin(stream, request, sink, EVENTS)
        await sink.run(request.receive, send)

    async def _begin(
        self, stream: _Stream, request: Request, sink: Sink, framing: EventFraming
    ) -> None:
        connection = self._board.connect(stream.viewer, framing, sink, transport="sse")
        self._custody.keep(connection, request, stream.key)

        def ready(position: Position) -> bytes:
            split = stream.split
            return framing.frame(
                sse.encode_ready(
                    position, split.granted, split.refused, retry_ms=self._board.retry_ms()
                )
            )

        try:
            if stream.prepared is None:
                connection.reply(ready(self._board.hub.position))
            else:
                await self._board.settle(connection, stream.prepared, acknowledge=ready)
            if stream.watches:
                await self._watch(stream, request, connection, framing)
        except BaseException:
            connection.end("shutdown")
            raise

    async def _watch(
        self, stream: _Stream, request: Request, connection: Connection, framing: EventFraming
    ) -> None:
        speech = EventSpeech(framing)
        talk = EntityTalk(self._context, self._board, connection, speech)
        if (secret := request.header(SECRET_HEADER)) is not None:
            talk.set_secret(secret)
        await talk.watch(stream.watches, lambda told: connection.reply(speech.watching(told)))


class _Stream(NamedTuple):
    viewer: Viewer
    split: Split
    prepared: Prepared | None
    key: str
    watches: tuple[Named, ...]
