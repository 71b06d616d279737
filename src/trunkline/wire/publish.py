"""The publish API's body: one message or a batch, checked whole before anything is stored."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from trunkline.errors import (
    InvalidMessageError,
    InvalidTargetError,
    LimitExceededError,
    ProtocolError,
    UsageError,
)
from trunkline.model import codec
from trunkline.model.audience import Audience, audience_of
from trunkline.model.channel import GLOBAL_PREFIX, check_name, check_site
from trunkline.model.message import MAX_KEY_BYTES, Receipt

MAX_BATCH: Final = 1000

_Count = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
_Seconds = Annotated[float, msgspec.Meta(gt=0, le=1e12)]
_Ids = list[Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | str]


class PublishRequest(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Be one message that a service asks to publish.

    Args:
        channel: Where to.
        data: JSON, compact.
        user_ids: Users who may receive it.
        group_ids: Groups whose members may receive it.
        client_ids: Clients that may receive it.
        exclude_user_ids: Users kept out.
        exclude_group_ids: Groups kept out.
        exclude_client_ids: Clients kept out.
        site_id: The tenant, or None.
        headers: What goes with the data.
        key: Idempotency key, scoped to the channel.
        max_backlog_size: Trim to this size at this publish.
        max_backlog_age: Trim to this age, seconds, at this publish.
    """

    channel: str
    data: msgspec.Raw
    user_ids: _Ids | None = None
    group_ids: _Ids | None = None
    client_ids: list[str] | None = None
    exclude_user_ids: _Ids | None = None
    exclude_group_ids: _Ids | None = None
    exclude_client_ids: list[str] | None = None
    site_id: str | None = None
    headers: dict[str, Any] | None = None
    key: str | None = None
    max_backlog_size: _Count | None = None
    max_backlog_age: _Seconds | None = None

    @property
    def audience(self) -> Audience | None:
        """Return who may receive it, or None for everyone on the site."""
        return audience_of(
            user_ids=self.user_ids,
            group_ids=self.group_ids,
            client_ids=self.client_ids,
            exclude_user_ids=self.exclude_user_ids,
            exclude_group_ids=self.exclude_group_ids,
            exclude_client_ids=self.exclude_client_ids,
        )

    @property
    def options(self) -> dict[str, Any]:
        """Return everything that was given besides channel and data, by name."""
        given = {name: getattr(self, name) for name in self.__struct_fields__[2:]}
        return {name: value for name, value in given.items() if value is not None}


class PublishBody(msgspec.Struct, frozen=True):
    """Be what one call asks to publish.

    Args:
        requests: The messages, in order.
        is_batch: Whether they came as a list, so that the answer is one too.
    """

    requests: list[PublishRequest]
    is_batch: bool


_PER_SITE: Final = ("user_ids", "group_ids", "exclude_user_ids", "exclude_group_ids")
_list_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_request_decoder = msgspec.json.Decoder(PublishRequest)
_encoder = msgspec.json.Encoder()
_JSON_ERRORS = (ValueError, RecursionError, msgspec.MsgspecError)


def parse_body(body: bytes, *, max_batch: int = MAX_BATCH) -> PublishBody:
    """Read the body of a publish call.

    Args:
        body: JSON: one object, or a list of them.
        max_batch: How many messages a list may have.

    Returns:
        The messages; every one has passed every check that needs no log.

    Raises:
        UsageError: The body is no JSON, or a message is wrong; the text names its index in a
            batch, and the field.
        LimitExceededError: The batch is too long.
    """
    is_batch = body.lstrip(b" \t\r\n")[:1] == b"["
    if not is_batch:
        return PublishBody([_parse_one(body)], is_batch=False)
    try:
        items = _list_decoder.decode(body)
    except _JSON_ERRORS as error:
        raise UsageError(f"the body is no JSON: {error}") from error
    if not items:
        raise InvalidMessageError("the batch is empty: send at least one message")
    if len(items) > max_batch:
        raise LimitExceededError("max_batch", max_batch, status=413)
    return PublishBody([_parse_item(index, item) for index, item in enumerate(items)], True)


