"""message_bus's poll endpoint: ``{base}/message-bus/{client id}/poll``, in its three transports.

Immediate answers go out like any other. Whoever is held becomes a connection: on a transport the
head is ours to write too, byte for byte as message_bus writes it, because a long-poll does not
know yet what it will answer; then middleware around the gateway does not see it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from trunkline.errors import UsageError
from trunkline.gateway.answer import Answer
from trunkline.gateway.attendance import Attendance
from trunkline.gateway.backlog import PollBacklog
from trunkline.gateway.context import Context
from trunkline.gateway.custody import Custody
from trunkline.gateway.holding import HeldPoll, Holder
from trunkline.gateway.holds import Holds
from trunkline.gateway.request import Request, Send
from trunkline.gateway.switchboard import Switchboard
from trunkline.model.channel import ChannelKey, channel_key
from trunkline.model.identity import Identity, Viewer
from trunkline.model.interest import Interest
from trunkline.wire.poll import (
    Mode,
    PollRequest,
    Terms,
    choose_mode,
    client_id_in,
    parse_request,
)
from trunkline.wire.poll_reply import (
    GAPS_HEADER,
    OPTIONS_BODY,
    encode_array,
    plain_headers,
)

logger = logging.getLogger("trunkline.gateway")

PREFIX: Final = "/message-bus/"
CHANNELS_KEY: Final = "message_bus.channels"
SEQ_KEY: Final = "message_bus.seq"


class PollEndpoint:
    """Serve polls.

    Args:
        context: What endpoints share.
        board: Connects held ones with the line.
        custody: Takes them in.
        attendance: Keeps those in mind who poll without being held.
    """

    def __init__(
        self, context: Context, board: Switchboard, custody: Custody, attendance: Attendance
    ) -> None:
        self._context = context
        self._board = board
        self._custody = custody
        self._attendance = attendance
        self.holds = Holds()
        self._holder = Holder(context, board, custody, self.holds)

    async def __call__(self, request: Request, send: Send) -> Answer | None:
        """Serve one poll."""
        client_id = client_id_in(request.path, PREFIX)
        if client_id is None:
            return Answer(404, [], b"not found")
        if request.method == "OPTIONS":
            return plain(OPTIONS_BODY)
        identity = await self._custody.admit(request)
        poll = await self._read(request)
        viewer = Viewer(identity, client_id, strict=True)
        keys = await self._grant(identity, poll)
        asked = Asked(request, poll, viewer, keys)
        if not self._may_hold(asked):
            return await self._answer_now(asked)
        return await self._answer(asked, send)

    async def _read(self, request: Request) -> PollRequest:
        options = self._context.options
        body = await request.body(options.max_body_bytes, timeout=options.body_timeout)
        content_type = request.header("content-type")
        override = _override(request)
        if override is not None:
            body, content_type = override, "application/json"
        return parse_request(
            body, content_type, request.raw_query, max_channels=options.max_channels
        )

    async def _grant(self, identity: Identity, poll: PollRequest) -> Mapping[str, ChannelKey]:
        split = await self._context.gatekeeper.split(identity, poll.positions)
        return {name: channel_key(name, identity.site_id) for name in split.granted}

    def _may_hold(self, asked: Asked) -> bool:
        if asked.request.method == "HEAD":
            return False
        return choose_mode(asked.poll, self._terms(asked.request), is_empty=True) is not Mode.PLAIN

    def _terms(self, request: Request) -> Terms:
        options = self._context.options
        # Streams are for HTTP/1.1: 1.0 has no chunks, and what shares a transport cannot be held.
        refuses = request.header("dont-chunk") is not None or request.http_version != "1.1"
        return Terms(
            http_version=request.http_version,
            refuses_chunks=refuses,
            chunked_encoding_enabled=options.chunked_encoding_enabled,
            long_polling_enabled=options.long_polling_enabled,
            held=len(self.holds),
            max_active_clients=options.max_active_clients,
        )

    async def _collect(self, asked: Asked) -> PollBacklog:
        context = self._context
        backlog = PollBacklog(context.log, context.hub, asked.viewer, tells_gaps=asked.tells_gaps)
        await backlog.collect(asked.poll.positions, asked.keys)
        return backlog

    async def _answer_now(self, asked: Asked) -> Answer:
        self._attendance.visit(asked.viewer, asked.keys.values())
        backlog = await self._collect(asked)
        return plain(encode_array(backlog.elements))

    async def _answer(self, asked: Asked, send: Send) -> Answer | None:
        """Register, then look what there is, then answer or hold."""
        interest = Interest(frozenset(asked.keys.values()))
        track = await self._context.hub.join(interest, asked.wake) if interest else None
        try:
            backlog = await self._collect(asked)
            terms = self._terms(asked.request)
            mode = choose_mode(asked.poll, terms, is_empty=not backlog.elements)
            if mode is Mode.PLAIN:
                self._attendance.visit(asked.viewer, interest.keys)
                return plain(encode_array(backlog.elements))
            held = HeldPoll(
                asked.request, asked.viewer, asked.poll.seq, interest, backlog, asked.tells_gaps
            )
            await self._holder.hold(held, mode, send)
            return None
        finally:
            if track is not None:
                self._context.hub.leave(track, asked.wake)


class Asked(NamedTuple):
    """Hold a poll that was read.

    Args:
        request: How it came.
        poll: What it asks for.
        viewer: Who asks.
        keys: The channels it may read.
    """

    request: Request
    poll: PollRequest
    viewer: Viewer
    keys: Mapping[str, ChannelKey]

    @property
    def tells_gaps(self) -> bool:
        """Tell whether the client wants gap messages."""
        return (self.request.header(GAPS_HEADER) or "").strip().lower() == "true"

    def wake(self) -> None:
        """Do nothing: registering is what keeps messages in memory."""


def plain(body: bytes) -> Answer:
    """Make an immediate answer."""
    headers = plain_headers(length=len(body))
    return Answer(200, [(name, value) for name, value in headers if name != "content-length"], body)


def _override(request: Request) -> bytes | None:
    """Return the subscriptions that middleware in front of us puts in the place of the body's."""
    scope = request.scope
    for place in (scope, scope.get("state"), scope.get("extensions")):
        if isinstance(place, Mapping) and CHANNELS_KEY in place:
            channels: Any = place[CHANNELS_KEY]
            if not isinstance(channels, Mapping):
                raise UsageError(f"{CHANNELS_KEY} must map channels to positions")
            return msgspec.json.encode({**channels, "__seq": place.get(SEQ_KEY, 0)})
    return None
