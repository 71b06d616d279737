"""Publishing over HTTP, so that a message is stored once however often the request is sent."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from trunkline.channels.drafting import PublishOptions
from trunkline.client.endpoint import Endpoint
from trunkline.client.failures import Interruption
from trunkline.client.pacing import Pace
from trunkline.client.settings import Settings
from trunkline.errors import ConflictError, GrammarError, KeyReusedError, ServerUnavailableError
from trunkline.model import codec
from trunkline.model.channel import channel_key
from trunkline.model.message import Receipt
from trunkline.model.position import Position, parse_position
from trunkline.wire.publish import Published, PublishRequest, parse_body

logger = logging.getLogger(__name__)

Publication = tuple[str, Any] | tuple[str, Any, PublishOptions]

ATTEMPT_TIMEOUT = 30.0
MAX_RECEIPT_BYTES = 4 * 1024 * 1024

_LISTS = frozenset({
    "user_ids", "group_ids", "client_ids",
    "exclude_user_ids", "exclude_group_ids", "exclude_client_ids",
})  # fmt: skip


class Publisher:
    """Publish through the server's publish API.

    Every message gets an idempotency key before the first attempt, so that an attempt whose
    answer was lost can be repeated.

    Args:
        endpoint: The server.
        settings: The client's.
    """

    def __init__(self, endpoint: Endpoint, settings: Settings) -> None:
        self._endpoint = endpoint
        self._settings = settings

    async def publish(self, messages: Iterable[Publication], *, is_batch: bool) -> list[Receipt]:
        """Publish messages, all or none.

        Args:
            messages: Tuples of channel, data and, if need be, options.
            is_batch: Whether they go as a list.

        Returns:
            A receipt for each, in order.

        Raises:
            UsageError: A message can't be accepted as it is.
            KeyReusedError: A key was used for other content.
            ServerUnavailableError: The server could not be reached in time.
        """
        requests = [self._request(one) for one in messages]
        if not requests:
            return []
        body = msgspec.json.encode(requests if is_batch else requests[0])
        parse_body(body)  # the server's own checks, before anything is sent
        try:
            answer = await self._send(body, requests[0].key)
        except ConflictError as error:
            if error.code == KeyReusedError.code and not is_batch:
                request = requests[0]
                raise KeyReusedError(request.channel, request.key or "") from error
            raise
        return self._receipts(answer, requests, is_batch=is_batch)

    def _request(self, message: Publication) -> PublishRequest:
        channel, data = message[0], message[1]
        options: dict[str, Any] = dict(message[2]) if len(message) == 3 else {}
        if unknown := options.keys() - PublishOptions.__annotations__.keys():
            raise TypeError(f"publish has no option {', '.join(sorted(unknown))}")
        for name in _LISTS & options.keys():
            given = options[name]
            is_list = given is not None and not isinstance(given, (str, bytes))
            options[name] = list(given) if is_list else given
        if options.get("key") is None:
            options["key"] = self._settings.random_id()
        return PublishRequest(channel=channel, data=msgspec.Raw(codec.encode(data)), **options)

    async def _send(self, body: bytes, key: str | None) -> bytes:
        clock, pace = self._settings.clock, Pace(self._settings)
        deadline = clock.monotonic() + self._settings.publish_timeout
        while True:
            try:
                return await self._attempt(body)
            except Interruption as error:
                pause = pace.delay(error)
                if clock.monotonic() + pause > deadline:
                    raise ServerUnavailableError(
                        f"publishing was given up ({error}); publish again under the same key",
                        key=key,
                    ) from error
                logger.warning("publishing failed (%s); again in %.1f s", error, pause)
                await self._settings.sleep(pause)

    async def _attempt(self, body: bytes) -> bytes:
        async with self._endpoint.request(
            "POST",
            "/api/publish",
            headers={"content-type": "application/json"},
            body=body,
            timeout=ATTEMPT_TIMEOUT,
        ) as response:
            return await self._endpoint.body(response, MAX_RECEIPT_BYTES)

    def _receipts(
        self, answer: bytes, requests: Sequence[PublishRequest], *, is_batch: bool
    ) -> list[Receipt]:
        try:
            if is_batch:
                published = msgspec.json.decode(answer, type=list[Published])
            else:
                published = [msgspec.json.decode(answer, type=Published)]
            pairs = list(zip(published, requests, strict=True))
            return [_receipt(one, request.site_id) for one, request in pairs]
        except (ValueError, GrammarError, msgspec.MsgspecError) as error:
            raise ServerUnavailableError(
                f"the server's receipt cannot be read ({error}): is the base URL right?",
                key=requests[0].key,
            ) from error


def _receipt(published: Published, site_id: str | None) -> Receipt:
    position = parse_position(published.position)
    if not isinstance(position, Position):
        raise GrammarError("a receipt has a position")
    return Receipt(
        channel=channel_key(published.channel, site_id),
        message_id=published.message_id,
        global_id=published.global_id,
        epoch=position.epoch,
        is_repeat=published.repeated,
    )
