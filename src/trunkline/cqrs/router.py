"""Find everybody who listens to a name, in microseconds, among thousands of patterns.

Patterns are compiled into a trie over segments. Names differ mostly in their ids, so what the trie
found is remembered by a name's *shape*: its segments, with those no pattern spells out left blank.
Ten thousand orders then cost one walk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar

from trunkline.cqrs.pattern import NamePattern, Params, name_pattern
from trunkline.cqrs.segment import Segment, Sort, decode

T = TypeVar("T")

_new = tuple.__new__

#: What stands in a shape for a segment that no pattern spells out. No segment has a dot.
_BLANK = "."
NAMES = 1024
SHAPES = 4096


class Match(NamedTuple, Generic[T]):
    """Be one listener that hears a name.

    Args:
        value: What was added to the router.
        params: What its pattern captured, decoded. Shared: read it only.
        pattern: The text of the pattern that matched.
    """

    value: T
    params: Params
    pattern: str


class Route(NamedTuple, Generic[T]):
    """Be one line of the table of routes.

    Args:
        pattern: What it hears.
        value: Who hears it.
        priority: The lower goes first among patterns of the same rank.
        order: The number of its registration.
    """

    pattern: NamePattern
    value: T
    priority: int
    order: int

    @property
    def sort_key(self) -> tuple[int, int, int]:
        """Return its place: exact before parameter before wildcard, then priority, then order."""
        return (self.pattern.rank, self.priority, self.order)


class _Node(Generic[T]):
    """Be a place in the trie: where a name's segments lead."""

    __slots__ = ("literals", "one", "routes", "wide")

    def __init__(self) -> None:
        self.literals: dict[str, _Node[T]] = {}
        self.one: _Node[T] | None = None
        #: Leads on by the next segment, and from there by each further one back to itself.
        self.wide: dict[Sort, _Node[T]] = {}
        self.routes: list[Route[T]] = []

    def child(self, segment: Segment) -> _Node[T]:
        if segment.sort is Sort.LITERAL:
            return self.literals.setdefault(segment.text, _Node())
        if segment.is_wide:
            return self.wide.setdefault(segment.sort, _Node())
        self.one = self.one or _Node()
        return self.one


class _Capture(NamedTuple):
    """Say where parameters stand in names of one shape.

    Args:
        singles: Each with its segment.
        several: Repeated ones, each with its segments.
    """

    singles: tuple[tuple[str, int], ...]
    several: tuple[tuple[str, tuple[int, ...]], ...]


class _Plan(NamedTuple, Generic[T]):
    """Be what a shape leads to.

    Args:
        captures: What is captured; patterns that capture alike share one.
        listeners: Each with the number of its capture, and its pattern's text.
    """

    captures: tuple[_Capture, ...]
    listeners: tuple[tuple[T, int, str], ...]


