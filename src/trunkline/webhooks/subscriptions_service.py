"""The service at which others subscribe to our channels: register, list, delete."""

from __future__ import annotations

import hmac
import secrets
from typing import Final
from urllib.parse import urlencode

from trunkline.errors import AccessDeniedError, InvalidMessageError, UsageError
from trunkline.model import codec
from trunkline.runtime.clock import Clock
from trunkline.webhooks.doorkeeper import Doorkeeper
from trunkline.webhooks.errors import StrangerError, UnknownPeerError
from trunkline.webhooks.guard import BlockedError
from trunkline.webhooks.outlet import Call, CallFailedError
from trunkline.webhooks.peer import Peer
from trunkline.webhooks.peers import Peers
from trunkline.webhooks.service_http import ServiceAnswer, ServiceRequest
from trunkline.webhooks.sibling_options import SiblingOptions
from trunkline.webhooks.sources import SendCall
from trunkline.webhooks.subscribers import Subscribers, Wish
from trunkline.wire.toot import (
    LEASE,
    Format,
    Registration,
    check_channel,
    read_registration,
)

#: Subscriptions that one list names.
LISTED: Final = 10_000
_JSON: Final = (("content-type", "application/json"), ("cache-control", "no-store"))
_STRANGER: Final = "authorization"


class UnconfirmedError(UsageError):
    """Report a callback whose owner did not say that it wants to be called."""

    status = 422
    code = "unconfirmed"


class SubscriptionsService:
    """Answer those who want to hear of our channels.

    Args:
        peers: Those that we know.
        door: Finds out who calls.
        subscribers: Where subscriptions are kept.
        options: The settings.
        send: Asks a callback's owner, through hook and guard.
        clock: Tells the time.
    """

    largest = 64 * 1024

    def __init__(
        self,
        peers: Peers,
        door: Doorkeeper,
        subscribers: Subscribers,
        *,
        options: SiblingOptions,
        send: SendCall,
        clock: Clock,
    ) -> None:
        self._peers = peers
        self._door = door
        self._subscribers = subscribers
        self._options = options
        self._send = send
        self._clock = clock

    async def answer(self, request: ServiceRequest) -> ServiceAnswer:
        """Answer a request.

        Raises:
            UsageError: It can't be done; the status says why.
        """
        if request.method not in {"GET", "POST", "DELETE"}:
            return ServiceAnswer(status=405, headers=(("allow", "GET, POST, DELETE"),))
        name, nonce = await self._identify(request)
        peer = await self._peers.find(name) if name else None
        if name and peer is None:
            raise StrangerError
        if request.method == "POST":
            return await self._subscribe(request, peer, nonce)
        if request.method == "DELETE":
            return await self._unsubscribe(request, name, nonce)
        return await self._list(request, name)

    async def _identify(self, request: ServiceRequest) -> tuple[str, str]:
        try:
            return await self._door.identify(request)
        except StrangerError:
            if self._options.open and _STRANGER not in request.headers:
                return "", ""
            raise

    async def _subscribe(
        self, request: ServiceRequest, peer: Peer | None, nonce: str
    ) -> ServiceAnswer:
        wanted = read_registration(request.body)
        self._check(wanted, peer)
        how: Format = self._options.format if peer is None else peer.format
        name = "" if peer is None else peer.name
        lease = min(wanted.lease or self._options.lease, self._options.lease)
        ends = None if how == "toot" and wanted.lease is None else self._clock.now() + lease
        known = await self._subscribers.find(wanted.channel, wanted.callback_url)
        if known is not None and known.peer != name:
            raise AccessDeniedError("this callback is another peer's")
        if known is None and self._options.challenge and how != "toot":
            await self._challenge(wanted, lease)
        wish = Wish(
            peer=name,
            channel=wanted.channel,
            callback_url=wanted.callback_url,
            format=how,
            expires_at=ends,
        )
        is_new = await self._subscribers.subscribe(wish, nonce=nonce)
        headers = () if ends is None else ((LEASE.lower(), str(int(lease))),)
        return ServiceAnswer(status=201 if is_new else 204, headers=headers)

    def _check(self, wanted: Registration, peer: Peer | None) -> None:
        try:
            check_channel(wanted.channel)
        except UsageError as error:
            raise InvalidMessageError(str(error)) from None
        if not wanted.channel.startswith(self._options.prefix):
            raise InvalidMessageError(
                f"channels here begin with {self._options.prefix!r}: this one is somebody else's"
            )
        if peer is not None and not peer.may_hear(wanted.channel):
            raise AccessDeniedError("this channel is not for you")
        if not wanted.callback_url.isascii():
            raise InvalidMessageError("callback_url is ASCII: encode the rest with %")
        self._send.check_url(wanted.callback_url)

    async def _challenge(self, wanted: Registration, lease: float) -> None:
        """Ask a callback's owner (WebSub 5.3), who proves it by saying the challenge back."""
        challenge = secrets.token_urlsafe(24)
        query = urlencode(
            {
                "hub.mode": "subscribe",
                "hub.topic": wanted.channel,
                "hub.challenge": challenge,
                "hub.lease_seconds": int(lease),
            }
        )
        mark = "&" if "?" in wanted.callback_url else "?"
        call = Call(
            purpose="challenge",
            url=f"{wanted.callback_url}{mark}{query}",
            method="GET",
            timeout=self._options.challenge_timeout,
            headers={"user-agent": "Trunkline"},
        )
        try:
            answer = await self._send(call)
        except CallFailedError as error:
            if error.outcome == "blocked":
                raise BlockedError(str(error)) from error
            raise UnconfirmedError("the callback did not answer whether it wants it") from error
        said = answer.body.strip()
        if answer.status // 100 != 2 or not hmac.compare_digest(said, challenge.encode()):
            raise UnconfirmedError("the callback did not say that it wants it")

    async def _unsubscribe(self, request: ServiceRequest, name: str, nonce: str) -> ServiceAnswer:
        given = request.parameters
        channel, url = given.get("channel", ""), given.get("callback_url", "")
        if not channel.strip() or not url.strip():
            raise UsageError("say which: ?channel=…&callback_url=…")
        if "\0" in channel or "\0" in url:
            raise UnknownPeerError("there is no such subscription")
        await self._subscribers.unsubscribe(channel, url, peer=name, nonce=nonce)
        return ServiceAnswer(status=204)

    async def _list(self, request: ServiceRequest, name: str) -> ServiceAnswer:
        if not accepts_json(request.headers.get("accept", "")):
            return ServiceAnswer(status=406)
        found: dict[str, list[str]] = {}
        for one in await self._subscribers.list(peer=name, limit=LISTED):
            found.setdefault(one.channel, []).append(one.callback_url)
        channels = sorted(found)
        body = {
            "channels": channels,
            "subscriptions": {channel: sorted(found[channel]) for channel in channels},
        }
        return ServiceAnswer(status=200, headers=_JSON, body=codec.encode(body))


def accepts_json(accept: str) -> bool:
    """Tell whether ``Accept`` takes JSON (RFC 9110, 12.5.1); without one, it does."""
    if not accept.strip():
        return True
    for part in accept.split(","):
        kind, *parameters = (one.strip().lower() for one in part.split(";"))
        refused = any(one.replace(" ", "") in {"q=0", "q=0.0", "q=0.00"} for one in parameters)
        if kind in {"application/json", "application/*", "*/*"} and not refused:
            return True
    return False
