"""Time and chance: jitter stays in its bounds, the manual clock moves when told."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.runtime.clock import SystemClock, jitter
from trunkline.testing.clock import ManualClock


@given(st.floats(0.001, 1e6), st.floats(0.0, 1.0), st.integers())
def test_jitter_stays_within_its_spread(seconds, spread, seed):
    """A delay moves by at most its share."""
    moved = jitter(seconds, spread=spread, chance=random.Random(seed))
    assert seconds * (1 - spread) * 0.999999 <= moved <= seconds * (1 + spread) * 1.000001


def test_system_clock_goes_on():
    """Monotonic time never runs backwards."""
    clock = SystemClock()
    times = [clock.monotonic() for _ in range(100)]
    assert times == sorted(times)
    assert clock.now() > 1_700_000_000


def test_manual_clock_moves_only_when_told():
    """Advancing moves both times, a step only the wall clock, and time never goes back."""
    clock = ManualClock(100.0)
    start = clock.monotonic()
    clock.advance(5.0)
    clock.step(-50.0)
    assert (clock.now(), clock.monotonic() - start) == (55.0, 5.0)
    with pytest.raises(ValueError, match="does not pass"):
        clock.advance(-1.0)
