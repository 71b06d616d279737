"""message_bus's poll answers, to the byte."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.samples import json_values, record, records, texts
from trunkline.errors import GrammarError, ProtocolError
from trunkline.wire import chunks, poll_reply
from trunkline.wire.http import encode_head


def test_the_plain_transcript():
    """Appendix A; the one field that another server spelt is content-length."""
    body = poll_reply.encode_array(
        [
            poll_reply.encode_poll_message(record("hello", "/foo", 1)),
            poll_reply.encode_poll_message(record("wörld", "/foo", 2)),
        ]
    )
    head = encode_head(200, poll_reply.plain_headers(length=len(body)))
    assert (head + body).decode() == (
        "HTTP/1.1 200 OK\r\ncache-control: must-revalidate, private, max-age=0\r\n"
        "content-type: application/json; charset=utf-8\r\npragma: no-cache\r\nexpires: 0\r\n"
        "content-length: 128\r\n\r\n"
        '[{"global_id":1,"message_id":1,"channel":"/foo","data":"hello"},'
        '{"global_id":2,"message_id":2,"channel":"/foo","data":"wörld"}]'
    )


def test_the_stream_transcript():
    """Appendix A: position -1, two messages, the interval ends."""
    status = poll_reply.encode_array([poll_reply.encode_status({"/lp": 6})])
    one = poll_reply.encode_array(
        [poll_reply.encode_poll_message(record("m1\r\n|\r\nx", message_id=7))]
    )
    two = poll_reply.encode_array([poll_reply.encode_poll_message(record("m2", message_id=8))])
    stream = poll_reply.stream_head() + b"".join(map(chunks.block_chunk, [status, one, two]))
    assert stream + chunks.FINAL_CHUNKS == (
        b"HTTP/1.1 200 OK\r\n"
        b"cache-control: must-revalidate, private, max-age=0\r\n"
        b"pragma: no-cache\r\n"
        b"expires: 0\r\n"
        b"connection: close\r\n"
        b"content-type: text/plain; charset=utf-8\r\n"
        b"transfer-encoding: chunked\r\n"
        b"x-content-type-options: nosniff\r\n"
        b"\r\n"
        b'4e\r\n[{"global_id":-1,"message_id":-1,"channel":"/__status","data":{"/lp":6}}]\r\n|\r\n\r\n'
        b'4b\r\n[{"global_id":7,"message_id":7,"channel":"/lp","data":"m1\\r\\n|\\r\\nx"}]\r\n|\r\n\r\n'
        b'41\r\n[{"global_id":8,"message_id":8,"channel":"/lp","data":"m2"}]\r\n|\r\n\r\n'
        b"7\r\n[]\r\n|\r\n\r\n"
        b"0\r\n\r\n"
    )


def test_the_held_transcript():
    body = poll_reply.encode_array([poll_reply.encode_poll_message(record("m10", message_id=10))])
    assert poll_reply.held_response(body) == (
        b"HTTP/1.1 200 OK\r\n"
        b"cache-control: must-revalidate, private, max-age=0\r\n"
        b"pragma: no-cache\r\n"
        b"expires: 0\r\n"
        b"connection: close\r\n"
        b"content-type: application/json; charset=utf-8\r\n"
        b"content-length: 63\r\n"
        b"\r\n"
        b'[{"global_id":10,"message_id":10,"channel":"/lp","data":"m10"}]'
    )


def test_extra_headers_come_after_expires_and_before_connection():
    """Checklist items 70 and 73."""
    extra = [("Access-Control-Allow-Origin", "*"), ("X-App", "a b")]
    fields = [name for name, _ in poll_reply.stream_headers(extra)]
    assert fields == [
        "cache-control", "pragma", "expires", "access-control-allow-origin", "x-app", "connection",
        "content-type", "transfer-encoding", "x-content-type-options",
    ]  # fmt: skip
    plain = [name for name, _ in poll_reply.plain_headers(extra, length=2)]
    assert plain[4:] == ["access-control-allow-origin", "x-app", "content-length"]


def test_a_preset_content_type_changes_plain_answers_only():
    """Checklist item 40."""
    extra = [("Content-Type", "text/html"), ("Pragma", "x"), ("Transfer-Encoding", "gzip")]
    assert dict(poll_reply.plain_headers(extra, length=0))["content-type"] == "text/html"
    assert dict(poll_reply.stream_headers(extra))["content-type"] == "text/plain; charset=utf-8"
    held = poll_reply.held_headers(extra, length=0)
    assert dict(held)["content-type"] == "application/json; charset=utf-8"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["Content-Type", "pragma", "X-A", "x-a", "Connection", "content-length", "EXPIRES"]
            ),
            st.sampled_from(["1", "2"]),
        )
    )
)
def test_no_header_stands_twice(extra):
    for headers in (
        poll_reply.plain_headers(extra, length=1),
        poll_reply.stream_headers(extra),
        poll_reply.held_headers(extra, length=1),
    ):
        fields = [name for name, _ in headers]
        assert len(fields) == len(set(fields))
        assert dict(headers).get("content-length") in {None, "1"}
        assert dict(headers).get("connection") in {None, "close"}


def test_behind_a_server_that_frames_there_are_no_hop_by_hop_headers():
    for headers in (
        poll_reply.stream_headers(hop_by_hop=False),
        poll_reply.held_headers(length=2, hop_by_hop=False),
    ):
        assert not {"connection", "transfer-encoding"} & dict(headers).keys()


@pytest.mark.parametrize("value", ["a\r\nset-cookie: x=1", "a\nb", "a\rb", "a\0b", "Ω"])
def test_a_header_cannot_be_injected(value):
    for made in (poll_reply.stream_headers, poll_reply.stream_head):
        with pytest.raises(GrammarError):
            made([("x-a", value)])
    with pytest.raises(GrammarError):
        poll_reply.plain_headers([("x-a", value)], length=0)


@pytest.mark.parametrize("name", ["x a", "", "x\r\ny", "x:", "é"])
def test_a_header_name_is_a_token(name):
    with pytest.raises(GrammarError):
        poll_reply.plain_headers([(name, "1")], length=0)


def test_stored_data_has_the_escapes_that_clients_know():
    """UTF-8 raw; slash, <, U+2028 and U+007F unescaped; control characters escaped."""
    text = 'é/<\u2028\x7f\x00\x1f\b\t\n\f\r"\\😀'
    assert poll_reply.encode_poll_message(record(text, "/é")).decode() == (
        '{"global_id":1,"message_id":1,"channel":"/é","data":'
        '"é/<\u2028\x7f\\u0000\\u001f\\b\\t\\n\\f\\r\\"\\\\😀"}'
    )


@given(records())
def test_a_message_shows_its_four_members_in_order(one):
    """Checklist item 61."""
    shown = json.loads(poll_reply.encode_poll_message(one))
    assert list(shown) == ["global_id", "message_id", "channel", "data"]
    assert shown == {
        "global_id": one.global_id,
        "message_id": one.message_id,
        "channel": one.channel.name,
        "data": json.loads(one.data),
    }


@given(st.lists(records(), max_size=4))
def test_clients_read_what_servers_write(several):
    array = poll_reply.encode_array([poll_reply.encode_poll_message(one) for one in several])
    got = poll_reply.decode_answer(array)
    assert [(m.global_id, m.message_id, m.channel) for m in got] == [
        (one.global_id, one.message_id, one.channel.name) for one in several
    ]


@given(st.dictionaries(texts, st.integers(0, 2**62), min_size=1))
def test_status_and_gap_are_messages_with_negative_ids(ids):
    status, gap = poll_reply.decode_answer(
        poll_reply.encode_array([poll_reply.encode_status(ids), poll_reply.encode_gap(ids)])
    )
    assert (status.channel, status.message_id, status.global_id) == ("/__status", -1, -1)
    assert status.data == ids
    assert (gap.channel, gap.message_id, gap.global_id) == ("/__gap", -1, -1)
    assert gap.data == {name: {"reason": "trimmed", "floor": at} for name, at in ids.items()}


def test_a_message_without_messages_is_an_empty_array():
    assert poll_reply.encode_array([]) == poll_reply.EMPTY_ANSWER == b"[]"


@given(json_values | st.just([{"channel": "/a"}]))
def test_an_answer_of_another_shape_is_a_protocol_error(value):
    text = json.dumps(value).encode()
    if value == []:
        assert poll_reply.decode_answer(text) == []
        return
    with pytest.raises(ProtocolError):
        poll_reply.decode_answer(text)
