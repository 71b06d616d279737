"""message_bus's bytes: the envelope, the stored text, and names with their site.

The format is message_bus's own (Ruby, github.com/discourse/message_bus), as observed on its
Redis backend: ``global_id|message_id|channel|envelope`` with ``|`` in the channel written as
``$$123$$``, and an envelope of four keys in a fixed order.
"""

from __future__ import annotations

from typing import Final

import msgspec

from trunkline.errors import InvalidMessageError, ProtocolError
from trunkline.model.channel import SITE_SEPARATOR, ChannelKey
from trunkline.model.message import Draft, Record

PIPE: Final = "$$123$$"
#: Ruby keeps no time, and no place is left for one.
NO_TIME: Final = 0.0

_raw_lists = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NULL: Final = msgspec.Raw(b"null")
_LISTS: Final = ("user_ids", "group_ids", "client_ids")


class _Envelope(msgspec.Struct):
    data: msgspec.Raw
    user_ids: list[str | int] | None = None
    group_ids: list[str | int] | None = None
    client_ids: list[str] | None = None


_envelope_decoder = msgspec.json.Decoder(_Envelope)


def encode_name(key: ChannelKey) -> str:
    """Return a channel's name as the keys have it: with its site behind it."""
    return key.name if key.site_id is None else f"{key.name}{SITE_SEPARATOR}{key.site_id}"


def decode_name(name: str) -> ChannelKey:
    """Return the channel that a name with its site stands for."""
    channel, separator, site = name.partition(SITE_SEPARATOR)
    return ChannelKey(channel, site if separator and site else None)


def escape_name(name: str) -> str:
    """Write a name as it stands inside a stored message."""
    return name.replace("|", PIPE)


def encode_envelope(draft: Draft) -> bytes:
    """Encode what Ruby finds behind the third pipe.

    Args:
        draft: The message.

    Raises:
        InvalidMessageError: Ruby would deliver it wrongly: it has exclusions, headers or an
            expected version, or a name that Ruby would read as another.
    """
    if draft.headers is not None:
        raise _unknown_to_ruby(draft, "headers", "put them into the data")
    if draft.expected_version is not None:
        raise _unknown_to_ruby(draft, "expected versions", "its counters expire")
    if PIPE in draft.channel.name or PIPE in (draft.channel.site_id or ""):
        raise InvalidMessageError(
            f"{draft.channel} contains {PIPE!r}, which Ruby's message_bus reads as a pipe"
        )
    lists: dict[str, msgspec.Raw] = {}
    if draft.audience is not None:
        lists = _raw_lists.decode(draft.audience)
        for name in lists:
            if name not in _LISTS:
                raise _unknown_to_ruby(draft, name, "it would reach those kept out")
    users, groups, clients = (bytes(lists.get(name, _NULL)) for name in _LISTS)
    return b'{"data":%b,"user_ids":%b,"group_ids":%b,"client_ids":%b}' % (
        draft.data,
        users,
        groups,
        clients,
    )


def _unknown_to_ruby(draft: Draft, what: str, why: str) -> InvalidMessageError:
    return InvalidMessageError(
        f"a message on {draft.channel} cannot carry {what} on layout=message_bus, for Ruby's "
        f"message_bus does not know them: {why}, or use the native layout"
    )


def decode_text(text: bytes) -> Record:
    """Decode a stored message.

    Args:
        text: ``global_id|message_id|channel|envelope``.

    Raises:
        ProtocolError: It is none, or its envelope is no strict JSON of the known shape.
    """
    try:
        global_id, message_id, name, envelope = text.split(b"|", 3)
        found = _envelope_decoder.decode(envelope)
        key = decode_name(name.decode().replace(PIPE, "|"))
        ids = int(message_id), int(global_id)
    except (ValueError, msgspec.MsgspecError) as error:
        raise ProtocolError(f"{text[:80]!r} is no message of message_bus: {error}") from error
    return Record(key, *ids, NO_TIME, bytes(found.data), _audience(found))


def _audience(found: _Envelope) -> bytes | None:
    # A list that is empty restricts nothing, once it is stored.
    lists = {name: ids for name in _LISTS if (ids := getattr(found, name))}
    return msgspec.json.encode(lists) if lists else None
