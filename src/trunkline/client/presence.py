"""Who is on a channel, as a client is told: the present members, then who comes and who leaves."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from urllib.parse import quote

import msgspec

from trunkline.client.endpoint import Endpoint
from trunkline.client.failures import Interruption, Misdirection, failure_of_code
from trunkline.client.pacing import Pace
from trunkline.client.receiving import receive_text
from trunkline.client.settings import Settings
from trunkline.errors import ProtocolError, ServerUnavailableError
from trunkline.wire.presence import Following, FollowRequest, Member, Moved, parse_following
from trunkline.wire.pushes import Failed, Goodbye, Push, parse_push
from trunkline.wire.socket import SUBPROTOCOL, encode_request

logger = logging.getLogger(__name__)

MAX_ANSWER_SECONDS = 30.0


class PresenceChange(msgspec.Struct, frozen=True):
    """Tell what changed on a channel.

    Args:
        joined: Clients that are there and were not.
        left: Clients that were there and are not.
        members: All that are there now, in the order they came.
    """

    joined: Sequence[Member]
    left: Sequence[Member]
    members: Sequence[Member]


class ChannelPresence:
    """Know who is on one channel. Made by :meth:`Client.presence`.

    Args:
        channel: The channel's name.
        endpoint: The server.
        settings: The client's.
    """

    def __init__(self, channel: str, endpoint: Endpoint, settings: Settings) -> None:
        self.channel = channel
        self._endpoint = endpoint
        self._settings = settings

    async def members(self) -> Sequence[Member]:
        """Return who is there now, client by client, in the order they came.

        Raises:
            AccessDeniedError: The server does not let this client read the channel.
            ServerUnavailableError: The server could not be reached.
        """
        path = f"/api/presence?channel={quote(self.channel, safe='')}"
        try:
            async with self._endpoint.request(
                "GET", path, headers={}, timeout=MAX_ANSWER_SECONDS
            ) as response:
                body = await response.read()
        except Misdirection as error:
            raise error.error() from error
        except Interruption as error:
            raise ServerUnavailableError(str(error)) from error
        try:
            return parse_following(body).channels[0].members
        except (msgspec.MsgspecError, IndexError) as error:
            raise ProtocolError(f"the server's answer is no presence: {error}") from error

    async def changes(self) -> AsyncIterator[PresenceChange]:
        """Yield who is there as a first change, then who comes and who leaves.

        It has a WebSocket of its own. After a disconnect what changed meanwhile is one change.

        Raises:
            AccessDeniedError: The server does not let this client read the channel.
        """
        pace = Pace(self._settings)
        known: dict[Member, None] | None = None
        while True:
            pace.connect()
            cause = Interruption("the connection ended")
            try:
                async with self._endpoint.socket("/ws", subprotocol=SUBPROTOCOL) as socket:
                    request = FollowRequest(1, [self.channel])
                    await socket.send_str(encode_request(request).decode())
                    while True:
                        text = await receive_text(socket, self._settings.silence_timeout)
                        now = self._after(parse_push(text), known or {})
                        if now is not None and now != known:
                            pace.establish()
                            before, known = known or {}, now
                            yield _change(before, now)
            except Interruption as error:
                if isinstance(error, Misdirection) and known is None:
                    raise error.error() from error
                cause = error
            except (ProtocolError, ConnectionError) as error:
                cause = Interruption(str(error))
            pause = pace.delay(cause)
            logger.warning("presence: connection lost (%s); again in %.1f s", cause, pause)
            await self._settings.sleep(pause)

    def _after(self, push: Push | None, known: dict[Member, None]) -> dict[Member, None] | None:
        """Return who is there after a push, None if it says nothing of that."""
        match push:
            case Following():
                for refusal in push.refused:
                    raise failure_of_code(refusal.code, refusal.detail, status=403)
                return dict.fromkeys(push.channels[0].members)
            case Moved(channel=self.channel):
                left = set(push.left)
                stay = [one for one in known if one not in left]
                return dict.fromkeys([*stay, *push.joined])
            case Failed():
                raise failure_of_code(push.code, push.detail)
            case Goodbye():
                wait = max(push.retry, 0) / 1000
                raise Interruption(f"the server said goodbye: {push.reason}", wait=wait)
            case _:
                return None


def _change(before: dict[Member, None], now: dict[Member, None]) -> PresenceChange:
    joined = [one for one in now if one not in before]
    left = [one for one in before if one not in now]
    return PresenceChange(joined, left, list(now))
