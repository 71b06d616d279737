"""Where listeners start, and what they may ask for."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.errors import GrammarError, LimitExceededError, UsageError
from trunkline.model.position import Position
from trunkline.wire.start import (
    Edge,
    check_channels,
    check_client_id,
    check_last,
    parse_start,
    start_text,
)


@pytest.mark.parametrize(
    ("text", "start"),
    [
        (None, Edge.NOW),
        ("", Edge.NOW),
        ("0", Edge.OLDEST),
        ("k3-0", Position("k3", 0)),
        ("k3-7", Position("k3", 7)),
    ],
)
def test_a_start_is_a_position_or_an_edge(text, start):
    assert parse_start(text) == start
    assert parse_start(start_text(start)) == start


@given(st.text(max_size=30))
def test_any_text_is_a_start_or_a_mistake(text):
    with suppress(GrammarError):
        parse_start(text)


def test_channels_are_counted_once():
    assert check_channels(["/a", "/a", "/b"], max_channels=2) == ("/a", "/b")
    with pytest.raises(LimitExceededError):
        check_channels(["/a", "/b"], max_channels=1)
    with pytest.raises(GrammarError):
        check_channels([], max_channels=1)


def test_newest_messages_go_with_names_from_now_only():
    assert check_last(3, ["/a"], Edge.NOW) == 3
    assert check_last(None, ["/a/*"], Edge.OLDEST) is None
    for last, channels, start in [
        (3, ["/a/*"], Edge.NOW), (3, ["/a"], Edge.OLDEST), (-1, ["/a"], Edge.NOW),
        (10**9, ["/a"], Edge.NOW)
    ]:  # fmt: skip
        with pytest.raises(GrammarError):
            check_last(last, channels, start)


@given(st.text(max_size=300))
def test_any_client_id_is_taken_as_it_is_or_refused(client_id):
    try:
        assert check_client_id(client_id) == client_id
    except UsageError:
        assert not client_id.isprintable() or len(client_id.encode()) > 255
