"""The patterns by which handlers say what they hear, and by which events say their names.

Grammar: segments between dots. Text stands for itself, ``:name`` captures one segment, ``:name?``
one or none, ``*`` stands for one segment, a last ``**`` for one or more. Names are compared case
by case. A name with an empty segment matches nothing but spool-broadcast's ``*``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import TypeAlias

from trunkline.cqrs.segment import Segment, Sort, decode, encode, read_segment, texts
from trunkline.errors import GrammarError

MAX_BYTES = 512
MAX_SEGMENTS = 32

Params: TypeAlias = "dict[str, str | tuple[str, ...]]"


class NamePattern:
    """Match dotted names, capture their parameters, and make names of values.

    Where a name can be read in several ways, optional and wide segments take as much as they can,
    from the left.

    Args:
        text: The pattern, such as ``test.:test_id.created``.
        legacy: Read ``*`` as spool-broadcast does: one or more segments, anywhere.

    Raises:
        GrammarError: It is no pattern.
    """

    __slots__ = ("_places", "_segments", "text")

    def __init__(self, text: str, *, legacy: bool = False) -> None:
        if not text or len(text.encode()) > MAX_BYTES or text.count(".") >= MAX_SEGMENTS:
            raise GrammarError(
                f"a pattern has 1 to {MAX_BYTES} bytes and {MAX_SEGMENTS} segments: {text[:40]!r}"
            )
        self.text = text
        self._segments = tuple(read_segment(s, text, legacy=legacy) for s in text.split("."))
        if any(segment.sort is Sort.REST for segment in self._segments[:-1]):
            raise GrammarError(f"'**' may only end a pattern: {text!r}")
        self._places = Counter(s.text for s in self._segments if s.is_parameter)

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Return its segments in order."""
        return self._segments

    @property
    def parameters(self) -> tuple[str, ...]:
        """Return the names it captures, each once, in order."""
        return tuple(self._places)

    @property
    def repeated(self) -> frozenset[str]:
        """Return the names that stand in several places: their value is a tuple."""
        return frozenset(name for name, count in self._places.items() if count > 1)

    @property
    def optional(self) -> frozenset[str]:
        """Return the names that may be absent from what is captured."""
        needed = {s.text for s in self._segments if s.sort is Sort.PARAMETER}
        return frozenset(self._places) - needed

    @property
    def is_exact(self) -> bool:
        """Tell whether it matches one name only."""
        return self.rank == 0

    @property
    def rank(self) -> int:
        """Return 0 for an exact pattern, 1 for one with parameters, 2 for one with wildcards."""
        widest = max(segment.sort for segment in self._segments)
        return 0 if widest is Sort.LITERAL else 1 if widest <= Sort.OPTIONAL else 2

    def matches(self, name: str) -> bool:
        """Tell whether it matches a name."""
        return self.positions(name.split(".")) is not None

    def capture(self, name: str) -> Params | None:
        """Return what it captures of a name, decoded, or None when it does not match."""
        segments = name.split(".")
        positions = self.positions(segments)
        return None if positions is None else self.params(segments, positions)

    def params(self, segments: Sequence[str], positions: Sequence[tuple[str, int]]) -> Params:
        """Return the parameters that stand at known positions of a name.

        Args:
            segments: The name's segments.
            positions: What :meth:`positions` returned for a name of this shape.
        """
        captured: Params = {}
        for name, index in positions:
            captured[name] = decode(segments[index])
        for name in self.repeated:
            found = [decode(segments[index]) for other, index in positions if other == name]
            if found:
                captured[name] = tuple(found)
        return captured

    def positions(self, segments: Sequence[str]) -> list[tuple[str, int]] | None:
        """Return where a name's segments fill which parameter, or None when it does not match.

        Args:
            segments: The name's segments.

        Returns:
            Pairs of parameter and index, in order.
        """
        reach = self._reach(segments)
        if not reach[0][0]:
            return None
        found: list[tuple[str, int]] = []
        place, index = 0, 0
        while place < len(self._segments):
            segment = self._segments[place]
            stay = segment.is_wide and index < len(segments) and reach[place][index + 1]
            take = index < len(segments) and segment.takes(segments[index])
            if take and (stay or reach[place + 1][index + 1]):
                if segment.is_parameter:
                    found.append((segment.text, index))
                index += 1
                place += not stay
            else:  # an optional segment that is absent
                place += 1
        return found

    def _reach(self, segments: Sequence[str]) -> list[list[bool]]:
        """Tell for each place and index whether the rest of the pattern fits the rest of a name."""
        length = len(segments)
        after = [False] * length + [True]
        table = [after]
        for segment in reversed(self._segments):
            row = [False] * (length + 1)
            row[length] = segment.sort is Sort.OPTIONAL and after[length]
            for index in range(length - 1, -1, -1):
                onward = after[index + 1] or (segment.is_wide and row[index + 1])
                absent = segment.sort is Sort.OPTIONAL and after[index]
                row[index] = absent or (onward and segment.takes(segments[index]))
            table.append(row)
            after = row
        table.reverse()
        return table

    def overlaps(self, other: NamePattern) -> bool:
        """Tell whether some name could match both patterns."""
        return _overlap(self._segments, other.segments)

    def fill(self, values: Mapping[str, object]) -> str:
        """Return the concrete name for values; those of a repeated parameter may be a sequence.

        Args:
            values: By parameter; an optional one may be missing or None.

        Returns:
            A name that this pattern matches. It captures the values' texts again, unless an
            optional parameter was left out before one that was not.

        Raises:
            GrammarError: A value is missing or no part of a name, or the pattern has wildcards.
        """
        taken: Counter[str] = Counter()
        pieces: list[str] = []
        for segment in self._segments:
            if segment.sort is Sort.LITERAL:
                pieces.append(segment.text)
                continue
            if not segment.is_parameter:
                raise GrammarError(
                    f"{self.text!r} names many: a wildcard has no value to be filled"
                )
            value = values.get(segment.text)
            if value is not None:
                every = texts(value, self._places[segment.text])
                pieces.append(encode(every[taken[segment.text]]))
                taken[segment.text] += 1
            elif segment.sort is Sort.PARAMETER:
                raise GrammarError(f"{self.text!r} needs a value for {segment.text!r}")
        return ".".join(pieces)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NamePattern) and self._segments == other.segments

    def __hash__(self) -> int:
        return hash(self._segments)

    def __repr__(self) -> str:
        return f"NamePattern({self.text!r})"


