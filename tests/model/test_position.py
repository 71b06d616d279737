"""Positions as text."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.errors import GrammarError
from trunkline.model.position import Position, parse_position


@given(st.from_regex(r"[0-9a-f]{12}", fullmatch=True), st.integers(0, 2**63 - 1))
def test_a_position_survives_its_text(epoch: str, global_id: int) -> None:
    """What is printed is what is parsed."""
    position = Position(epoch, global_id)

    assert parse_position(str(position)) == position


def test_a_bare_zero_is_the_oldest_kept() -> None:
    """It names no epoch, so it is no position and never a gap."""
    assert parse_position("0") is None
    assert parse_position("0a-0") == Position("0a", 0)


@pytest.mark.parametrize(
    "bad", ["", "1", "a", "a-", "-1", "a--1", "a-1 ", "A-1", "a-9223372036854775808"]
)
def test_what_is_no_position_is_refused(bad: str) -> None:
    """The message says what to use instead."""
    with pytest.raises(GrammarError, match="no position"):
        parse_position(bad)


@given(st.text(max_size=40))
def test_parsing_is_total(text: str) -> None:
    """Any text is a position or a GrammarError."""
    with contextlib.suppress(GrammarError):
        parse_position(text)
