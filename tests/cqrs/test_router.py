"""The router: everybody who hears a name, in one order, against a linear scan."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.cqrs.pattern import NamePattern
from trunkline.cqrs.router import Router
from trunkline.errors import GrammarError

PIECES = ["a", "b", "c", ":x", ":y", ":x?", "*"]
PATTERNS = st.tuples(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map(".".join),
    st.sampled_from(["", "", ".**"]),
).map("".join)
LEGACY = st.lists(st.sampled_from(["a", "b", ":x", ":y?", "*"]), min_size=1, max_size=4).map(
    ".".join
)
NAMES = st.lists(st.sampled_from(["a", "b", "c", "d", "e%2Ef", ""]), max_size=5).map(".".join)
ROUTES = st.lists(st.tuples(PATTERNS, st.integers(0, 4), st.integers(-2, 2)), max_size=12)


class Listener:
    """Be somebody who hears, known by identity."""

    def __init__(self, number: int) -> None:
        self.number = number


def scanned(routes: list[tuple[str, Listener, int]], name: str, *, legacy: bool = False) -> list:
    """Find the matches by trying every pattern, in the documented order."""
    found = []
    for order, (text, value, priority) in enumerate(routes):
        pattern = NamePattern(text, legacy=legacy)
        params = pattern.capture(name)
        if params is not None:
            found.append(((pattern.rank, priority, order), value, params, text))
    unique: dict[int, tuple] = {}
    for _, value, params, text in sorted(found, key=lambda entry: entry[0]):
        unique.setdefault(id(value), (value, params, text))
    return list(unique.values())


def fill(routes: list[tuple[str, int, int]], *, legacy: bool) -> tuple[Router, list]:
    listeners = [Listener(number) for number in range(5)]
    router: Router[Listener] = Router(legacy_wildcards=legacy, names=4, shapes=4)
    table = [(text, listeners[who], priority) for text, who, priority in routes]
    for text, value, priority in table:
        router.add(text, value, priority=priority)
    return router, table


@given(ROUTES, st.lists(NAMES, max_size=8))
def test_the_router_finds_what_a_scan_finds(routes: list, names: list[str]) -> None:
    """Same listeners, parameters and order, though memory forgets nearly everything."""
    router, table = fill(routes, legacy=False)

    for name in names:
        assert [tuple(match) for match in router.match(name)] == scanned(table, name)


@given(
    st.lists(st.tuples(LEGACY, st.integers(0, 4), st.integers(-2, 2)), max_size=8),
    st.lists(NAMES, max_size=6),
)
def test_legacy_wildcards_are_routed_too(routes: list, names: list[str]) -> None:
    """The star that spans dots finds what a scan finds."""
    router, table = fill(routes, legacy=True)

    for name in names:
        assert [tuple(m) for m in router.match(name)] == scanned(table, name, legacy=True)


def test_order_is_exact_then_parameter_then_wildcard_then_priority_then_registration() -> None:
    """Priority decides among equals only."""
    router: Router[str] = Router()
    router.add("**", "rest", priority=-9)
    router.add("test.*", "star", priority=-10)
    router.add("test.:x", "second", priority=5)
    router.add("test.:y", "third", priority=5)
    router.add(":t.created", "first", priority=1)
    router.add("test.created", "exact", priority=99)

    values = [match.value for match in router.match("test.created")]

    assert values == ["exact", "first", "second", "third", "star", "rest"]
    assert [route.value for route in router] == values


def test_a_listener_under_several_patterns_is_found_once_by_the_most_specific() -> None:
    """However many of its patterns match, it hears the name once."""
    router: Router[Listener] = Router()
    one = Listener(1)
    for pattern in ["**", "test.*", "test.:id"]:
        router.add(pattern, one)

    (match,) = router.match("test.7")

    assert (match.value, match.params, match.pattern) == (one, {"id": "7"}, "test.:id")


def test_a_pattern_added_later_is_heard_at_once() -> None:
    """What was remembered is forgotten when the table changes."""
    router: Router[str] = Router()
    assert router.match("a.1") == ()
    router.add("a.:x", "early")
    assert [m.value for m in router.match("a.1")] == ["early"]
    router.add("a.*", "late")

    assert [m.value for m in router.match("a.1")] == ["early", "late"]


def test_what_is_remembered_is_bounded() -> None:
    """A million ids do not become a million entries."""
    router: Router[str] = Router(names=8, shapes=8)
    router.add("a.:x.b", "one")
    for number in range(1000):
        router.match(f"a.{number}.b")
        router.match(".".join("a" * (number % 50)))

    assert router._find.cache_info().currsize <= 8
    assert router._plan.cache_info().currsize <= 8


def test_ids_share_one_shape() -> None:
    """Ten thousand entities cost one walk of the trie."""
    router: Router[str] = Router()
    router.add("a.:x.b", "one")
    for number in range(1000):
        assert router.match(f"a.{number}.b")[0].params == {"x": str(number)}

    assert router._plan.cache_info().misses == 1


def test_a_long_name_is_matched_in_bounded_time() -> None:
    """Wildcards and optional parameters don't multiply: each segment is looked at once a place."""
    router: Router[int] = Router(legacy_wildcards=True)
    for number in range(50):
        router.add(".".join([f":p{i}?" for i in range(number % 8)] + ["*"] * 8 + ["z"]), number)

    assert len(router.match(".".join(["z"] * 300))) == 50


def test_no_pattern_no_route() -> None:
    """A pattern outside the grammar is refused and leaves the table as it was."""
    router: Router[str] = Router()
    with pytest.raises(GrammarError):
        router.add("a..b", "one")

    assert len(router) == 0
