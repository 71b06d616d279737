"""Messages and channels as the native layout's bytes, both ways."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from trunkline.errors import LogCorruptError
from trunkline.log.port import ChannelState
from trunkline.model.channel import ChannelKey, Kind
from trunkline.model.message import Draft, Record

#: Length of the channel's text, of the audience, of the headers.
_LENGTHS: Final = struct.Struct(">HII")
#: The script puts this behind: message id, time, and some of the global id.
_TAIL: Final = struct.Struct(">ddH")
#: Lua hashes a long string by its last byte and every so many before it; without a last byte that
#: differs, messages that look alike would make it walk through all of them for each.
SALTS: Final = [bytes((number,)) for number in range(256)]
_STATE: Final = struct.Struct(">ddddddd")
_NONE: Final = 0xFFFFFFFF
MAX_NAMES: Final = 50_000


class StoredState(NamedTuple):
    """Be what a channel's packed state says."""

    last_id: int
    floor: int
    floor_global: int
    erased: int
    published_at: float
    oldest_at: float


def text_of(key: ChannelKey) -> str:
    """Return the text that stands for a channel in the server, ordered as (site, name)."""
    return f"{key.site_id or ''}\0{key.name}"


def key_of(text: bytes) -> ChannelKey:
    """Return the channel that a text stands for."""
    site, _, name = text.decode().partition("\0")
    return ChannelKey(name, site or None)


def pack_front(draft: Draft, text: str) -> bytes:
    """Pack what stands before a message's data; what follows it is one of ``SALTS``.

    Args:
        draft: The message.
        text: Its channel's text.
    """
    audience, headers = draft.audience, draft.headers
    name = text.encode()
    lengths = _LENGTHS.pack(
        len(name),
        _NONE if audience is None else len(audience),
        _NONE if headers is None else len(headers),
    )
    return b"".join((lengths, name, audience or b"", headers or b""))


class Fronts:
    """Remember, from turn to turn, what stands before the data of channels' plain messages."""

    def __init__(self) -> None:
        self._found: dict[ChannelKey, tuple[str, bytes]] = {}

    def get(self, channel: ChannelKey) -> tuple[str, bytes] | None:
        """Return a channel's text and what stands before its data, if remembered."""
        return self._found.get(channel)

    def add(self, draft: Draft) -> tuple[str, bytes]:
        """Remember them from a draft without audience and headers, and return them."""
        if len(self._found) >= MAX_NAMES:
            self._found.clear()
        text = text_of(draft.channel)
        found = self._found[draft.channel] = (text, pack_front(draft, text))
        return found


class Unpacker:
    """Unpack messages; remembers the channels' names."""

    def __init__(self) -> None:
        self._keys: dict[bytes, ChannelKey] = {}

    def records(self, pairs: Sequence[Any]) -> Iterator[Record]:
        """Unpack a reply's pairs of global id and value."""
        for i in range(0, len(pairs), 2):
            yield self._record(pairs[i], pairs[i + 1])

    def _record(self, global_id: int, value: bytes) -> Record:
        try:
            text_size, audience_size, headers_size = _LENGTHS.unpack_from(value)
            message_id, at, _ = _TAIL.unpack_from(value, len(value) - _TAIL.size)
        except struct.error as error:
            raise LogCorruptError(f"message {global_id} is no message of ours: {error}") from error
        end = _LENGTHS.size + text_size
        key = self._key(value[_LENGTHS.size : end])
        audience = headers = None
        if audience_size != _NONE:
            audience = value[end : end + audience_size]
            end += audience_size
        if headers_size != _NONE:
            headers = value[end : end + headers_size]
            end += headers_size
        data = value[end : -_TAIL.size - 1]
        return Record(key, int(message_id), global_id, at, data, audience, headers)

    def _key(self, text: bytes) -> ChannelKey:
        key = self._keys.get(text)
        if key is None:
            if len(self._keys) >= MAX_NAMES:
                self._keys.clear()
            key = self._keys[text] = key_of(text)
        return key


def unpack_state(state: bytes) -> StoredState:
    """Unpack a channel's state."""
    last_id, floor, floor_global, erased, published_at, oldest_at, _ = _STATE.unpack_from(state)
    return StoredState(
        int(last_id), int(floor), int(floor_global), int(erased), published_at, oldest_at
    )


def channel_state(text: bytes, state: bytes) -> ChannelState:
    """Describe a channel for operators."""
    found = unpack_state(state)
    return ChannelState(key_of(text), Kind.PLAIN, found.last_id, found.floor, found.published_at)
