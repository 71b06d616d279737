"""Messages: as a publisher drafts them, as a log keeps them, as a reader sees them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import msgspec

from trunkline.errors import MessageTooLargeError
from trunkline.model import codec
from trunkline.model.audience import Audience
from trunkline.model.channel import ChannelKey, Kind
from trunkline.model.position import Position

MAX_MESSAGE_BYTES = 1024 * 1024
MAX_KEY_BYTES = 255

_audience_decoder = msgspec.json.Decoder(Audience)


class Limits(msgspec.Struct, frozen=True):
    """Bound a plain channel's backlog; None means no bound of that sort.

    Args:
        max_backlog_size: Messages kept.
        max_backlog_age: Seconds a message is kept, counted per message.
        max_idle: Seconds without a publish after which the whole backlog goes.
        clear_every: Trim by size only at every n-th id of the channel.
    """

    max_backlog_size: int | None = 1000
    max_backlog_age: float | None = 7 * 86400.0
    max_idle: float | None = None
    clear_every: int = 1


class Draft(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Be a message on its way into a log: encoded, checked, without ids.

    Args:
        channel: Where to.
        data: JSON.
        audience: JSON of an :class:`Audience`, or None for everyone on the site.
        headers: JSON object, or None.
        kind: What the channel must be, or becomes with its first append.
        expected_version: The id the channel must be at, or None; streams must say it.
        key: Idempotency key, scoped to the channel.
        max_backlog_size: Trim to this size at this append, unless the channel has own settings.
        max_backlog_age: Trim to this age, seconds, at this append, likewise.
    """

    channel: ChannelKey
    data: bytes
    audience: bytes | None = None
    headers: bytes | None = None
    kind: Kind = Kind.PLAIN
    expected_version: int | None = None
    key: str | None = None
    max_backlog_size: int | None = None
    max_backlog_age: float | None = None

    @property
    def size(self) -> int:
        """Count the bytes that the size limit counts."""
        return len(self.data) + len(self.audience or b"") + len(self.headers or b"")

    def check_size(self) -> Self:
        """Return the draft, or raise when it is over the limit.

        Raises:
            MessageTooLargeError: It has more than ``MAX_MESSAGE_BYTES``.
        """
        if self.size > MAX_MESSAGE_BYTES:
            raise MessageTooLargeError(self.size, MAX_MESSAGE_BYTES)
        return self


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """Acknowledge an append: the message is durable under these ids.

    Args:
        channel: Where it went.
        message_id: Dense per channel.
        global_id: Dense per line.
        epoch: The line's epoch.
        is_repeat: Whether an idempotency key found the message already there.
    """

    channel: ChannelKey
    message_id: int
    global_id: int
    epoch: str
    is_repeat: bool = False

    @property
    def position(self) -> Position:
        """Return the position right after this message."""
        return Position(self.epoch, self.global_id)


class Record(msgspec.Struct, frozen=True, gc=False):
    """Be a message as a log keeps it, undecoded.

    Args:
        channel: Its channel.
        message_id: Dense per channel.
        global_id: Dense per line.
        published_at: Unix seconds, never decreasing along the line.
        data: JSON.
        audience: JSON of an :class:`Audience`, or None.
        headers: JSON object, or None.
    """

    channel: ChannelKey
    message_id: int
    global_id: int
    published_at: float
    data: bytes
    audience: bytes | None = None
    headers: bytes | None = None


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """Be a message as a reader sees it.

    Args:
        channel: The channel's name.
        site_id: Its tenant, or None.
        message_id: Dense per channel.
        global_id: Dense per line.
        position: Where a reader that has seen this message stands.
        published_at: Unix seconds.
        data: The decoded value.
        audience: Who may receive it, or None for everyone on the site.
        headers: What the publisher added.
    """

    channel: str
    site_id: str | None
    message_id: int
    global_id: int
    position: Position
    published_at: float
    data: Any
    audience: Audience | None
    headers: Mapping[str, Any]

    @property
    def user_ids(self) -> tuple[str | int, ...] | None:
        """Return the users it is for, or None when users do not restrict it."""
        return self.audience.user_ids if self.audience else None

    @property
    def group_ids(self) -> tuple[str | int, ...] | None:
        """Return the groups it is for, or None when groups do not restrict it."""
        return self.audience.group_ids if self.audience else None

    @property
    def client_ids(self) -> tuple[str, ...] | None:
        """Return the clients it is for, or None when clients do not restrict it."""
        return self.audience.client_ids if self.audience else None


def decode_audience(text: bytes | None) -> Audience | None:
    """Return the audience that a record carries as JSON, or None."""
    return None if text is None else _audience_decoder.decode(text)


def message_of(record: Record, epoch: str) -> Message:
    """Decode a record.

    Args:
        record: As a log returned it.
        epoch: The epoch of the page it came with.

    Returns:
        The message that readers see.
    """
    return Message(
        channel=record.channel.name,
        site_id=record.channel.site_id,
        message_id=record.message_id,
        global_id=record.global_id,
        position=Position(epoch, record.global_id),
        published_at=record.published_at,
        data=codec.decode(record.data),
        audience=decode_audience(record.audience),
        headers=codec.decode(record.headers) if record.headers else {},
    )
