"""Requests and pushes about entities, ours and entity-sync's, whatever is sent."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.samples import json_values
from trunkline.errors import GrammarError, LimitExceededError, ProtocolError, SocketRequestError
from trunkline.model.entity import EntityKey, entity_key
from trunkline.model.position import Position
from trunkline.wire import entity_sync, pushes, socket, watch
from trunkline.wire.entity_sync import (
    Foreign,
    Malformed,
    Secret,
    Subscribe,
    Unknown,
    Unsubscribe,
    parse_action,
)
from trunkline.wire.socket import Origin, origin_of, parse_request
from trunkline.wire.sse_request import (
    EventStreamRequest,
    encode_stream_query,
    parse_stream_request,
)
from trunkline.wire.watch import Named, Version, WatchRequest, parse_version

MARK = "0a1b2c3d4e5f"
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=15)
keys = st.builds(EntityKey, texts, texts)
versions = st.builds(
    Version,
    st.builds(Position, st.just("k3"), st.integers(0, 2**63 - 1)),
    st.just(MARK),
)


@given(versions)
def test_a_version_is_read_as_it_was_written(version):
    assert parse_version(str(version)) == version


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "k3-4",
        f"k3-4.{MARK[:-1]}",
        f"k3-4.{MARK}0",
        f"K3-4.{MARK}",
        f"k3-.{MARK}",
        "x" * 999,
        f"k3-99999999999999999999.{MARK}",
        f"k3-9999999999999999999.{MARK}",
        f"k3-4.{MARK}\n",
    ],
)
def test_what_is_no_version_is_refused(text):
    with pytest.raises(GrammarError):
        parse_version(text)


@given(keys, versions, st.lists(st.tuples(keys, json_values), max_size=4))
def test_a_state_is_read_as_it_was_written(key, version, rows):
    encoded = [(one, json.dumps(value).encode()) for one, value in rows]
    told = pushes.parse_push(watch.encode_state(key, version, encoded))
    assert isinstance(told, watch.State)
    assert (told.entity, told.id, told.version) == (*key, str(version))
    assert [(row.entity, row.id, row.value) for row in told.rows] == [
        (*one, value) for one, value in rows
    ]


@given(st.dictionaries(keys, st.none() | versions, min_size=1, max_size=5))
def test_a_watch_request_and_a_stream_carry_keys_as_pairs(wanted):
    named = [Named(*key, version and str(version)) for key, version in wanted.items()]
    request = parse_request(socket.encode_request(WatchRequest(1, named)))
    assert request == WatchRequest(1, named)
    query = encode_stream_query(EventStreamRequest((), watches=tuple(named)))
    assert parse_stream_request(query).watches == tuple(named)


def test_limits_are_named():
    named = [Named("items", str(number)) for number in range(4)]
    with pytest.raises(SocketRequestError) as caught:
        parse_request(socket.encode_request(WatchRequest(1, named)), max_watches=3)
    assert (caught.value.code, caught.value.request_id) == ("limit-exceeded", 1)
    query = encode_stream_query(EventStreamRequest((), watches=tuple(named)))
    with pytest.raises(LimitExceededError):
        parse_stream_request(query, max_watches=3)


@given(st.text() | json_values.map(json.dumps) | json_values.map(lambda v: json.dumps({"type": v})))
def test_whatever_is_sent_is_a_request_or_somebodys(text):
    try:
        parse_request(text)
    except (ProtocolError, SocketRequestError):
        assert origin_of(text) in set(Origin)
    else:
        assert origin_of(text) is Origin.OURS


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ('{"a":1}', Origin.APPLICATION),
        ('{"type":""}', Origin.APPLICATION),
        ('{"type":null}', Origin.APPLICATION),
        ('{"type":"watch"}', Origin.OURS),
        ('{"type":"dance"}', Origin.UNKNOWN),
        ('{"type":[]}', Origin.UNKNOWN),
        ("null", Origin.UNKNOWN),
        ("{", Origin.UNKNOWN),
    ],
)
def test_a_text_that_is_no_request_belongs_to_somebody(text, origin):
    assert origin_of(text) is origin


def said(action, body=None):
    return json.dumps({"action": action, "body": body})


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (said("subscribe", {"entity": "items", "id": "100"}), Subscribe),
        (said("unsubscribe", {"entity": "items", "id": "100", "more": 1}), Unsubscribe),
        ('{"ACTION":"subscribe","Body":{"Entity":"items","ID":"100"}}', Subscribe),
        (said("secret", "s"), Secret),
        (said("secret"), Secret),
        (said("secret", 7), Malformed),
        (said("Subscribe", {"entity": "items", "id": "100"}), Unknown),
        (said("subscribe"), Malformed),
        (said("subscribe", {"entity": "items", "id": 100}), Malformed),
        (said("subscribe", {"entity": "", "id": "100"}), Malformed),
        (said(""), Foreign),
        ('{"hello":1}', Foreign),
        ("null", Foreign),
        ("7", Unknown),
        ("no", Unknown),
        (said(7), Unknown),
        (said(["subscribe"]), Unknown),
    ],
)
def test_each_of_entity_syncs_actions_is_known(text, kind):
    assert isinstance(parse_action(text), kind)


@given(st.text() | json_values.map(json.dumps))
def test_nothing_that_entity_syncs_clients_send_raises(text):
    assert parse_action(text) is not None


@given(keys)
def test_a_notice_carries_the_key_and_nothing_else(key):
    notice = entity_sync.encode_notice(key)
    assert list(notice.items()) == [("entity", key.entity), ("id", key.id)]
    assert entity_sync.parse_notice(json.dumps(notice).encode()) == key


@pytest.mark.parametrize("data", [b"", b"[]", b"7", b"{}", b'{"entity":1,"id":"1"}', b"\xff"])
def test_a_notice_that_is_none_is_passed_over(data):
    assert entity_sync.parse_notice(data) is None


def test_ids_of_applications_become_texts():
    assert entity_key("items", 7).id == "7"
    assert entity_key("items", UUID(int=1)).id == "00000000-0000-0000-0000-000000000001"
    for wrong in (True, 1.0, None, b"1", "", "\n"):
        with pytest.raises(GrammarError):
            entity_key("items", wrong)
