"""What an event stream is asked for."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.samples import names
from trunkline.errors import LimitExceededError, UsageError
from trunkline.model.position import Position
from trunkline.wire.sse_request import (
    EventStreamRequest,
    encode_stream_query,
    parse_query,
    parse_stream_request,
)
from trunkline.wire.start import Edge


def test_channels_repeat_and_count_once():
    got = parse_stream_request(b"channel=/a&channel=%2Fb/**&channel=/a&client_id=me&token=x")
    assert got == EventStreamRequest(("/a", "/b/**"), Edge.NOW, None, "me")


@pytest.mark.parametrize(
    ("query", "header", "start"),
    [
        (b"channel=/a", None, Edge.NOW),
        (b"channel=/a&position=", "", Edge.NOW),
        (b"channel=/a&position=0", None, Edge.OLDEST),
        (b"channel=/a&position=k3-7", None, Position("k3", 7)),
        (b"channel=/a&position=k3-7", "k3-9", Position("k3", 9)),
        (b"channel=/a&last=5", "k3-9", Position("k3", 9)),
    ],
)
def test_the_last_event_id_wins_over_the_url_it_repeats(query, header, start):
    got = parse_stream_request(query, header)
    assert (got.start, got.last) == (start, None)


def test_the_newest_messages_can_be_asked_for():
    assert parse_stream_request(b"channel=/a&last=5").last == 5


@pytest.mark.parametrize(
    "query",
    [
        b"", b"channel=", b"channel=%00", b"channel=a*", b"channel=/a/**/b",
        b"channel=/a&position=x",
        b"channel=/a&position=k3-", b"channel=/a&last=x", b"channel=/a&last=-1",
        b"channel=/a&last=99999", b"channel=/a&last=1" + b"0" * 5000,
        b"channel=/a&last=5&position=0",
        b"channel=/a/*&last=5", b"channel=%ff", b"\xff", b"channel=/a&client_id=%01",
        b"channel=/a&client_id=" + b"x" * 256,
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_the_callers_mistake(query):
    with pytest.raises(UsageError) as caught:
        parse_stream_request(query)
    assert caught.value.status == 400


def test_a_foreign_last_event_id_is_refused():
    with pytest.raises(UsageError):
        parse_stream_request(b"channel=/a", "yesterday")


def test_limits_are_named():
    with pytest.raises(LimitExceededError) as caught:
        parse_stream_request(b"channel=/a&channel=/b", max_channels=1)
    assert caught.value.limit == "max_channels"
    with pytest.raises(LimitExceededError) as caught:
        parse_stream_request(b"&".join([b"x=1"] * 100), max_channels=1)
    assert caught.value.limit == "max_query_fields"


@given(
    st.lists(names, min_size=1, max_size=5, unique=True),
    st.sampled_from([Edge.NOW, Edge.OLDEST, Position("k3", 5)]),
    st.none() | st.just("me"),
)
def test_what_a_client_writes_a_server_reads(channels, start, client_id):
    request = EventStreamRequest(tuple(channels), start, None, client_id)
    assert parse_stream_request(encode_stream_query(request)) == request


@given(st.binary(max_size=100) | st.text(max_size=60), st.none() | st.text(max_size=20))
def test_any_query_is_a_request_or_a_mistake(query, header):
    with suppress(UsageError):
        parse_stream_request(query, header)
    with suppress(UsageError):
        parse_query(query)
