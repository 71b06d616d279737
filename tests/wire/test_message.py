"""The message object of our own protocols."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.samples import record, records
from trunkline.errors import ProtocolError
from trunkline.wire.message import decode_message, encode_message


def test_the_members_stand_in_order():
    assert encode_message(record("é", "/ä", 2, 9, headers={"h": 1})).decode() == (
        '{"channel":"/ä","message_id":2,"global_id":9,"published_at":1767225600.25,'
        '"data":"é","headers":{"h":1}}'
    )


@given(records())
def test_a_client_reads_what_was_stored(one):
    got = decode_message(encode_message(one))
    assert (got.channel, got.message_id, got.global_id, got.published_at) == (
        one.channel.name,
        one.message_id,
        one.global_id,
        one.published_at,
    )
    assert got.data == json.loads(one.data)
    assert got.headers == (json.loads(one.headers) if one.headers else {})


@given(st.binary(max_size=40))
def test_other_bytes_are_a_protocol_error(text):
    with pytest.raises(ProtocolError):
        decode_message(text)
