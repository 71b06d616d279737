"""A stretch of the line, framed: what lies between two positions, for all who stand at the first.

Where everybody may see everything, the stretch is one payload that connections share. Otherwise
each connection gets the frames of what it may see.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from trunkline.channels.ring import Entry
from trunkline.gateway.framing import Framing, Payload
from trunkline.model.position import Position

if TYPE_CHECKING:
    from trunkline.gateway.connection import Connection

#: The most bytes of messages in one write, which a client that stops reading makes us keep; a
#: single larger message is written by itself.
MAX_BYTES: Final = 64 * 1024


class Stretch:
    """Be what lies before a position.

    Args:
        entries: The messages, ascending.
        end: Where a connection stands after them.
        framing: How they are written.
        is_guarded: Whether each connection must be asked about each message, public or not.

    Attributes:
        payload: The bytes for everybody, empty when there is nothing; None when every
            connection gets its own.
        has_more: Whether more lies in memory behind it.
    """

    __slots__ = ("_framing", "end", "entries", "has_more", "payload")

    def __init__(
        self, entries: Sequence[Entry], end: Position, framing: Framing, *, is_guarded: bool
    ) -> None:
        self.entries = entries
        self.end = end
        self.has_more = False
        self._framing = framing
        self.payload: Payload | None = None
        if not entries:
            self.payload = b""
        elif not is_guarded and all(entry.is_public for entry in entries):
            self.payload = framing.join([frame_of(entry, framing) for entry in entries])

    def tell(self, connection: Connection) -> str | None:
        """Write to a connection what it may see, and move it.

        Args:
            connection: One that stands before the stretch and is writable.

        Returns:
            None, or the channel about which access must be asked before it can go on.
        """
        if self.payload is not None:
            if self.payload:
                connection.sink.write(self.payload)
            connection.move_to(self.end)
            return None
        return self._tell_selected(connection)

    def _tell_selected(self, connection: Connection) -> str | None:
        frames: list[bytes] = []
        unsure: Entry | None = None
        end = self.end
        for entry in self.entries:
            verdict = connection.admits(entry)
            if verdict is None:
                unsure, end = entry, Position(entry.epoch, entry.global_id - 1)
                break
            if verdict:
                frames.append(frame_of(entry, self._framing))
        connection.write(frames)
        if connection.position is None or end.global_id > connection.position.global_id:
            connection.move_to(end)
        return None if unsure is None else unsure.key.name


def frame_of(entry: Entry, framing: Framing) -> bytes:
    """Return a message's frame, made once for all connections of the framing."""
    frame = entry.frames.get(framing.name)
    if frame is None:
        frame = entry.frames[framing.name] = framing.message(entry.record, entry.epoch)
    return frame


def within_bytes(entries: Sequence[Entry], limit: int = MAX_BYTES) -> int:
    """Count how many of the first entries fit into one write; at least one."""
    size = 0
    for index, entry in enumerate(entries):
        size += len(entry.record.data)
        if size > limit and index:
            return index
    return len(entries)


def cut(
    entries: Sequence[Entry], end: Position, framing: Framing, *, is_guarded: bool
) -> list[Stretch]:
    """Cut messages into stretches of one write each.

    Args:
        entries: The messages, ascending.
        end: Where a connection stands after all of them.
        framing: How they are written.
        is_guarded: As for :class:`Stretch`.

    Returns:
        The stretches; an empty one when there are no messages.
    """
    pieces: list[Stretch] = []
    while True:
        count = within_bytes(entries)
        piece, entries = entries[:count], entries[count:]
        upto = Position(piece[-1].epoch, piece[-1].global_id) if entries else end
        pieces.append(Stretch(piece, upto, framing, is_guarded=is_guarded))
        if not entries:
            return pieces
