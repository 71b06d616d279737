"""Answers and pushes on the WebSocket."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.samples import json_values, record, records
from trunkline.errors import ProtocolError
from trunkline.model.position import Position
from trunkline.wire import pushes
from trunkline.wire.message import encode_message
from trunkline.wire.pushes import (
    Failed,
    Gap,
    Goodbye,
    Live,
    Moved,
    Pong,
    Pushed,
    Subscribed,
    Unsubscribed,
    parse_push,
)
from trunkline.wire.start import Refusal

AT = Position("k3", 41)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (pushes.encode_subscribed(1, ["/a"], [Refusal("/x", "access-denied", "no")], AT),
         Subscribed(1, ["/a"], [Refusal("/x", "access-denied", "no")], "k3-41")),
        (pushes.encode_live("q", AT), Live("q", "k3-41")),
        (pushes.encode_unsubscribed(2, ["/a"]), Unsubscribed(2, ["/a"])),
        (pushes.encode_pong(3, AT), Pong(3, "k3-41")),
        (pushes.encode_error(None, "grammar", "d"), Failed(None, "grammar", "d")),
        (pushes.encode_push_position(AT), Moved("k3-41")),
        (pushes.encode_push_gap("reset", ["/a"], AT), Gap("reset", ["/a"], "k3-41")),
        (pushes.encode_push_goodbye("slow", retry_ms=900), Goodbye("slow", 900)),
    ],
)  # fmt: skip
def test_clients_read_what_servers_write(written, read):
    assert parse_push(written) == read


@given(records())
def test_a_message_is_the_message_object_with_its_type_first(one):
    written = pushes.encode_push_message(one)
    assert written == b'{"type":"message",' + encode_message(one)[1:]
    got = parse_push(written)
    assert isinstance(got, Pushed)
    assert (got.channel, got.message_id, got.global_id) == (
        one.channel.name,
        one.message_id,
        one.global_id,
    )


def test_the_type_may_stand_anywhere():
    assert parse_push('{"position":"k3-41","id":3,"type":"pong"}') == Pong(3, "k3-41")


def test_types_of_later_releases_are_ignored():
    assert parse_push('{"type":"weather","sky":"blue"}') is None


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"type":1}', '{"type":"pong"}', '{"type":"message","channel":1}']
)
def test_what_is_no_push_is_a_protocol_error(text):
    with pytest.raises(ProtocolError):
        parse_push(text)


@given(st.text(max_size=40) | st.binary(max_size=40) | json_values.map(json.dumps))
def test_any_text_is_a_push_or_a_protocol_error(text):
    with suppress(ProtocolError):
        parse_push(text)


def test_audience_and_site_are_never_shown():
    assert list(json.loads(pushes.encode_push_message(record(1, headers={"h": 1})))) == [
        "type", "channel", "message_id", "global_id", "published_at", "data", "headers",
    ]  # fmt: skip
