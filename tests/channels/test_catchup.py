"""The catch-up decision, over all small cases."""

from __future__ import annotations

import itertools

import pytest

from trunkline.channels.catchup import Gap, Step, Window, arrive, check_start, next_step
from trunkline.log.port import Page
from trunkline.model.channel import ChannelKey
from trunkline.model.message import Record
from trunkline.model.position import Position

CASES = [
    (place, Window("e", since, head))
    for place, since, head in itertools.product(range(6), range(6), range(6))
    if since <= head
]


@pytest.mark.parametrize(("place", "window"), CASES)
def test_step_is_decided_by_where_the_reader_stands(place: int, window: Window) -> None:
    """Memory is used exactly where it holds everything the reader has not seen."""
    step = next_step(Position("e", place), window)

    if place >= window.head:
        assert step is Step.WAIT
    elif place >= window.since:
        assert step is Step.LIVE
    else:
        assert step is Step.READ


@pytest.mark.parametrize(("place", "window"), CASES[:20])
def test_another_epoch_is_a_gap_wherever_the_reader_stands(place: int, window: Window) -> None:
    """Numbers of another epoch name other messages."""
    assert next_step(Position("old", place), window) is Step.GAP


def _page(*ids: int, floor: int = 0, head: int = 9, upto: int | None = None) -> Page:
    records = [Record(ChannelKey("/a"), i, i, 0.0, b"1") for i in ids]
    return Page(records, floor, head, upto if upto is not None else head, "e")


@pytest.mark.parametrize(("place", "floor"), list(itertools.product(range(8), range(8))))
def test_a_reader_lost_something_exactly_below_the_floor(place: int, floor: int) -> None:
    """Being below the floor is the whole condition, at the border too."""
    page = _page(*range(max(place, floor) + 1, 10), floor=floor)

    arrival = arrive(Position("e", place), page)

    expected = Gap("trimmed", place, Position("e", place), floor) if place < floor else None
    assert arrival.gap == expected
    assert arrival.position == Position("e", 9)
    assert arrival.records is page.records


def test_a_gap_is_told_once() -> None:
    """A reader that was told of a floor reads what is kept before it in peace."""
    page = _page(3, 6, floor=5)

    assert arrive(Position("e", 2), page, told=5).gap is None
    assert arrive(Position("e", 2), page, told=4).gap == Gap("trimmed", 2, Position("e", 2), 5)


def test_from_the_oldest_is_never_a_gap() -> None:
    """Whoever asks for the oldest kept is content with what there is."""
    arrival = arrive(None, _page(8, 9, floor=7))

    assert arrival.gap is None
    assert arrival.position == Position("e", 9)


def test_a_page_of_another_epoch_starts_over() -> None:
    """Nothing of the page is delivered before the reader knows of the reset."""
    arrival = arrive(Position("old", 3), _page(4, 5))

    assert arrival.gap == Gap("reset", 3, Position("e", 0), 3)
    assert not arrival.records
    assert arrival.position == Position("e", 0)


def test_a_position_beyond_the_head_is_a_reset() -> None:
    """A line that is shorter than what was seen of it is not that line."""
    assert arrive(Position("e", 10), _page(head=9)).gap == Gap("reset", 10, Position("e", 0), 10)
    assert check_start(Position("e", 10), "e", 9) == Gap("reset", 10, Position("e", 0), 10)


def test_a_good_position_starts_without_a_gap() -> None:
    """The head itself is a good position."""
    assert check_start(Position("e", 9), "e", 9) is None
    assert check_start(Position("x", 9), "e", 9) == Gap("reset", 9, Position("e", 0), 9)


def test_an_unfinished_page_moves_to_its_end_only() -> None:
    """What lies beyond upto has not been looked at."""
    assert arrive(Position("e", 2), _page(3, 4, upto=5)).position == Position("e", 5)
