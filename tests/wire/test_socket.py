"""Requests on the WebSocket."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.samples import json_values, names
from trunkline.errors import ProtocolError, SocketRequestError
from trunkline.model.position import Position
from trunkline.wire import socket
from trunkline.wire.socket import (
    PingRequest,
    ResumeRequest,
    SubscribeRequest,
    UnsubscribeRequest,
    parse_request,
)
from trunkline.wire.start import Edge


def text(**members: object) -> str:
    return json.dumps(members)


def test_each_request_is_read():
    assert parse_request(text(id=1, type="subscribe", channels=["/a", "/b/**", "/a"])) == (
        SubscribeRequest(1, ["/a", "/b/**"])
    )
    assert parse_request(
        text(id="x", type="resume", channels={"/a": "k3-4", "/b": None, "/c": "0"})
    ) == ResumeRequest("x", {"/a": "k3-4", "/b": None, "/c": "0"})
    assert parse_request(text(id=3, type="unsubscribe", channels=["/a"])) == (
        UnsubscribeRequest(3, ["/a"])
    )
    assert parse_request(text(type="ping", id=4)) == PingRequest(4)


def test_starts_are_decoded():
    request = parse_request(text(id=1, type="subscribe", channels=["/a"], position="k3-4"))
    assert isinstance(request, SubscribeRequest)
    assert request.start == Position("k3", 4)
    assert SubscribeRequest(1, ["/a"]).start is Edge.NOW
    resume = ResumeRequest(1, {"/a": "k3-4", "/b": None, "/c": "0"})
    assert resume.starts == {"/a": Position("k3", 4), "/b": Edge.NOW, "/c": Edge.OLDEST}


def test_members_of_later_releases_are_ignored():
    assert parse_request(text(id=1, type="ping", later=True)) == PingRequest(1)


@pytest.mark.parametrize(
    ("members", "request_id", "code"),
    [
        ({"id": 1, "type": "dance"}, 1, "grammar"),
        ({"id": "q"}, "q", "grammar"),
        ({"id": 1, "type": "subscribe"}, 1, "grammar"),
        ({"id": 1, "type": "subscribe", "channels": "/a"}, 1, "grammar"),
        ({"id": 1, "type": "subscribe", "channels": []}, 1, "grammar"),
        ({"id": 1, "type": "subscribe", "channels": ["/a\0"]}, 1, "grammar"),
        ({"id": 1, "type": "subscribe", "channels": ["/**/a"]}, 1, "grammar"),
        ({"id": 1, "type": "subscribe", "channels": ["/a"], "position": "x"}, 1, "grammar"),
        ({"id": 1, "type": "subscribe", "channels": ["/a"], "position": 5}, 1, "grammar"),
        ({"id": 1, "type": "subscribe", "channels": ["/a"], "last": -1}, 1, "grammar"),
        ({"id": 1, "type": "subscribe", "channels": ["/a/*"], "last": 1}, 1, "grammar"),
        (
            {"id": 1, "type": "subscribe", "channels": ["/a"], "last": 1, "position": "0"},
            1,
            "grammar",
        ),
        ({"id": 1, "type": "subscribe", "channels": list("abcde")}, 1, "limit-exceeded"),
        ({"id": 1, "type": "resume", "channels": ["/a"]}, 1, "grammar"),
        ({"id": 1, "type": "resume", "channels": {"/a": "k3"}}, 1, "grammar"),
        ({"id": 1, "type": "unsubscribe", "channels": []}, 1, "grammar"),
        ({"type": "ping"}, None, "grammar"),
        ({"id": True, "type": "ping"}, None, "grammar"),
        ({"id": 1.5, "type": "ping"}, None, "grammar"),
        ({"id": None, "type": "ping"}, None, "grammar"),
        ({"id": "x" * 129, "type": "ping"}, None, "grammar"),
        ({"id": 2**70, "type": "ping"}, None, "grammar"),
        ({}, None, "grammar"),
    ],
)
def test_a_wrong_request_names_its_id_when_that_can_be_read(members, request_id, code):
    with pytest.raises(SocketRequestError) as caught:
        parse_request(text(**members), max_channels=4)
    assert (caught.value.request_id, caught.value.code) == (request_id, code)
    assert str(caught.value)


@pytest.mark.parametrize(
    "sent", ["", "{", "[]", "1", "null", '"x"', "[" * 100_000, b"\xff", '{"id":NaN}']
)
def test_what_is_no_object_ends_the_connection(sent):
    with pytest.raises(ProtocolError) as caught:
        parse_request(sent)
    assert caught.value.close_code == 1007


@given(
    st.integers(-(2**63), 2**63 - 1)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    st.lists(names, min_size=1, max_size=4, unique=True),
    st.sampled_from([Edge.NOW, Edge.OLDEST, Position("k3", 4)]),
)
def test_what_a_client_writes_a_server_reads(request_id, channels, start):
    for request in (
        socket.subscribe_request(request_id, channels, start),
        socket.resume_request(request_id, dict.fromkeys(channels, start)),
        UnsubscribeRequest(request_id, channels),
        PingRequest(request_id),
    ):
        assert parse_request(socket.encode_request(request)) == request


members = st.dictionaries(
    st.sampled_from(["id", "type", "channels", "position", "last"]),
    json_values
    | st.sampled_from(
        ["subscribe", "resume", "unsubscribe", "ping", ["/a"], {"/a": "k3-1"}, "k3-1", 1]
    ),
)


@given(st.text(max_size=40) | st.binary(max_size=40) | members.map(json.dumps))
def test_any_text_is_a_request_or_a_mistake(sent):
    with suppress(SocketRequestError, ProtocolError):
        parse_request(sent, max_channels=4)
