"""One poll in message_bus's protocol: a request with positions, and its answer as it arrives.

What the answer looks like is the server's choice, so only its Content-Type is believed: a framed
stream, whose blocks come one by one, or one JSON array.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Mapping
from enum import Enum
from typing import NamedTuple
from urllib.parse import quote

from trunkline.client.endpoint import Endpoint, check_content_type
from trunkline.client.failures import Interruption
from trunkline.wire.chunks import BlockDecoder
from trunkline.wire.poll import JSON_TYPE, NO_HOLD_MARK, encode_json
from trunkline.wire.poll_reply import GAPS_HEADER, PollMessage, decode_answer

MAX_ANSWER_BYTES = 256 * 1024 * 1024
STREAM_TYPE = "text/plain"


class Hold(Enum):
    """Name how long the server may hold a poll."""

    NOT = "not"
    ONCE = "once"
    STREAM = "stream"


class Answer(NamedTuple):
    """Be one answer or block.

    Args:
        messages: In order, status and gap messages among them.
        size: Its size, bytes.
        is_streamed: Whether more may follow in this exchange.
    """

    messages: list[PollMessage]
    size: int
    is_streamed: bool


class Exchange:
    """Poll a server, request by request.

    Args:
        endpoint: The server.
        client_id: The client's id, in every request's path.
        wants_gaps: Whether to ask for gap messages.
    """

    def __init__(self, endpoint: Endpoint, client_id: str, *, wants_gaps: bool) -> None:
        self._endpoint = endpoint
        self._path = f"/message-bus/{quote(client_id, safe='')}/poll"
        self._wants_gaps = wants_gaps
        self._sequence = itertools.count(1)

    async def poll(self, positions: Mapping[str, int], hold: Hold) -> AsyncGenerator[Answer, None]:
        """Make one request and yield what it brings.

        Args:
            positions: Channel to the last id.
            hold: How long the server may hold the request.

        Raises:
            Interruption: It failed in a way that may pass.
            ProtocolError: The answer is none.
            TrunklineError: It was refused for good.
        """
        body = encode_json(positions, next(self._sequence))
        query = "" if hold is not Hold.NOT else f"?{NO_HOLD_MARK.decode()}"
        async with self._endpoint.request(
            "POST", self._path + query, headers=self._headers(hold), body=body
        ) as response:
            if check_content_type(response, JSON_TYPE, STREAM_TYPE) == JSON_TYPE:
                array = await self._endpoint.body(response, MAX_ANSWER_BYTES)
                yield Answer(decode_answer(array), len(array), is_streamed=False)
                return
            decoder = BlockDecoder(MAX_ANSWER_BYTES)
            async for data in self._endpoint.chunks(response):
                for block in decoder.feed(data):
                    yield Answer(decode_answer(block), len(block), is_streamed=True)
            if decoder.pending:
                raise Interruption("the stream was cut within a block")

    def _headers(self, hold: Hold) -> dict[str, str]:
        headers = {"content-type": JSON_TYPE, "x-silence-logger": "true"}
        if hold is not Hold.STREAM:
            headers["dont-chunk"] = "true"
        if self._wants_gaps:
            headers[GAPS_HEADER] = "true"
        return headers
