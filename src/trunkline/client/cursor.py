"""Where a subscription stands on the line: what it takes, what it drops, what it has lost.

A cursor is plain bookkeeping. It lets every message through exactly once over any number of
connections, and it turns a change of epoch that nobody announced into a gap.
"""

from __future__ import annotations

from trunkline.channels.catchup import Gap
from trunkline.errors import GrammarError, ProtocolError
from trunkline.model.message import Message
from trunkline.model.position import Position, parse_position
from trunkline.wire.message import WireMessage
from trunkline.wire.pushes import Pushed
from trunkline.wire.start import Edge, Start

Carried = WireMessage | Pushed


class Cursor:
    """Follow a subscription's position.

    With *last*, the newest messages of each channel come first, channel by channel; until they
    are through, message ids per channel tell what was seen. A connection lost within them asks
    for the newest ones again, drops what was seen, and tells a gap if they don't reach back.

    Args:
        start: Where to begin.
        last: Begin with so many of the newest messages of each channel instead.
    """

    def __init__(self, start: Start = Edge.NOW, *, last: int | None = None) -> None:
        self.start = start
        self.last = last
        self._epoch: str | None = start.epoch if isinstance(start, Position) else None
        self._mark: Position | None = None
        self._seen: dict[str, int] = {}
        self._unchecked: set[str] = set()

    @property
    def position(self) -> Position | None:
        """Return where the subscription stands, or None before that is known."""
        return self.start if isinstance(self.start, Position) else None

    def begin(self, position: Position) -> Gap | None:
        """Take the position from which a connection starts reading.

        Returns:
            A gap, when the connection is on another epoch than the subscription was.
        """
        if self.last is not None:
            self._mark = position
            self._unchecked = set(self._seen)
            lost = bool(self._seen) and self._is_other(position)
            if lost:
                self._seen.clear()
            self._epoch = position.epoch
            return _gap("reset", 0, position) if lost else None
        if self.start is Edge.NOW:
            self._stand(position)
        elif self.start is Edge.OLDEST:
            self._epoch = position.epoch
        return None

    def take(self, carried: Carried) -> list[Message | Gap]:
        """Take a message.

        Returns:
            What to deliver: nothing if it was seen before; a gap before it if some are missing.

        Raises:
            ProtocolError: No position was told before it.
        """
        if self._epoch is None:
            raise ProtocolError("the server sent a message before any position")
        place = Position(self._epoch, carried.global_id)
        if self.last is not None:
            return self._take_unsettled(carried, place)
        current = self.position
        if current is not None and carried.global_id <= current.global_id:
            return []
        self._stand(place)
        return [_message(carried, place)]

    def _take_unsettled(self, carried: Carried, place: Position) -> list[Message | Gap]:
        if self._mark is not None and carried.global_id > self._mark.global_id:
            self.settle(self._mark)
            return self.take(carried)
        seen = self._seen.get(carried.channel, 0)
        if carried.message_id <= seen:
            self._unchecked.discard(carried.channel)
            return []
        delivered: list[Message | Gap] = []
        if carried.channel in self._unchecked and carried.message_id > seen + 1:
            before = Position(place.epoch, place.global_id - 1)
            delivered.append(_gap("trimmed", max(0, before.global_id - 1), before))
        self._unchecked.discard(carried.channel)
        self._seen[carried.channel] = carried.message_id
        return [*delivered, _message(carried, place)]

    def move(self, position: Position) -> Gap | None:
        """Take a position that the server says the subscription has reached.

        Returns:
            A gap, when the position is of another epoch and nobody announced it.
        """
        if self.last is not None:
            if self._mark is not None and position.global_id >= self._mark.global_id:
                self.settle(position)
            return None
        current = self.position
        if self._is_other(position):
            self._stand(position)
            return _gap("reset", current.global_id if current else 0, position)
        if current is None or position.global_id > current.global_id:
            self._stand(position)
        return None

    def settle(self, position: Position) -> None:
        """Note that the backlog is through up to a position; from here on positions decide."""
        if self.last is None and self.position is not None:
            return
        self.last = None
        self._seen.clear()
        self._unchecked.clear()
        self._stand(position)

    def lose(self, reason: str, position: Position) -> Gap | None:
        """Take a gap that the server told; its position is where reading goes on.

        Returns:
            The gap to deliver, or None when the subscription stands beyond it already.
        """
        current = self.position
        after = current.global_id if current else 0
        if current and current.epoch == position.epoch and after > position.global_id:
            return None
        self.last = None
        self._stand(position)
        return _gap(reason, after, position)

    def _is_other(self, position: Position) -> bool:
        return self._epoch is not None and self._epoch != position.epoch

    def _stand(self, position: Position) -> None:
        self._epoch = position.epoch
        self.start = position


def position_in(text: str) -> Position:
    """Read a position that a server told.

    Raises:
        ProtocolError: It is none.
    """
    try:
        position = parse_position(text)
    except GrammarError as error:
        raise ProtocolError(f"the server told a position that is none: {error}") from error
    if position is None:
        raise ProtocolError("the server told the position 0, which has no epoch")
    return position


def _gap(reason: str, after: int, position: Position) -> Gap:
    # Our protocols do not tell the floor: what is known to be lost lies before the position.
    return Gap(reason, after, position, position.global_id)


def _message(carried: Carried, place: Position) -> Message:
    return Message(
        channel=carried.channel,
        site_id=None,
        message_id=carried.message_id,
        global_id=carried.global_id,
        position=place,
        published_at=carried.published_at,
        data=carried.data,
        audience=None,
        headers=carried.headers,
    )
