"""What the messages of a cache's channel add up to: a pure function of the log, on every process.

A cache is the fold of its channel: the last write in the log's order wins, everywhere. From time to
time a process writes down the whole of it, as a snapshot, so that those who come after older
messages are gone need only what is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import msgspec

Value = Any


class Entry(NamedTuple):
    """Be a value and when it ends.

    Args:
        value: A JSON value.
        until: Unix seconds, or None for never.
    """

    value: Value
    until: float | None = None

    def holds(self, now: float) -> bool:
        """Tell whether it has not ended yet."""
        return self.until is None or now < self.until


class Set(msgspec.Struct, frozen=True, tag_field="op", tag="set", omit_defaults=True):
    """Give a key a value, until a time."""

    key: str
    value: Value
    until: float | None = None


class Delete(msgspec.Struct, frozen=True, tag_field="op", tag="delete"):
    """Take a key out."""

    key: str


class Clear(msgspec.Struct, frozen=True, tag_field="op", tag="clear"):
    """Take all keys out."""


class Ask(msgspec.Struct, frozen=True, tag_field="op", tag="ask"):
    """Ask whoever knows the whole for a snapshot."""


class Snapshot(msgspec.Struct, frozen=True, tag_field="op", tag="snapshot"):
    """Be a part of the whole, as it was after a message.

    Args:
        mark: Tells the parts of one snapshot from others'.
        upto: Message id of the last change that it has.
        part: Its number, from 0.
        of: How many parts there are.
        entries: Values and ends by key.
    """

    mark: str
    upto: int
    part: int
    of: int
    entries: dict[str, tuple[Value, float | None]]


Change = Set | Delete | Clear
Op = Set | Delete | Clear | Ask | Snapshot
Effect = Literal["changed", "asked", "snapshot", "none"]


class CacheState:
    """Fold a channel's messages, from wherever they are kept on.

    Attributes:
        upto: Message id of the last message taken.
        is_complete: Whether it is the whole, not only what was changed lately.
        snapshot_id: Message id of the last part of the newest snapshot, 0 for none.
    """

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self.begin(0)

    def begin(self, floor: int) -> None:
        """Begin anew.

        Args:
            floor: Message id up to which messages are gone.
        """
        self._entries.clear()
        self._floor = self.upto = floor
        self.is_complete = not floor
        self.snapshot_id = 0
        self._tail: list[tuple[int, Change]] = []
        self._parts: dict[str, dict[int, Snapshot]] = {}

    def take(self, message_id: int, op: Op) -> Effect:
        """Take the next message; one that was taken before has no effect.

        Args:
            message_id: Its id.
            op: What it says.
        """
        if message_id <= self.upto:
            return "none"
        self.upto = message_id
        if isinstance(op, Ask):
            return "asked"
        if isinstance(op, Snapshot):
            return self._take_part(message_id, op)
        if not self.is_complete:
            self._tail.append((message_id, op))
        self.change(op)
        return "changed"

    def accept(self) -> None:
        """Take what there is for the whole: nobody knows more."""
        self.is_complete = True
        self._tail.clear()

    def change(self, op: Change) -> None:
        """Make a change, without a message behind it."""
        if isinstance(op, Set):
            self._entries[op.key] = Entry(op.value, op.until)
        elif isinstance(op, Delete):
            self._entries.pop(op.key, None)
        else:
            self._entries.clear()

    def _take_part(self, message_id: int, part: Snapshot) -> Effect:
        parts = self._parts.setdefault(part.mark, {})
        parts[part.part] = part
        if len(parts) < part.of:
            return "none"
        del self._parts[part.mark]
        self.snapshot_id = message_id
        if not self.is_complete and part.upto >= self._floor:
            self._entries = {
                key: Entry(*entry) for one in parts.values() for key, entry in one.entries.items()
            }
            tail = [op for at, op in self._tail if at > part.upto]
            self.accept()
            for op in tail:
                self.change(op)
        return "snapshot"

    def get(self, key: str, now: float) -> Entry | None:
        """Return a key's entry, or None when it has none or it has ended."""
        entry = self._entries.get(key)
        return entry if entry is not None and entry.holds(now) else None

    def items(self, now: float) -> Iterator[tuple[str, Entry]]:
        """Yield the entries that have not ended."""
        return ((key, one) for key, one in list(self._entries.items()) if one.holds(now))

    def snapshot(self, mark: str, now: float, part_size: int) -> list[Snapshot]:
        """Write down the whole.

        Args:
            mark: Tells it from others.
            now: What has ended by then is left out, and forgotten.
            part_size: Bytes of JSON in a part, about.
        """
        self._entries = dict(self.items(now))
        parts: list[dict[str, tuple[Value, float | None]]] = [{}]
        size = 0
        for key, entry in self._entries.items():
            size += len(msgspec.json.encode(entry.value)) + len(key) * 2 + 32
            if size > part_size and parts[-1]:
                parts.append({})
                size = 0
            parts[-1][key] = (entry.value, entry.until)
        return [
            Snapshot(mark=mark, upto=self.upto, part=at, of=len(parts), entries=entries)
            for at, entries in enumerate(parts)
        ]


_decoder = msgspec.json.Decoder(Op)


def op_of(data: bytes) -> Op:
    """Decode a message of a cache's channel.

    Raises:
        msgspec.MsgspecError: It is none of ours.
    """
    found: Op = _decoder.decode(data)
    return found


def as_data(op: Op) -> Mapping[str, Any]:
    """Return an operation as a JSON value."""
    found: Mapping[str, Any] = msgspec.to_builtins(op)
    return found
