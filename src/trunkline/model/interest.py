"""What a reader wants to see: some channels by name, some by pattern, or everything."""

from __future__ import annotations

from typing import Final

import msgspec

from trunkline.model.channel import ChannelKey
from trunkline.model.pattern import channel_pattern

ANY_SITE: Final = "*any*"


class PatternInterest(msgspec.Struct, frozen=True, order=True):
    """Want every channel of one site (and the global ones) whose name matches a pattern.

    Args:
        text: The pattern.
        site_id: The site, None for channels of no site, ``ANY_SITE`` for all of them.
    """

    text: str
    site_id: str | None = None

    def includes(self, key: ChannelKey) -> bool:
        """Tell whether a channel is wanted; Trunkline's own channels never are."""
        if key.is_internal:
            return False
        if self.site_id not in {ANY_SITE, key.site_id} and not key.is_global:
            return False
        return channel_pattern(self.text).matches(key.name)


class Interest(msgspec.Struct, frozen=True):
    """Name the channels that a reader wants, as one hashable value.

    Args:
        keys: Channels by name.
        patterns: Channels by pattern.
    """

    keys: frozenset[ChannelKey] = frozenset()
    patterns: frozenset[PatternInterest] = frozenset()

    def includes(self, key: ChannelKey) -> bool:
        """Tell whether a channel is wanted."""
        return key in self.keys or any(pattern.includes(key) for pattern in self.patterns)

    def __or__(self, other: Interest) -> Interest:
        return Interest(self.keys | other.keys, self.patterns | other.patterns)

    def __bool__(self) -> bool:
        return bool(self.keys or self.patterns)


EVERYTHING: Final = Interest(patterns=frozenset({PatternInterest("/**", ANY_SITE)}))
