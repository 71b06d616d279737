"""What a writer to NATS knows of its channels, and when it goes on after others' messages."""

from __future__ import annotations

from trunkline.log.nats.envelope import Sheet
from trunkline.log.nats.era import Era
from trunkline.model.channel import ChannelKey

A, B = ChannelKey("/a"), ChannelKey("/b")


def _era() -> Era:
    return Era("epoch", "token", stream="stream", subjects="tl.")


def _sheet(seq: int, message_id: int) -> Sheet:
    return Sheet(seq, message_id, seq - 1, 1.0, 0, 0, 1.0, 0.0, -1, -1, b"name", 0)


def test_who_waits_for_another_writer_goes_on_at_the_end_of_its_batch() -> None:
    """Amid the batch the condition would be refused for the rest of it."""
    era = _era()
    entry = era.admit(A, _sheet(1, 1))
    moves: list[int] = []
    entry.moved = lambda: moves.append(entry.last_seq)

    era.hear(A, _sheet(2, 2), is_end=False)
    assert entry.is_amid
    era.hear(A, _sheet(3, 3), is_end=False)
    assert not moves
    era.hear(A, _sheet(4, 4))

    assert moves == [4]
    assert not entry.is_amid


def test_a_batch_that_ends_on_another_channel_ends_on_all_of_its_channels() -> None:
    """Only its last message says that it is over."""
    era = _era()
    entry = era.admit(A, _sheet(1, 1))
    era.admit(B, None)
    moves: list[int] = []
    entry.moved = lambda: moves.append(entry.last_seq)

    era.hear(A, _sheet(2, 2), is_end=False)
    era.hear(B, _sheet(3, 1))

    assert moves == [2]


def test_what_is_known_already_moves_nobody() -> None:
    """A writer hears its own messages too."""
    era = _era()
    entry = era.admit(A, _sheet(5, 3))
    moves: list[int] = []
    entry.moved = lambda: moves.append(entry.last_seq)

    era.hear(A, _sheet(5, 3))
    era.hear(A, _sheet(4, 2))

    assert not moves
