"""The publish API's body and answer."""

from __future__ import annotations

import json
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.samples import json_values, names
from trunkline.errors import LimitExceededError, UsageError
from trunkline.model.audience import Audience
from trunkline.model.channel import ChannelKey
from trunkline.model.message import Receipt
from trunkline.wire import publish
from trunkline.wire.publish import Published, parse_body


def body(*messages: dict[str, object]) -> bytes:
    return json.dumps(list(messages)).encode()


def test_one_message_is_read_with_all_it_can_carry():
    sent = {
        "channel": "/a", "data": {"x": [1, 2.5, "é"]}, "user_ids": [1, "1"], "group_ids": ["g"],
        "client_ids": ["c"], "exclude_user_ids": [2], "exclude_group_ids": ["h"],
        "exclude_client_ids": ["d"], "site_id": "s", "headers": {"trace": "t"}, "key": "k",
        "max_backlog_size": 5, "max_backlog_age": 1.5,
    }  # fmt: skip
    got = parse_body(json.dumps(sent).encode())
    assert not got.is_batch
    (request,) = got.requests
    assert (request.channel, json.loads(bytes(request.data))) == ("/a", sent["data"])
    assert request.options == {k: v for k, v in sent.items() if k not in {"channel", "data"}}
    assert request.audience == Audience(
        user_ids=(1, "1"), group_ids=("g",), client_ids=("c",), exclude_user_ids=(2,),
        exclude_group_ids=("h",), exclude_client_ids=("d",),
    )  # fmt: skip


def test_a_list_is_a_batch_even_of_one():
    got = parse_body(b' \n[{"channel":"/a","data":null}]')
    assert got.is_batch
    assert [bytes(one.data) for one in got.requests] == [b"null"]


def test_data_loses_its_blanks_and_keeps_its_numbers():
    got = parse_body(b'{"channel":"/a","data": {"n" : 1.50,\r\n "t": " a b\\n" , "e":1e2} }')
    assert bytes(got.requests[0].data) == b'{"n":1.50,"t":" a b\\n","e":1e2}'


@given(st.lists(st.tuples(names, json_values), min_size=1, max_size=5))
def test_a_batch_keeps_order_and_values(messages):
    valid = [{"channel": f"/x{name}", "data": data} for name, data in messages]
    got = parse_body(json.dumps(valid).encode())
    assert [(one.channel, json.loads(bytes(one.data))) for one in got.requests] == [
        (one["channel"], one["data"]) for one in valid
    ]


@pytest.mark.parametrize(
    ("members", "status", "says"),
    [
        ({"data": 1}, 422, "channel"),
        ({"channel": "/a"}, 422, "data"),
        ({"channel": 1}, 422, "$.channel"),
        ({"chanel": "/a"}, 422, "chanel"),
        ({"channel": "a"}, 400, "must start with '/'"),
        ({"channel": "/__x"}, 400, "reserved"),
        ({"channel": "/a*"}, 400, "'*'"),
        ({"user_ids": []}, 422, "user_ids is empty"),
        ({"user_ids": [True]}, 422, "$.user_ids"),
        ({"user_ids": [1.5]}, 422, "$.user_ids"),
        ({"user_ids": 1}, 422, "$.user_ids"),
        ({"client_ids": [1]}, 422, "$.client_ids"),
        ({"channel": "/global/a", "group_ids": ["g"]}, 422, "group_ids"),
        ({"site_id": ""}, 400, "site_id"),
        ({"site_id": 5}, 422, "$.site_id"),
        ({"headers": [1]}, 422, "$.headers"),
        ({"key": ""}, 422, "key"),
        ({"key": "x" * 256}, 422, "key"),
        ({"max_backlog_size": 0}, 422, "$.max_backlog_size"),
        ({"max_backlog_size": 1.5}, 422, "$.max_backlog_size"),
        ({"max_backlog_age": -1}, 422, "$.max_backlog_age"),
    ],
)
def test_a_wrong_message_is_named_by_index_and_field(members, status, says):
    good = {"channel": "/a", "data": 1}
    bad = {**good, **members}
    if members in ({"data": 1}, {"channel": "/a"}):
        bad = members
    with pytest.raises(UsageError, match="message 1 of the batch") as caught:
        parse_body(body(good, bad, good))
    assert caught.value.status == status
    assert says in str(caught.value)
    with pytest.raises(UsageError) as alone:
        parse_body(json.dumps(bad).encode())
    assert type(alone.value) is type(caught.value)
    assert "batch" not in str(alone.value)


@pytest.mark.parametrize(
    "data", [b"NaN", b'"\xff"', b'"\\ud800x"', b"[1,]", b"1e400", b"[" * 100_000, b"01", b"tru"]
)
def test_data_that_is_no_strict_json_is_refused(data):
    with pytest.raises(UsageError):
        parse_body(b'{"channel":"/a","data":%b}' % data)


@pytest.mark.parametrize(
    "text", [b"", b"x", b"{", b"[", b"\xff", b"null", b"1", b"[]", b"[1]", b"[[]]"]
)
def test_bodies_that_are_no_messages_are_refused(text):
    with pytest.raises(UsageError) as caught:
        parse_body(text)
    assert caught.value.status in {400, 422}


def test_a_batch_has_a_limit():
    message = {"channel": "/a", "data": 1}
    assert len(parse_body(body(message, message), max_batch=2).requests) == 2
    with pytest.raises(LimitExceededError) as caught:
        parse_body(body(message, message, message), max_batch=2)
    assert (caught.value.limit, caught.value.status) == ("max_batch", 413)


plausible = st.dictionaries(
    st.sampled_from(["channel", "data", "user_ids", "client_ids", "headers", "key", "site_id"]),
    json_values | st.sampled_from(["/a", ["x"], "k"]),
)


@given(
    st.binary(max_size=60) | (plausible | st.lists(plausible, max_size=3)).map(msgspec.json.encode)
)
def test_any_body_is_messages_or_a_mistake(text):
    with suppress(UsageError):
        assert parse_body(text).requests


def test_receipts_become_the_answer():
    receipt = Receipt(ChannelKey("/a", "s"), 3, 9, "k3", True)
    shown = {
        "channel": "/a", "message_id": 3, "global_id": 9, "position": "k3-9", "repeated": True
    }  # fmt: skip
    assert json.loads(publish.encode_receipts([receipt], is_batch=False)) == shown
    assert json.loads(publish.encode_receipts([receipt], is_batch=True)) == [shown]
    got = publish.decode_receipts(publish.encode_receipts([receipt], is_batch=False))
    assert got == [Published("/a", 3, 9, "k3-9", True)]
    both = publish.decode_receipts(publish.encode_receipts([receipt, receipt], is_batch=True))
    assert both == got * 2


def test_publishes_can_be_written_by_a_client():
    request = publish.PublishRequest(channel="/a", data=msgspec.Raw(b"[1]"), key="k")
    assert (
        publish.encode_body([request], is_batch=False) == b'{"channel":"/a","data":[1],"key":"k"}'
    )
    again = parse_body(publish.encode_body([request] * 2, is_batch=True))
    assert [one.options for one in again.requests] == [{"key": "k"}] * 2


@pytest.mark.parametrize("text", [b"", b"1", b"[1]", b'{"channel":"/a"}'])
def test_an_answer_that_is_none_is_a_protocol_error(text):
    with pytest.raises(publish.ProtocolError):
        publish.decode_receipts(text)
