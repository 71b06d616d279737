"""One pattern language for ``/`` and ``.``.

``*`` stands for one segment, ``**`` for the rest, ``:name`` captures one segment.
"""

from __future__ import annotations

import re
from functools import lru_cache

from trunkline.errors import GrammarError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
MAX_PATTERN_BYTES = 512


class Pattern:
    """Match names segment by segment.

    ``**`` stands only at the end and matches one or more segments.

    Args:
        text: The pattern, such as ``/orders/:id/*`` or ``/chat/**``.
        separator: ``/`` for channels, ``.`` for event names.

    Raises:
        GrammarError: The pattern is empty, too long, or mixes wildcards with text in a segment.
    """

    __slots__ = ("_regex", "is_exact", "prefix", "separator", "text")

    def __init__(self, text: str, separator: str = "/") -> None:
        if not text or len(text) > MAX_PATTERN_BYTES:
            raise GrammarError(f"a pattern has 1 to {MAX_PATTERN_BYTES} characters: {text[:40]!r}")
        self.text = text
        self.separator = separator
        segments = text.split(separator)
        literal: list[str] = []
        for segment in segments:
            if segment[:1] in {"*", ":"}:
                break
            literal.append(segment)
        self.is_exact = len(literal) == len(segments)
        self.prefix = separator.join(literal) + ("" if self.is_exact or not literal else separator)
        self._regex = re.compile(
            re.escape(separator).join(self._part(i, s, segments) for i, s in enumerate(segments)),
            re.DOTALL,
        )

    def _part(self, index: int, segment: str, segments: list[str]) -> str:
        one = f"[^{re.escape(self.separator)}]+"
        if segment == "**":
            if index != len(segments) - 1:
                raise GrammarError(f"'**' may only end a pattern: {self.text!r}")
            return ".+"
        if segment == "*":
            return one
        if segment.startswith(":"):
            if not _NAME.match(segment[1:]):
                raise GrammarError(f"{segment!r} in {self.text!r} is no parameter name")
            if segment in segments[:index]:
                raise GrammarError(f"{segment!r} stands twice in {self.text!r}")
            return f"(?P<{segment[1:]}>{one})"
        if "*" in segment or ":" in segment:
            raise GrammarError(f"a wildcard must be a whole segment: {segment!r} in {self.text!r}")
        return re.escape(segment)

    def matches(self, name: str) -> bool:
        """Tell whether *name* matches from its first to its last character."""
        return name.startswith(self.prefix) and self._regex.fullmatch(name) is not None

    def capture(self, name: str) -> dict[str, str] | None:
        """Return the captured parameters of *name*, or None when it does not match."""
        found = self._regex.fullmatch(name)
        return None if found is None else found.groupdict()

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Pattern)
            and self.text == other.text
            and self.separator == other.separator
        )

    def __hash__(self) -> int:
        return hash((self.text, self.separator))

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"


@lru_cache(maxsize=4096)
def channel_pattern(text: str) -> Pattern:
    """Return the compiled pattern for channel names.

    Args:
        text: The pattern; a plain channel name is a pattern that matches itself.

    Returns:
        The pattern, shared between equal texts.

    Raises:
        GrammarError: As :class:`Pattern` says, or the pattern does not start with ``/``.
    """
    if not text.startswith("/"):
        raise GrammarError(f"a channel pattern starts with '/': {text[:40]!r}")
    return Pattern(text)


def is_pattern(text: str) -> bool:
    """Tell whether *text* has a wildcard or a parameter, which channel names never contain."""
    return "*" in text or ":" in text
