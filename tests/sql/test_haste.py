"""Which commits the event loop does itself."""

from __future__ import annotations

import pytest

from trunkline.sql.haste import FEWEST, MEMORY, QUICK, RUN, SLOW, Haste

A_QUICK_ONE = QUICK / 2


@pytest.fixture
def haste() -> Haste:
    haste = Haste()
    _prove(haste)
    return haste


def _prove(haste: Haste, count: int = 10 * MEMORY) -> None:
    for _ in range(count):
        haste.note(A_QUICK_ONE, on_loop=False)


def test_nothing_is_done_on_the_loop_before_the_disk_was_seen_to_be_quick() -> None:
    """The first commits are the thread's, and a slow disk's all are."""
    haste = Haste()
    assert not haste.allows
    for _ in range(1000):
        haste.note(QUICK * 2, on_loop=False)
        assert not haste.allows


def test_a_quick_disk_is_allowed(haste: Haste) -> None:
    """Its commits take less time than handing them over."""
    assert haste.allows


def test_a_run_ends_and_the_next_one_begins_after_one_in_the_thread(haste: Haste) -> None:
    """That one may checkpoint; how long it takes says nothing of the others."""
    for _ in range(RUN):
        assert haste.allows
        haste.note(A_QUICK_ONE, on_loop=True)
    assert not haste.allows

    haste.note(0.05, on_loop=False)

    assert haste.allows


def test_a_disk_that_becomes_slow_is_left_to_the_thread(haste: Haste) -> None:
    """Even when no single commit held the loop up for long."""
    count = 0
    while haste.allows:
        haste.note(QUICK * 4, on_loop=True)
        count += 1

    assert count < MEMORY


def test_each_time_the_loop_was_held_up_the_thread_gets_twice_as_many(haste: Haste) -> None:
    """So stalls become rarer the more of them there are."""
    barred = []
    for _ in range(4):
        haste.note(SLOW * 2, on_loop=True)
        count = 0
        while not haste.allows:
            haste.note(A_QUICK_ONE, on_loop=False)
            count += 1
        barred.append(count)

    assert barred == [FEWEST, 2 * FEWEST, 4 * FEWEST, 8 * FEWEST]