def _overlap(left: tuple[Segment, ...], right: tuple[Segment, ...]) -> bool:
    @cache
    def meet(i: int, j: int) -> bool:
        if i == len(left) and j == len(right):
            return True
        if i < len(left) and left[i].sort is Sort.OPTIONAL and meet(i + 1, j):
            return True
        if j < len(right) and right[j].sort is Sort.OPTIONAL and meet(i, j + 1):
            return True
        if i == len(left) or j == len(right) or not _share(left[i], right[j]):
            return False
        return (
            meet(i + 1, j + 1)
            or (left[i].is_wide and meet(i, j + 1))
            or (right[j].is_wide and meet(i + 1, j))
        )

    return meet(0, 0)


def _share(left: Segment, right: Segment) -> bool:
    if left.sort is Sort.LITERAL and right.sort is Sort.LITERAL:
        return left.text == right.text
    return True


@lru_cache(maxsize=4096)
def name_pattern(text: str, *, legacy: bool = False) -> NamePattern:
    """Return the compiled pattern, shared between equal texts.

    Args:
        text: The pattern; a plain name is a pattern that matches itself.
        legacy: Read ``*`` as spool-broadcast does.

    Returns:
        The pattern.

    Raises:
        GrammarError: As :class:`NamePattern` says.
    """
    return NamePattern(text, legacy=legacy)
