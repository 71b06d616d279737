"""Dotted patterns: what they match, capture and fill, against a naive reading of the grammar."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.cqrs.pattern import NamePattern, name_pattern
from trunkline.cqrs.segment import decode, encode
from trunkline.errors import GrammarError

PIECES = ["a", "b", "A", "%2E", ":x", ":y", ":x?", ":y?", "*", "(a|b)", "a+", "$1"]
PATTERNS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map(".".join)
ENDED = st.tuples(PATTERNS, st.sampled_from(["", ".**"])).map("".join)
LEGACY = st.lists(st.sampled_from(["a", "b", ":x", ":y?", "*", "*z"]), min_size=1, max_size=5).map(
    ".".join
)
NAMES = st.lists(st.sampled_from(["a", "b", "A", "c", "%2E", "(a|b)", "a+", "$1", ""]), max_size=6)


def naive(pattern: list[str], name: list[str], *, legacy: bool = False) -> bool:
    """Read the grammar as it is written, by trying everything."""
    if not pattern:
        return not name
    first, rest = pattern[0], pattern[1:]
    if first.startswith(":") and first.endswith("?"):
        return naive(rest, name, legacy=legacy) or naive([first[:-1], *rest], name, legacy=legacy)
    if not name:
        return False
    if legacy and first.startswith("*"):
        return any(naive(rest, name[i:], legacy=True) for i in range(1, len(name) + 1))
    if first == "**":
        return all(name)
    fits = name[0] if first.startswith(":") or first == "*" else name[0] == first
    return bool(fits) and naive(rest, name[1:], legacy=legacy)


@given(ENDED, NAMES.map(".".join))
def test_matching_agrees_with_the_grammar(pattern: str, name: str) -> None:
    """Every character of text stands for itself; nothing raises, whatever the name."""
    assert NamePattern(pattern).matches(name) == naive(pattern.split("."), name.split("."))


@given(LEGACY, NAMES.map(".".join))
def test_the_legacy_wildcard_spans_dots_and_empty_text(pattern: str, name: str) -> None:
    """In legacy mode a star stands for one or more segments, anywhere."""
    expected = naive(pattern.split("."), name.split("."), legacy=True)

    assert NamePattern(pattern, legacy=True).matches(name) == expected


@given(ENDED, st.text(max_size=30))
def test_matching_is_total(pattern: str, name: str) -> None:
    """Any text is matched or not; none makes it raise."""
    assert isinstance(NamePattern(pattern).matches(name), bool)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        (
            "test.:crud",
            ["test.created"],
            ["test.created.list", "test", "test.created.", "x.test.a"],
        ),
        ("test.*", ["test.created"], ["test.a.created", "test.", "Test.Created", "test"]),
        ("*.test", ["create.test"], ["create.a.test", "test", "create.tests"]),
        ("test.:id?", ["test", "test.1"], ["test.1.2", "test."]),
        ("test.**", ["test.1", "test.1.2.3"], ["test", "tests.1", "test.1..2"]),
        ("a.:x?.b", ["a.b", "a.1.b"], ["a", "a.1.2.b"]),
        ("**", ["a", "a.b"], ["", "."]),
    ],
)
def test_what_each_segment_stands_for(pattern: str, yes: list[str], no: list[str]) -> None:
    """The table of the grammar."""
    assert [name for name in yes + no if name_pattern(pattern).matches(name)] == yes


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("test.*", ["test.created", "test.a.created", "test."], ["test"]),
        ("*.test", ["create.test", "create.a.test"], ["test", "create.tests"]),
        ("a.*.b.*", ["a.1.b.2", "a.1.2.b.3.4"], ["a.b.1"]),
        ("*", ["anything", "a.b", ""], []),
    ],
)
def test_the_legacy_table(pattern: str, yes: list[str], no: list[str]) -> None:
    """What spool-broadcast's star matched, matches; case counts all the same."""
    compiled = name_pattern(pattern, legacy=True)

    assert [name for name in yes + no if compiled.matches(name)] == yes