def _parse_item(index: int, item: msgspec.Raw) -> PublishRequest:
    try:
        return _parse_one(item)
    except UsageError as error:
        error.args = (f"message {index} of the batch (counted from 0): {error}",)
        raise


def _parse_one(text: bytes | msgspec.Raw) -> PublishRequest:
    try:
        request = _request_decoder.decode(text)
    except msgspec.ValidationError as error:
        raise InvalidMessageError(f"this is no message: {error}") from error
    except _JSON_ERRORS as error:
        raise UsageError(f"the body is no JSON: {error}") from error
    check_name(request.channel)
    check_site(request.site_id)
    _check_target(request)
    _check_key(request.key)
    if request.headers is not None:
        codec.encode(request.headers)
    return msgspec.structs.replace(request, data=_compact(request.data))


def _check_target(request: PublishRequest) -> None:
    audience = request.audience
    if audience is None or not request.channel.startswith(GLOBAL_PREFIX):
        return
    for name in _PER_SITE:
        if getattr(audience, name) is not None:
            raise InvalidTargetError(
                f"{name} on {request.channel!r}: a global channel reaches every site, whose users "
                "and groups differ; publish to a channel of one site, or leave it out"
            )


def _check_key(key: str | None) -> None:
    if key is not None and not 1 <= len(key.encode("utf-8", "surrogatepass")) <= MAX_KEY_BYTES:
        raise InvalidMessageError(f"key: an idempotency key has 1 to {MAX_KEY_BYTES} bytes")


def _compact(data: msgspec.Raw) -> msgspec.Raw:
    """Check that data is strict JSON and drop the blanks in it, keeping numbers as written."""
    text = codec.encode(data)
    if text.isalnum():
        return msgspec.Raw(text)
    return msgspec.Raw(msgspec.json.format(text, indent=-1))


def encode_receipts(receipts: list[Receipt], *, is_batch: bool) -> bytes:
    """Write the answer to a publish call.

    Args:
        receipts: What the line returned, in order.
        is_batch: Whether the call was a batch.

    Returns:
        JSON: an object, or a list of them.
    """
    answers = [
        {
            "channel": receipt.channel.name,
            "message_id": receipt.message_id,
            "global_id": receipt.global_id,
            "position": str(receipt.position),
            "repeated": receipt.is_repeat,
        }
        for receipt in receipts
    ]
    return _encoder.encode(answers if is_batch else answers[0])


class Published(msgspec.Struct, frozen=True):
    """Be the acknowledgement of one message, as a client reads it.

    Args:
        channel: The channel's name.
        message_id: Dense per channel.
        global_id: Dense per line.
        position: The position after this message, as text.
        repeated: Whether an idempotency key found the message already there.
    """

    channel: str
    message_id: int
    global_id: int
    position: str
    repeated: bool = False


_published_decoder = msgspec.json.Decoder(Published | list[Published])


def encode_body(requests: list[PublishRequest], *, is_batch: bool) -> bytes:
    """Write the body of a publish call, for clients.

    Args:
        requests: The messages; a call that is no batch has one.
        is_batch: Whether to send a list.

    Returns:
        JSON.
    """
    return _encoder.encode(requests if is_batch else requests[0])


def decode_receipts(body: bytes) -> list[Published]:
    """Read the answer to a publish call, for clients.

    Args:
        body: The response's body.

    Returns:
        The acknowledgements, in order; of a single message a list of one.

    Raises:
        ProtocolError: The body is no such answer.
    """
    try:
        answer = _published_decoder.decode(body)
    except _JSON_ERRORS as error:
        raise ProtocolError(f"this is no answer to a publish: {error}") from error
    return answer if isinstance(answer, list) else [answer]
