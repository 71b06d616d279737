"""Subscriptions by WebSocket: one connection carries them all."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from trunkline.client.conversation import Conversation
from trunkline.client.cursor import Cursor, position_in
from trunkline.client.failures import Interruption, failure_of_code
from trunkline.client.link import Link, beside, logger
from trunkline.client.receiving import receive_text
from trunkline.wire.pushes import (
    Failed,
    Gap,
    Goodbye,
    Live,
    Moved,
    Push,
    Pushed,
    Subscribed,
    Unsubscribed,
    parse_push,
)
from trunkline.wire.socket import SUBPROTOCOL, encode_request

if TYPE_CHECKING:
    import aiohttp


class SocketLink(Link[Cursor]):
    """Serve feeds over one WebSocket."""

    _talk: Conversation
    _socket: aiohttp.ClientWebSocketResponse

    async def _converse(self) -> float:
        client_id = self._settings.client_id
        query = f"?client_id={quote(client_id, safe='')}" if client_id else ""
        async with self._endpoint.socket(f"/ws{query}", subprotocol=SUBPROTOCOL) as socket:
            self._socket, self._talk = socket, Conversation()
            async with beside(self._unpark()):
                while self.feeds:
                    text = await receive_text(socket, self._settings.silence_timeout)
                    await self._on_push(parse_push(text), len(text))
        return 0.0

    async def _on_push(self, push: Push | None, size: int) -> None:
        match push:
            case Pushed():
                for feed in self._talk.readers(push):
                    if await self._make_room(feed):
                        feed.push(feed.cursor.take(push), size)
                    else:
                        self._talk.skip(feed)
                self._pace.progress()
            case Moved():
                self._on_moved(push)
            case Gap():
                for feed in self._talk.losers(push):
                    gap = feed.cursor.lose(push.reason, position_in(push.position))
                    feed.push([gap] if gap else [], 0)
            case Goodbye():
                wait = max(push.retry, 0) / 1000
                raise Interruption(f"the server said goodbye: {push.reason}", wait=wait)
            case Subscribed() | Live() | Unsubscribed() | Failed():
                await self._on_answer(push)
            case _:
                pass  # a pong, or a type of a later release

    def _on_moved(self, push: Moved) -> None:
        position = position_in(push.position)
        for feed in self._talk.live:
            if gap := feed.cursor.move(position):
                feed.push([gap], 0)

    async def _on_answer(self, push: Subscribed | Live | Unsubscribed | Failed) -> None:
        if isinstance(push, Failed) and push.id is None:
            failure = failure_of_code(push.code, push.detail)
            if isinstance(failure, Interruption):
                raise failure  # nobody knows which request it was: all are made again
            logger.warning("the server did not understand: %s", push.detail)
        if isinstance(push, Subscribed):
            self._establish()
        self._talk.on_answer(push)
        for feed in tuple(self.feeds):
            if feed.is_ended:
                self.remove(feed)
        await self._adjust()

    async def _adjust(self) -> None:
        request = self._talk.next_request(self.feeds)
        if request is None:
            return
        try:
            await self._socket.send_str(encode_request(request).decode())
        except (ConnectionError, RuntimeError) as error:
            # Reading will notice, and say it better.
            logger.debug("could not send on the socket: %s", error)