@pytest.mark.parametrize(
    ("pattern", "name", "captured"),
    [
        ("move.:id.to.:id", "move.1.to.2", {"id": ("1", "2")}),
        (":a.:b?", "1", {"a": "1"}),
        (":a.:b?.c", "1.2.c", {"a": "1", "b": "2"}),
        ("t.:x?.:x?", "t.1", {"x": ("1",)}),
        ("t.:x.**", "t.a%2Eb.c.d", {"x": "a.b"}),
        ("t.:x", "u.1", None),
    ],
)
def test_parameters_are_captured_and_decoded(pattern: str, name: str, captured: object) -> None:
    """A repeated parameter is a tuple in order; an absent optional one is absent."""
    assert name_pattern(pattern).capture(name) == captured


@given(st.text())
def test_every_value_round_trips_through_a_segment(value: str) -> None:
    """Dots, wildcards, percent signs and emptiness come back as they were."""
    segment = encode(value)

    assert segment
    assert not set(segment) & set(".*:/")
    assert decode(segment) == value


@given(st.text(), st.text())
def test_a_filled_name_gives_its_values_back(first: str, second: str) -> None:
    """Whatever the values, the name has the pattern's shape and captures them."""
    pattern = name_pattern("test.:a.x.:b.:a")
    name = pattern.fill({"a": [first, second], "b": second})

    assert name.count(".") == 4
    assert pattern.capture(name) == {"a": (first, second), "b": second}


def test_values_are_written_as_their_texts() -> None:
    """Numbers, truth values, ids and times have one text each."""
    moment = datetime(2024, 5, 1, 12, 30, tzinfo=UTC)
    pattern = name_pattern(":n.:t.:u.:m.:o?")
    uuid = UUID(int=7)

    name = pattern.fill({"n": -1.5, "t": True, "u": uuid, "m": moment})

    assert pattern.capture(name) == {
        "n": "-1.5",
        "t": "true",
        "u": str(uuid),
        "m": moment.isoformat(),
    }


@pytest.mark.parametrize(
    ("pattern", "values"),
    [
        ("a.:x", {}),
        ("a.:x", {"x": None}),
        ("a.:x.:x", {"x": ["1"]}),
        ("a.*", {}),
        (":x", {"x": {}}),
    ],
)
def test_what_can_not_be_filled_is_refused(pattern: str, values: dict[str, object]) -> None:
    """A missing value, too few values, a wildcard, and what has no text."""
    with pytest.raises(GrammarError):
        name_pattern(pattern).fill(values)


@pytest.mark.parametrize(
    "bad",
    ["", ".", "a..b", "a.", "a*", "**.a", ":", ":1", "a:b", "::x", "x" * 600, "a." * 40 + "a"],
)
def test_what_is_no_pattern_is_refused(bad: str) -> None:
    """Nothing is silently read as something else."""
    with pytest.raises(GrammarError):
        NamePattern(bad)


@given(ENDED, ENDED, NAMES.map(".".join))
def test_patterns_that_share_a_name_overlap(left: str, right: str, name: str) -> None:
    """If a name matches both, they are said to overlap, either way round."""
    first, second = NamePattern(left), NamePattern(right)

    if first.matches(name) and second.matches(name):
        assert first.overlaps(second)
    assert first.overlaps(second) == second.overlaps(first)


@pytest.mark.parametrize(
    ("left", "right", "share"),
    [
        ("test.:id.created", "test.*.created", True),
        ("test.:id.created", "test.*.deleted", False),
        ("test.:id?", "test", True),
        ("a.**", "a", False),
        ("a.**", "a.b.:c", True),
        ("a", "A", False),
    ],
)
def test_overlap_is_known_without_a_name(left: str, right: str, share: bool) -> None:
    """Two patterns overlap exactly when some name could match both."""
    assert name_pattern(left).overlaps(name_pattern(right)) is share
