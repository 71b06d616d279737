"""The one pattern language."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.errors import GrammarError
from trunkline.model.pattern import Pattern, channel_pattern, is_pattern

SEGMENT = st.text(
    st.characters(blacklist_characters="/*:", blacklist_categories=["Cs"]), min_size=1
)


@pytest.mark.parametrize(
    ("pattern", "name", "captured"),
    [
        ("/orders/7", "/orders/7", {}),
        ("/orders/7", "/orders/77", None),
        ("/orders/*", "/orders/7", {}),
        ("/orders/*", "/orders/7/items", None),
        ("/orders/*", "/orders/", None),
        ("/orders/**", "/orders/7/items", {}),
        ("/orders/**", "/orders", None),
        ("/**", "/anything/at/all", {}),
        ("/orders/:id", "/orders/7", {"id": "7"}),
        ("/orders/:id/:item", "/orders/7/9", {"id": "7", "item": "9"}),
        ("/a.b/*", "/aXb/c", None),
        ("/a+/*", "/a+/c", {}),
    ],
)
def test_a_pattern_matches_segment_by_segment(pattern, name, captured) -> None:
    """A wildcard stands for one segment, a double one for the rest, and text for itself."""
    compiled = channel_pattern(pattern)

    assert compiled.capture(name) == captured
    assert compiled.matches(name) == (captured is not None)


@pytest.mark.parametrize(
    "bad", ["", "orders", "/a*", "/a/**/b", "/:", "/:1", "/:a/:a", "/a:b", "/" + "x" * 600]
)
def test_what_is_no_pattern_is_refused(bad: str) -> None:
    """The error names the pattern."""
    with pytest.raises(GrammarError):
        channel_pattern(bad)


@given(st.lists(SEGMENT, min_size=1, max_size=5))
def test_a_name_is_a_pattern_for_itself(segments: list[str]) -> None:
    """Every character of a name stands for itself, regular-expression characters included."""
    name = "/" + "/".join(segments)

    assert not is_pattern(name)
    if len(name) <= 512:
        assert Pattern(name).matches(name)
        assert Pattern(name).is_exact


@given(st.lists(SEGMENT, min_size=1, max_size=5), st.integers(0, 4))
def test_a_star_stands_for_any_one_segment(segments: list[str], index: int) -> None:
    """Whatever segment is replaced by a star, the pattern still matches."""
    wild = list(segments)
    wild[index % len(wild)] = "*"
    pattern = "/" + "/".join(wild)
    if len(pattern) <= 512:
        assert channel_pattern(pattern).matches("/" + "/".join(segments))
        assert not channel_pattern(pattern).matches("/" + "/".join([*segments, "more"]))


def test_dots_are_the_other_separator() -> None:
    """Event names use the same language."""
    assert Pattern("test.:id.created", ".").capture("test.7.created") == {"id": "7"}
    assert Pattern("test.**", ".").matches("test.a.b/c")
    assert Pattern("a.b", ".") != Pattern("a.b", "/")
