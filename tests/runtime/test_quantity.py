"""Durations, sizes and switches read as people write them, and nothing else does."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.errors import ConfigError
from trunkline.runtime import quantity


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0), ("1_000", 1000), ("7d", 604800.0), (" 1.5 s ", 1.5), ("2H", 7200)]
)
def test_a_duration(text: str, value: float) -> None:
    assert quantity.duration("x", text) == value


@pytest.mark.parametrize(("text", "value"), [("10", 10), ("1kB", 1000), ("1.5KiB", 1536)])
def test_a_size(text: str, value: int) -> None:
    assert quantity.size("x", text) == value


@pytest.mark.parametrize("read", [quantity.number, quantity.duration, quantity.size])
@pytest.mark.parametrize("text", ["", "-1", "1e3", "nan", "inf", "0x10", "1 2", "d", "1zz", "１"])
def test_what_is_no_quantity_is_refused_by_name(read, text: str) -> None:
    with pytest.raises(ConfigError, match="the_name"):
        read("the_name", text)


@given(st.text(max_size=20))
def test_any_text_is_a_quantity_or_an_error(text: str) -> None:
    for read in (quantity.number, quantity.duration, quantity.size):
        with contextlib.suppress(ConfigError):
            assert read("x", text) >= 0


@pytest.mark.parametrize("text", ["1", "true", "Yes", "ON"])
def test_a_switch_that_is_on(text: str) -> None:
    assert quantity.switch("x", text) is True
    assert quantity.switch("x", True) is True


@pytest.mark.parametrize("text", ["0", "false", "no", "off", ""])
def test_a_switch_that_is_off(text: str) -> None:
    assert quantity.switch("x", text) is False


@pytest.mark.parametrize("value", ["maybe", 1, 0, None])
def test_what_is_no_switch_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="true or false"):
        quantity.switch("x", value)
