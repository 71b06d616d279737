"""Subscriptions by server-sent events: one stream each, resumed by the position."""

from __future__ import annotations

from typing import Any

import msgspec

from trunkline.client.cursor import Cursor, position_in
from trunkline.client.endpoint import check_content_type
from trunkline.client.failures import Interruption
from trunkline.client.feed import Feed
from trunkline.client.link import Link
from trunkline.errors import ProtocolError
from trunkline.wire.message import decode_message
from trunkline.wire.sse import Event, EventParser, decode_data
from trunkline.wire.sse_request import EventStreamRequest, encode_stream_query
from trunkline.wire.start import Refusal


class EventLink(Link[Cursor]):
    """Serve one feed from one event stream."""

    def accepts(self, feed: Feed[Cursor]) -> bool:  # noqa: ARG002 - its names do not matter
        """Tell whether the stream is still free: its channels are part of its URL."""
        return not self.feeds

    async def _converse(self) -> float:
        feed = self.feeds[0]
        parser = EventParser()
        async with self._endpoint.request(
            "GET", self._path(feed), headers={"accept": "text/event-stream"}
        ) as response:
            check_content_type(response, "text/event-stream")
            async for data in self._endpoint.chunks(response):
                for event in parser.feed(data):
                    if not await self._make_room(feed):
                        return 0.0
                    self._on_event(feed, event)
                self._follow(feed, parser.last_event_id)
        wait = None if parser.retry_ms is None else parser.retry_ms / 1000
        raise Interruption("the stream ended", wait=wait)

    def _path(self, feed: Feed[Cursor]) -> str:
        cursor = feed.cursor
        request = EventStreamRequest(
            feed.names, cursor.start, cursor.last, self._settings.client_id
        )
        return f"/sse?{encode_stream_query(request)}"

    def _follow(self, feed: Feed[Cursor], text: str) -> None:
        """Take the last id, which also events without data carry."""
        if text and (gap := feed.cursor.move(position_in(text))):
            feed.push([gap], 0)

    def _on_event(self, feed: Feed[Cursor], event: Event) -> None:
        if event.name == "message":
            feed.push(feed.cursor.take(decode_message(event.data)), len(event.data))
            self._pace.progress()
        elif event.name == "ready":
            self._on_ready(feed, decode_data(event))
        elif event.name == "gap":
            told = decode_data(event)
            gap = feed.cursor.lose(_text(told, "reason"), position_in(_text(told, "position")))
            feed.push([gap] if gap else [], 0)
        elif event.name == "goodbye":
            told = decode_data(event)
            retry = told.get("retry")
            wait = retry / 1000 if isinstance(retry, int) and retry >= 0 else None
            raise Interruption(f"the server said goodbye: {told.get('reason')}", wait=wait)

    def _on_ready(self, feed: Feed[Cursor], told: dict[str, Any]) -> None:
        self._establish()
        try:
            refused = msgspec.convert(told.get("refused", []), list[Refusal])
        except msgspec.ValidationError as error:
            raise ProtocolError(f"the server's refusals are malformed: {error}") from error
        gap = feed.cursor.begin(position_in(_text(told, "position")))
        feed.push([gap] if gap else [], 0)
        feed.open(refused)


def _text(told: dict[str, Any], name: str) -> str:
    value = told.get(name)
    if not isinstance(value, str):
        raise ProtocolError(f"an event of the server has no {name}")
    return value
