"""Where a poller stands: one message id per channel, as message_bus's protocol counts them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trunkline.channels.catchup import Gap
from trunkline.model.message import Message
from trunkline.model.position import Position
from trunkline.wire.poll_reply import GAP_CHANNEL, STATUS_CHANNEL, PollMessage

NO_EPOCH = ""


class PollCursor:
    """Follow message ids per channel through the answers of a poll.

    An id is taken once. Only a status or gap message may set an id back, for then the channel
    was reset; a status that lags behind messages of its own answer does not.

    Args:
        ids: Channel to the id it was read up to; negative as in the protocol.
    """

    def __init__(self, ids: Mapping[str, int]) -> None:
        self._ids = dict(ids)
        self._fresh: set[str] = set()

    @property
    def ids(self) -> dict[str, int]:
        """Return the positions for the next request."""
        return dict(self._ids)

    def knows(self, channel: str) -> bool:
        """Tell whether a channel is followed."""
        return channel in self._ids

    def add(self, channel: str, message_id: int) -> None:
        """Follow a channel from an id on."""
        self._ids[channel] = message_id

    def remove(self, channel: str) -> None:
        """Stop following a channel."""
        self._ids.pop(channel, None)

    def begin_answer(self, answer: Iterable[PollMessage]) -> list[Gap]:
        """Prepare for an answer or block, and take the gap messages in it.

        Returns:
            The gaps of channels that are followed.
        """
        self._fresh.clear()
        gaps = []
        for message in answer:
            if message.channel == GAP_CHANNEL and isinstance(message.data, dict):
                gaps += [self._lose(*one) for one in message.data.items() if self.knows(one[0])]
        return [gap for gap in gaps if gap is not None]

    def _lose(self, channel: str, told: Any) -> Gap | None:
        if not isinstance(told, dict) or not isinstance(told.get("floor"), int):
            return None
        reason = "reset" if told.get("reason") == "reset" else "trimmed"
        floor, after = told["floor"], self._ids[channel]
        if reason == "trimmed" and floor <= after:
            return None
        self._ids[channel] = floor
        self._fresh.add(channel)
        return Gap(reason, max(after, 0), Position(NO_EPOCH, floor), floor)

    def accept(self, message: PollMessage) -> bool:
        """Take a message's id; tell whether the message is wanted and was not seen before."""
        at = self._ids.get(message.channel)
        if at is None or message.message_id <= max(at, -1):
            return False
        self._ids[message.channel] = message.message_id
        self._fresh.add(message.channel)
        return True

    def take_status(self, message: PollMessage) -> list[Gap]:
        """Take a status message, which stands last in an answer.

        Returns:
            A gap for each channel that was reset without a gap message.
        """
        gaps: list[Gap] = []
        if message.channel != STATUS_CHANNEL or not isinstance(message.data, dict):
            return gaps
        for channel, last in message.data.items():
            at = self._ids.get(channel)
            if at is None or not isinstance(last, int) or isinstance(last, bool):
                continue
            if channel in self._fresh:
                self._ids[channel] = max(at, last)
                continue
            self._ids[channel] = last
            if 0 <= last < at:
                gaps.append(Gap("reset", at, Position(NO_EPOCH, last), last))
        return gaps

    def before(self, buffered: Iterable[Any]) -> dict[str, int]:
        """Return the ids as they stood before some messages that nobody has read yet."""
        ids = dict(self._ids)
        for item in buffered:
            if isinstance(item, Message) and item.message_id <= ids.get(item.channel, -1):
                ids[item.channel] = item.message_id - 1
        return ids


def poll_message(carried: PollMessage) -> Message:
    """Return a message as readers see it; the protocol tells neither epoch nor time nor headers."""
    return Message(
        channel=carried.channel,
        site_id=None,
        message_id=carried.message_id,
        global_id=carried.global_id,
        position=Position(NO_EPOCH, carried.global_id),
        published_at=0.0,
        data=carried.data,
        audience=None,
        headers={},
    )
