"""The cursor lets each message through once and in order, and never hides a loss."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.channels.catchup import Gap
from trunkline.client.cursor import Cursor, position_in
from trunkline.errors import ProtocolError
from trunkline.model.message import Message
from trunkline.model.position import Position
from trunkline.wire.message import WireMessage
from trunkline.wire.start import Edge


def message(number: int, channel: str = "/a", message_id: int | None = None) -> WireMessage:
    return WireMessage(
        channel=channel,
        message_id=message_id or number,
        global_id=number,
        published_at=0.0,
        data=number,
    )


def numbers(items: list[Message | Gap]) -> list[int]:
    return [one.global_id for one in items if isinstance(one, Message)]


@given(st.integers(0, 30), st.lists(st.integers(0, 30), max_size=20), st.booleans())
def test_any_number_of_connections_gives_everything_once(
    start: int, cuts: list[int], moves: bool
) -> None:
    cursor, got = Cursor(Position("e", start)), []
    for cut in [*cuts, 30]:
        assert cursor.position is not None
        at = cursor.position.global_id
        assert cursor.begin(Position("e", at)) is None
        for number in range(max(1, at - 2), max(at, cut) + 1):  # servers may repeat some
            got += numbers(cursor.take(message(number)))
        if moves:
            assert cursor.move(Position("e", max(at, cut))) is None
    assert got == list(range(start + 1, 31))


@given(st.data())
def test_last_gives_everything_once_over_connections_cut_anywhere(data: st.DataObject) -> None:
    """With a window that always reaches back, in whatever order its channels come."""
    line = [(number, "/" + "ab"[number % 2], (number + 1) // 2) for number in range(1, 21)]
    cursor, got = Cursor(last=50), []
    for _ in range(data.draw(st.integers(0, 4))):
        order = data.draw(st.permutations(["/a", "/b"]))
        window = [one for name in order for one in line if one[1] == name]
        cut = data.draw(st.integers(0, len(line)))
        cursor.begin(Position("e", 20))
        for number, channel, message_id in window[:cut]:
            got += numbers(cursor.take(message(number, channel, message_id)))
    cursor.begin(Position("e", 20))
    for number, channel, message_id in line:
        got += numbers(cursor.take(message(number, channel, message_id)))
    cursor.settle(Position("e", 20))
    got += numbers(cursor.take(message(21)))
    assert sorted(got) == list(range(1, 22))
    for parity in (0, 1):
        of_one_channel = [number for number in got if number % 2 == parity]
        assert of_one_channel == sorted(of_one_channel)
    assert cursor.position == Position("e", 21)


def test_now_is_pinned_by_the_first_position() -> None:
    cursor = Cursor()
    assert cursor.position is None
    cursor.begin(Position("e", 7))
    cursor.begin(Position("e", 9))
    assert cursor.position == Position("e", 7)


def test_the_oldest_stays_the_oldest_until_something_came() -> None:
    cursor = Cursor(Edge.OLDEST)
    cursor.begin(Position("e", 3))
    assert cursor.start is Edge.OLDEST
    cursor.begin(Position("f", 0))  # the line was reset before anything was seen
    (first,) = cursor.take(message(1))
    assert isinstance(first, Message)
    assert first.position == Position("f", 1)


def test_a_message_before_any_position_is_refused() -> None:
    with pytest.raises(ProtocolError):
        Cursor().take(message(1))


def test_positions_only_go_forward() -> None:
    cursor = Cursor(Position("e", 7))
    assert cursor.move(Position("e", 5)) is None
    assert cursor.position == Position("e", 7)


def test_a_gap_beyond_which_it_stands_is_none() -> None:
    cursor = Cursor(Position("e", 7))
    assert cursor.lose("trimmed", Position("e", 6)) is None
    assert cursor.lose("trimmed", Position("e", 7)) == Gap("trimmed", 7, Position("e", 7), 7)
    assert cursor.lose("trimmed", Position("e", 8)) == Gap("trimmed", 7, Position("e", 8), 8)
    assert cursor.lose("reset", Position("f", 0)) == Gap("reset", 8, Position("f", 0))
    assert numbers(cursor.take(message(1))) == [1]


def test_a_foreign_epoch_without_a_gap_is_told() -> None:
    cursor = Cursor(Position("e", 7))
    assert cursor.move(Position("f", 3)) == Gap("reset", 7, Position("f", 3), 3)
    lost = Cursor(last=3)
    lost.begin(Position("e", 9))
    lost.take(message(9))
    assert lost.begin(Position("f", 9)) == Gap("reset", 0, Position("f", 9), 9)


def test_a_window_that_does_not_reach_back_is_told() -> None:
    cursor = Cursor(last=2)
    cursor.begin(Position("e", 9))
    cursor.take(message(3))
    cursor.begin(Position("e", 9))
    gap, item = cursor.take(message(7))
    assert isinstance(gap, Gap)
    assert isinstance(item, Message)


@pytest.mark.parametrize("text", ["", "0", "x", "e-", "e1-99999999999999999999"])
def test_a_position_is_checked(text: str) -> None:
    with pytest.raises(ProtocolError):
        position_in(text)
