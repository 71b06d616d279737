"""A draft comes out of the outbox as it went in, and nothing else comes out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.errors import InvalidMessageError
from trunkline.model import codec
from trunkline.model.channel import ChannelKey, Kind
from trunkline.model.message import Draft
from trunkline.store.envelope import seal, unseal

names = st.from_regex(r"/[a-z/é]{1,40}", fullmatch=True).filter(
    lambda name: not name.startswith(("/__", "/global/"))
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=6,
)


@given(
    names,
    st.none() | st.from_regex(r"[a-z]{1,9}", fullmatch=True),
    values,
    st.none() | st.just(b'{"user_ids":["a"]}'),
    st.none() | st.text(st.characters(codec="utf-8"), min_size=1, max_size=40),
    st.none() | st.integers(1, 10**9),
)
def test_what_goes_in_comes_out(name, site, data, audience, key, size):
    draft = Draft(
        channel=ChannelKey(name, site),
        data=codec.encode(data),
        audience=audience,
        headers=b'{"a":1}' if size else None,
        key=key,
        max_backlog_size=size,
        max_backlog_age=1.5 if key else None,
    )
    assert unseal(seal(draft)) == draft


def test_a_stream_keeps_its_version():
    draft = Draft(
        channel=ChannelKey("/stream/order/7"), data=b"1", kind=Kind.STREAM, expected_version=3
    )
    assert unseal(seal(draft)) == draft


@given(st.binary(max_size=60))
def test_garbage_is_no_message(garbage):
    with pytest.raises(InvalidMessageError):
        unseal(garbage)


@pytest.mark.parametrize(
    "draft",
    [
        Draft(channel=ChannelKey("no-slash"), data=b"1"),
        Draft(channel=ChannelKey("/a"), data=b"{"),
        Draft(channel=ChannelKey("/a"), data=b"1", headers=b"NaN"),
        Draft(channel=ChannelKey("/a"), data=b'"' + b"x" * 1024 * 1024 + b'"'),
        Draft(channel=ChannelKey("/a", ""), data=b"1"),
    ],
)
def test_what_may_not_be_published_is_no_message(draft):
    with pytest.raises(InvalidMessageError):
        unseal(seal(draft))
