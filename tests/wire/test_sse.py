"""Server-sent events: what the gateway writes, and a parser that follows the HTML standard."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.samples import cuts, pieces, record, records
from trunkline.errors import ProtocolError
from trunkline.model.position import Position
from trunkline.wire import sse
from trunkline.wire.message import decode_message, encode_message
from trunkline.wire.sse import Event, EventParser
from trunkline.wire.start import Refusal

AT = Position("k3", 41)


def parse(stream: bytes) -> list[Event]:
    return EventParser().feed(stream)


@given(records())
def test_a_message_is_an_event_without_a_type_under_its_position(one):
    stream = sse.encode_message_event(one, "k3")
    assert stream.startswith(b"id: k3-%d\ndata: {" % one.global_id)
    (event,) = parse(stream)
    assert event == Event("message", encode_message(one).decode(), f"k3-{one.global_id}")
    message = decode_message(event.data)
    assert (message.channel, message.message_id) == (one.channel.name, one.message_id)
    assert message.published_at == one.published_at


def test_data_with_line_breaks_between_its_tokens_stays_one_event():
    stream = sse.encode_message_event(record(None, raw=b'{"a":\r\n[1,\n2,\r3]}'), "k3")
    (event,) = parse(stream)
    assert decode_message(event.data).data == {"a": [1, 2, 3]}


def test_a_position_moves_the_last_id_without_an_event():
    parser = EventParser()
    assert sse.encode_position(AT) == b"id: k3-41\n\n"
    assert parser.feed(sse.encode_position(AT)) == []
    assert parser.last_event_id == "k3-41"


def test_named_events_carry_their_objects():
    refused = [Refusal("/x", "access-denied", "no")]
    stream = (
        sse.encode_ready(AT, ["/a"], refused, retry_ms=1500)
        + sse.encode_gap("trimmed", ["/a", "/b/**"], AT)
        + sse.encode_goodbye("shutdown", retry_ms=2500)
    )
    parser = EventParser()
    ready, gap, goodbye = parser.feed(stream)
    assert (ready.name, ready.event_id) == ("ready", "k3-41")
    assert sse.decode_data(ready) == {
        "position": "k3-41",
        "channels": ["/a"],
        "refused": [{"channel": "/x", "code": "access-denied", "detail": "no"}],
    }
    assert sse.decode_data(gap) == {
        "reason": "trimmed", "channels": ["/a", "/b/**"], "position": "k3-41"
    }  # fmt: skip
    assert sse.decode_data(goodbye) == {"reason": "shutdown", "retry": 2500}
    assert parser.retry_ms == 2500


def test_an_object_is_demanded_where_one_must_be():
    with pytest.raises(ProtocolError):
        sse.decode_data(Event("gap", "[1]", ""))


def test_comments_are_ignored():
    assert sse.encode_comment("a\nb") == b": a\n: b\n\n"
    assert sse.encode_comment() == b":\n\n"
    assert parse(sse.encode_comment("hello\ndata: x")) == []


# The examples of the HTML standard, and its rules one by one.
@pytest.mark.parametrize(
    ("stream", "events"),
    [
        ("data: YHOO\ndata: +2\ndata: 10\n\n", [("message", "YHOO\n+2\n10", "")]),
        (": c\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
         [("message", "first event", "1"), ("message", "second event", ""),
          ("message", " third event", "")]),
        ("data\n\ndata\ndata\n\ndata:\n", [("message", "", ""), ("message", "\n", "")]),
        ("data:test\n\ndata: test\n\n", [("message", "test", "")] * 2),
        ("event: add\rdata: 1\r\revent: remove\r\ndata: 2\r\n\r\n",
         [("add", "1", ""), ("remove", "2", "")]),
        ("event: lost\n\ndata: x\n\n", [("message", "x", "")]),
        ("id: 1\0\ndata: x\n\n", [("message", "x", "")]),
        ("unknown: 1\ndata: x\nDATA: y\n\n", [("message", "x", "")]),
        ("\ufeffdata: x\n\n", [("message", "x", "")]),
        ("\ufeff\ufeffdata: x\n\n", []),
        ("data: a:b\n\n", [("message", "a:b", "")]),
        ("data: unfinished\n", []),
        ("data: a\u2028b\x0bc\n\n", [("message", "a\u2028b\x0bc", "")]),
    ],
)  # fmt: skip
def test_streams_parse_as_the_standard_says_cut_at_every_byte(stream, events):
    raw = stream.encode()
    expected = [Event(*event) for event in events]
    for place in range(len(raw) + 1):
        parser = EventParser()
        assert parser.feed(raw[:place]) + parser.feed(raw[place:]) == expected
    parser = EventParser()
    assert [e for byte in raw for e in parser.feed(bytes([byte]))] == expected


@pytest.mark.parametrize(
    ("text", "retry"),
    [("100", 100), ("1.5", None), ("-1", None), ("", None), ("9" * 18, 86_400_000),
     ("9" * 5000, None),
     ("٣", None)],
)  # fmt: skip
def test_only_digits_set_the_retry_time(text, retry):
    parser = EventParser()
    parser.feed(f"retry: {text}\n\n".encode())
    assert parser.retry_ms == retry


def test_the_id_of_an_earlier_connection_stays_until_a_new_one_comes():
    parser = EventParser(last_event_id="k3-1")
    assert parser.feed(b"data: x\n\n") == [Event("message", "x", "k3-1")]
    parser.feed(b"id: k3-2\n")
    assert parser.last_event_id == "k3-1", "an id counts when its event is complete"
    parser.feed(b"\n")
    assert parser.last_event_id == "k3-2"


def test_bytes_that_are_no_utf8_are_replaced():
    assert parse(b"data: a\xffb\n\n") == [Event("message", "a\ufffdb", "")]


@pytest.mark.parametrize(
    "flood", [b"data: x\n", b"data\n", b"x" * 50, b": x" * 40, b"id:" + b"1" * 99]
)
def test_what_grows_without_end_is_refused(flood):
    parser = EventParser(limit=100)

    def pour():
        for _ in range(200):
            parser.feed(flood)

    with pytest.raises(ProtocolError):
        pour()


def test_the_limit_holds_per_event_not_per_stream():
    parser = EventParser(limit=20)
    assert len(parser.feed(b"data: 0123456789\n\n" * 50)) == 50


@given(st.lists(records(), max_size=3), cuts)
def test_messages_survive_any_cut(several, places):
    stream = b"".join(sse.encode_message_event(one, "k3") for one in several)
    parser = EventParser()
    got = [event for piece in pieces(stream, places) for event in parser.feed(piece)]
    assert [json.loads(event.data) for event in got] == [
        json.loads(encode_message(one)) for one in several
    ]


sse_bytes = st.lists(
    st.sampled_from(
        [b"data", b"id", b"event", b"retry", b":", b" ", b"\n", b"\r", b"\r\n", b"\0", b"1"]
    )
    | st.binary(max_size=8),
    max_size=40,
).map(b"".join)


@given(sse_bytes, cuts)
def test_any_bytes_give_the_same_events_however_they_are_cut(stream, places):
    whole, cut = EventParser(limit=1000), EventParser(limit=1000)
    expected = whole.feed(stream)
    assert [event for piece in pieces(stream, places) for event in cut.feed(piece)] == expected
    assert (whole.last_event_id, whole.retry_ms) == (cut.last_event_id, cut.retry_ms)
