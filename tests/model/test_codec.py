"""Strict JSON, in and out."""

from __future__ import annotations

import contextlib
import json
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.errors import UnencodableDataError
from trunkline.model import codec

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(blacklist_categories=["Cs"])),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(st.characters(blacklist_categories=["Cs"])), inner)
    ),
    max_leaves=20,
)


@given(JSON)
def test_strict_json_round_trips(value) -> None:
    """What was published is what is read, and the standard library reads it the same."""
    text = codec.encode(value)

    assert codec.decode(text) == value
    assert json.loads(text) == value


@given(JSON, st.sampled_from([math.nan, math.inf, -math.inf]))
def test_non_finite_numbers_are_refused_wherever_they_hide(value, bad) -> None:
    """Also beside a real null, in a list, as a value."""
    for data in (bad, [value, bad], {"a": [None, {"b": bad}]}, (value, {"x": (bad,)})):
        with pytest.raises(UnencodableDataError):
            codec.encode(data)


@pytest.mark.parametrize("bad", ["\ud800", {"\udfff": 1}, object(), {1, object()}, 1 + 2j])
def test_what_json_cannot_carry_is_refused(bad) -> None:
    """Lone surrogates and foreign types raise one error, before anything is stored."""
    with pytest.raises(UnencodableDataError):
        codec.encode(bad)


def test_endless_nesting_is_refused() -> None:
    """Neither a deep value nor a deep text ends the process."""
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(UnencodableDataError):
        codec.encode(deep)
    with pytest.raises(UnencodableDataError):
        codec.decode(b"[" * 100_000)


@pytest.mark.parametrize("text", [b'{"a": NaN}', b'"\\ud800"', b"", b"{", b"1 2", b'"\xff"'])
def test_ready_made_text_is_checked(text: bytes) -> None:
    """A raw value is taken as it is only when it is strict JSON."""
    with pytest.raises(UnencodableDataError):
        codec.encode(msgspec.Raw(text))


def test_ready_made_text_is_kept() -> None:
    """A number keeps its digits."""
    assert codec.encode(msgspec.Raw(b' {"a":1.10} ')) == b'{"a":1.10}'


@given(st.binary(max_size=200))
def test_decoding_is_total(text: bytes) -> None:
    """Any bytes are a value or an UnencodableDataError."""
    with contextlib.suppress(UnencodableDataError):
        codec.decode(text)