class Router(Generic[T]):
    """Match names against patterns.

    The same value under several patterns that match is found once, under the first of them in
    order; values are the same when they are one object.

    Args:
        legacy_wildcards: Read ``*`` as spool-broadcast does: one or more segments, anywhere.
        names: How many names' matches are remembered.
        shapes: How many shapes' matches are remembered.
    """

    def __init__(
        self, *, legacy_wildcards: bool = False, names: int = NAMES, shapes: int = SHAPES
    ) -> None:
        self._legacy = legacy_wildcards
        self._routes: list[Route[T]] = []
        self._literals: set[str] = set()
        self._root: _Node[T] = _Node()
        self._find = lru_cache(names)(self._resolve)
        self._plan = lru_cache(shapes)(self._walk)

    def add(
        self, pattern: str, value: T, *, priority: int = 0, legacy: bool | None = None
    ) -> Route[T]:
        """Have a value hear the names that a pattern matches.

        Args:
            pattern: What it hears.
            value: Who hears it.
            priority: The lower goes first among patterns of the same rank.
            legacy: Whether ``*`` is spool-broadcast's here, if not as in the whole router.

        Returns:
            The line it takes in the table.

        Raises:
            GrammarError: It is no pattern.
        """
        compiled = name_pattern(pattern, legacy=self._legacy if legacy is None else legacy)
        route = Route(compiled, value, priority, len(self._routes))
        self._routes.append(route)
        nodes = [self._root]
        for segment in compiled.segments:
            before = nodes if segment.sort is Sort.OPTIONAL else []
            nodes = list({id(n): n for n in [*(n.child(segment) for n in nodes), *before]}.values())
            if segment.sort is Sort.LITERAL:
                self._literals.add(segment.text)
        for node in nodes:
            node.routes.append(route)
        self._find.cache_clear()
        self._plan.cache_clear()
        return route

    def match(self, name: str) -> Sequence[Match[T]]:
        """Return everybody who hears a name: exact, parameter, wildcard; priority; registration.

        Args:
            name: Any text; what is no name is heard by nobody.

        Returns:
            The matches, each value once.
        """
        return self._find(name)

    def routes(self) -> list[Route[T]]:
        """Return the whole table, in the order in which matches are returned."""
        return sorted(self._routes, key=lambda route: route.sort_key)

    def __iter__(self) -> Iterator[Route[T]]:
        return iter(self.routes())

    def __len__(self) -> int:
        return len(self._routes)

    def _resolve(self, name: str) -> tuple[Match[T], ...]:
        segments = name.split(".")
        literals = self._literals
        shape = tuple([s if s in literals or not s else _BLANK for s in segments])
        captures, listeners = self._plan(shape)
        if not listeners:
            return ()
        if "%" in name:
            segments = [decode(segment) for segment in segments]
        params: list[Params] = []
        for singles, several in captures:
            captured: Params = {key: segments[at] for key, at in singles}
            for key, places in several:
                captured[key] = tuple([segments[at] for at in places])
            params.append(captured)
        # The constructor of a named tuple costs more than all the rest of a match.
        return tuple(
            [_new(Match, (value, params[number], text)) for value, number, text in listeners]
        )

    def _walk(self, shape: tuple[str, ...]) -> _Plan[T]:
        captures: dict[_Capture, int] = {}
        listeners: list[tuple[T, int, str]] = []
        seen: set[int] = set()
        for route in sorted(self._reached(shape), key=lambda route: route.sort_key):
            if id(route.value) not in seen:
                seen.add(id(route.value))
                number = captures.setdefault(_captured(route.pattern, shape), len(captures))
                listeners.append((route.value, number, route.pattern.text))
        return _Plan(tuple(captures), tuple(listeners))

    def _reached(self, shape: tuple[str, ...]) -> list[Route[T]]:
        """Walk the trie along all paths at once; each segment visits a place at most once."""
        nodes: dict[int, tuple[_Node[T], Sort | None]] = {0: (self._root, None)}
        for text in shape:
            onward: dict[int, tuple[_Node[T], Sort | None]] = {}
            for node, stays in nodes.values():
                steps: list[tuple[_Node[T] | None, Sort | None]] = [(node.literals.get(text), None)]
                if text:
                    steps.append((node.one, None))
                    steps += [(wide, sort) for sort, wide in node.wide.items()]
                elif Sort.SPAN in node.wide:
                    steps.append((node.wide[Sort.SPAN], Sort.SPAN))
                if stays is Sort.SPAN or (stays and text):
                    steps.append((node, stays))
                onward.update({id(step): (step, sort) for step, sort in steps if step})
            nodes = onward
        found = {route.order: route for node, _ in nodes.values() for route in node.routes}
        return list(found.values())


def _captured(pattern: NamePattern, shape: tuple[str, ...]) -> _Capture:
    """Return at which segment, or for a repeated parameter segments, each parameter stands."""
    places: dict[str, tuple[int, ...]] = {}
    for name, index in pattern.positions(shape) or ():
        places[name] = (*places.get(name, ()), index)
    repeated = pattern.repeated
    return _Capture(
        tuple((name, at[0]) for name, at in places.items() if name not in repeated),
        tuple((name, at) for name, at in places.items() if name in repeated),
    )
