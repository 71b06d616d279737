"""A client's conversation on our WebSocket: requests in, answers by id, messages and states."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final

from trunkline.errors import LimitExceededError, ProtocolError, SocketRequestError, UsageError
from trunkline.gateway.access import Split
from trunkline.gateway.context import Context
from trunkline.gateway.dialogue import Dialogue
from trunkline.gateway.entity_speech import SocketSpeech
from trunkline.gateway.entity_talk import Speech
from trunkline.gateway.presence_talk import PresenceTalk
from trunkline.gateway.request import Request as Handshake
from trunkline.gateway.switchboard import Switchboard
from trunkline.model.position import Position
from trunkline.wire import pushes
from trunkline.wire.frames import CloseCode
from trunkline.wire.presence import (
    FollowRequest,
    PresenceRequest,
    Unfollowed,
    encode_presence,
)
from trunkline.wire.socket import (
    Origin,
    PingRequest,
    Request,
    ResumeRequest,
    SubscribeRequest,
    UnsubscribeRequest,
    origin_of,
    parse_request,
)
from trunkline.wire.start import Start
from trunkline.wire.watch import (
    EntityRequest,
    SecretRequest,
    SecretSet,
    Unwatched,
    UnwatchRequest,
    WatchRequest,
    encode_push,
)

MAX_WAITING: Final = 64
RENEWAL_POLL: Final = 0.02


class Session(Dialogue):
    """Serve one WebSocket's requests, in their order; see :class:`Dialogue`."""

    __slots__ = ("_is_working", "_presence", "_waiting")

    def __init__(
        self, context: Context, board: Switchboard, *, key: str, handshake: Handshake | None
    ) -> None:
        super().__init__(context, board, key=key, handshake=handshake)
        # Texts are messages to the application, which wait for a secret sent before them.
        self._waiting: deque[Request | str] | None = None
        self._is_working = False
        self._presence: PresenceTalk | None = None

    def _hear(self, text: str) -> None:
        options = self._context.options
        try:
            request = parse_request(
                text, max_channels=options.max_channels, max_watches=options.max_watches
            )
        except (ProtocolError, SocketRequestError) as error:
            if not self._pass_on(text):
                self._refuse(error)
        else:
            self._mistakes = 0
            self._take(request)

    def _refuse(self, error: ProtocolError | SocketRequestError) -> None:
        if isinstance(error, ProtocolError):
            raise error
        self._mistake(pushes.encode_error(error.request_id, error.code, str(error)))

    def _pass_on(self, text: str) -> bool:
        """Hand a text to the application if it is the application's; tell whether it was."""
        entities = self._context.entities
        if entities is None or entities.receiver is None:
            return False
        origin = origin_of(text)
        is_wanted = origin is Origin.APPLICATION or (
            origin is Origin.UNKNOWN and self._context.options.entity_pass_unknown
        )
        if is_wanted:
            self._mistakes = 0
            self._take(text)
        return is_wanted

    # -- one request after the other ----------------------------------------------------------

    def _take(self, request: Request | str) -> None:
        if isinstance(request, PingRequest):
            self._say(pushes.encode_pong(request.id, self._position()))
            return
        if self._waiting is None:
            self._waiting = deque()
        if len(self._waiting) >= MAX_WAITING:
            request_id = None if isinstance(request, str) else request.id
            detail = f"{MAX_WAITING} requests wait already: slow down"
            self._say(pushes.encode_error(request_id, "limit-exceeded", detail))
            self._close(CloseCode.POLICY, "too many requests at once")
            return
        self._waiting.append(request)
        if not self._is_working:
            self._is_working = True
            self._board.crew.start("socket requests", self._work())

    async def _work(self) -> None:
        try:
            while self._waiting and not self.connection.has_ended:
                await self._serve(self._waiting.popleft())
        finally:
            self._is_working = False
            self._waiting = None

    async def _serve(self, request: Request | str) -> None:
        await self._await_identity()
        if isinstance(request, str):
            if not self._talk().pass_on(request):
                self._close(CloseCode.POLICY, "too many messages wait")
            return
        try:
            if isinstance(request, SubscribeRequest):
                starts = dict.fromkeys(request.channels, request.start)
                await self._subscribe(request, starts, last=request.last)
            elif isinstance(request, ResumeRequest):
                await self._subscribe(request, request.starts)
            elif isinstance(request, UnsubscribeRequest):
                gone = await self.connection.remove(request.channels)
                self._say(pushes.encode_unsubscribed(request.id, gone))
            elif isinstance(request, PresenceRequest):
                await self._serve_presence(request)
            elif isinstance(request, EntityRequest):
                await self._serve_entities(request)
        except Exception as error:  # noqa: BLE001 - it is reported, here and to the client
            problem = await self._context.failures.report(self._handshake, error)
            self._say(pushes.encode_error(request.id, problem.code, problem.detail))

    async def _serve_entities(self, request: EntityRequest) -> None:
        talk = self._talk()
        if isinstance(request, WatchRequest):
            await talk.watch(
                request.entities,
                lambda told: self._say(encode_push(told)),
                request_id=request.id,
            )
        elif isinstance(request, UnwatchRequest):
            gone = talk.unwatch([one.key for one in request.entities])
            self._say(encode_push(Unwatched(request.id, gone)))
        elif isinstance(request, SecretRequest):
            talk.set_secret(request.secret)
            self._say(encode_push(SecretSet(request.id)))

    async def _serve_presence(self, request: PresenceRequest) -> None:
        talk = self._presence
        if talk is None:
            context = self._context
            if context.presences is None:
                raise UsageError("nobody is seen here")
            talk = self._presence = PresenceTalk(
                context.presences(),
                context.gatekeeper,
                self._board,
                self.connection,
                lambda push: self._framing.text(encode_presence(push)),
            )
        if isinstance(request, FollowRequest):
            most = self._context.options.max_subscriptions
            await talk.follow(request.id, request.channels, most=most)
        else:
            gone = talk.unfollow(request.channels)
            self._say(encode_presence(Unfollowed(request.id, gone)))

    async def _await_identity(self) -> None:
        """Wait while the identity is being asked for again; that ends well or with a goodbye."""
        is_expired = self._context.gatekeeper.is_expired
        # Looking is rare and short; an event would weigh on every connection.
        while is_expired(self.connection.viewer.identity) and not self.connection.has_ended:  # noqa: ASYNC110
            await asyncio.sleep(RENEWAL_POLL)

    async def _subscribe(
        self,
        request: SubscribeRequest | ResumeRequest,
        starts: Mapping[str, Start],
        *,
        last: int | None = None,
    ) -> None:
        connection, framing = self.connection, self._framing
        granted, refused = await self._split(starts)
        self._check_count(granted)
        identity = connection.viewer.identity

        def acknowledge(position: Position) -> bytes:
            return framing.text(pushes.encode_subscribed(request.id, granted, refused, position))

        def live(position: Position) -> bytes:
            return framing.text(pushes.encode_live(request.id, position))

        if granted:
            await connection.add(
                {name: starts[name] for name in granted},
                last=last,
                acknowledge=acknowledge,
                live=live,
            )
            if connection.viewer.identity is not identity and (await self._split(granted)).refused:
                connection.end("expired")
        else:
            position = self._position()
            connection.reply(acknowledge(position))
            connection.reply(live(position))

    async def _split(self, names: Iterable[str]) -> Split:
        """Ask what may be read, until the answer is about whoever listens now."""
        connection, gatekeeper = self.connection, self._context.gatekeeper
        while True:
            await self._await_identity()
            identity = connection.viewer.identity
            split = await gatekeeper.split(identity, names)
            if connection.viewer.identity is identity or connection.has_ended:
                return split

    def _check_count(self, granted: list[str]) -> None:
        allowed = self._context.options.max_subscriptions
        if len({*self.connection.names, *granted}) > allowed:
            raise LimitExceededError("max_subscriptions", allowed, status=400)

    # -- to the network -----------------------------------------------------------------------

    def _speech(self) -> Speech:
        return SocketSpeech(self._framing)

    def _position(self) -> Position:
        return self.connection.position or self._board.hub.position
