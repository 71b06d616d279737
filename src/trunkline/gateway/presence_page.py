"""``GET {base}/api/presence?channel=…``: who is there now, for whoever may read the channel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from trunkline.channels.presence import Presences
from trunkline.errors import AccessDeniedError
from trunkline.gateway.answer import Answer, json_answer
from trunkline.gateway.context import Context
from trunkline.gateway.presence_talk import members_of
from trunkline.gateway.request import Request, Send
from trunkline.model.channel import channel_key
from trunkline.wire.presence import Attended, Following, check_followed, encode_presence

PRESENCE: Final = "/api/presence"


class PresenceEndpoint:
    """Serve who is there.

    Args:
        context: What the gateway's endpoints share.
        find: Gives the line's presence.
    """

    def __init__(self, context: Context, find: Callable[[], Presences]) -> None:
        self._context = context
        self._find = find

    async def __call__(self, request: Request, send: Send) -> Answer:  # noqa: ARG002 - see Endpoint
        """Answer with the members of each channel."""
        context = self._context
        identity = await context.admit(request)
        asked = request.query.get("channel", [])
        names = check_followed(asked, max_channels=context.options.max_channels)
        split = await context.gatekeeper.split(identity, names)
        if not split.granted:
            refused = "; ".join(f"{one.channel}: {one.detail}" for one in split.refused[:5])
            raise AccessDeniedError(f"all channels are refused: {refused}")
        presences = self._find()
        attended = [
            Attended(name, members_of(await presences.members(channel_key(name, identity.site_id))))
            for name in split.granted
        ]
        return json_answer(encode_presence(Following(None, attended, split.refused)))
