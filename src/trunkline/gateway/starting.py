"""Where a subscription starts, in places of the line: the oldest, now, a position, the last n."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from trunkline.channels.catchup import Gap, check_start
from trunkline.channels.hub import Hub
from trunkline.channels.ring import Track
from trunkline.gateway.connection import Part
from trunkline.log.port import Heads, Log
from trunkline.model.channel import ChannelKey, channel_key
from trunkline.model.interest import Interest, PatternInterest
from trunkline.model.pattern import is_pattern
from trunkline.model.position import Position
from trunkline.wire.start import Edge, Start


class Beginning(NamedTuple):
    """Hold where some channels start.

    Args:
        parts: Interests with their places, ascending.
        heads: The line's end when this was found out.
        gap: What those that came with a position of another epoch have lost, or None.
        lost: The names it concerns.
        floor: What was trimmed before those that start with the oldest kept, which is no gap.
    """

    parts: tuple[Part, ...]
    heads: Heads
    gap: Gap | None
    lost: tuple[str, ...] = ()
    floor: int = 0


def interest_in(names: Mapping[str, object] | list[str], site_id: str | None) -> Interest:
    """Return the interest in names and patterns of one site."""
    keys: set[ChannelKey] = set()
    patterns: set[PatternInterest] = set()
    for name in names:
        if is_pattern(name):
            patterns.add(PatternInterest(name, site_id))
        else:
            keys.add(channel_key(name, site_id))
    return Interest(frozenset(keys), frozenset(patterns))


class Prepared:
    """Hold a registered interest until a connection takes it over.

    Args:
        hub: Where it is registered.
        interest: What is wanted.
    """

    __slots__ = ("_hub", "beginning", "interest", "track")

    def __init__(self, hub: Hub, interest: Interest) -> None:
        self._hub = hub
        self.interest = interest
        self.track: Track | None = None
        self.beginning: Beginning

    def wake(self) -> None:
        """Do nothing: registering is what keeps messages in memory."""

    def release(self) -> None:
        """Take the registration back. Idempotent."""
        track, self.track = self.track, None
        if track is not None:
            self._hub.leave(track, self.wake)


async def find_beginning(
    log: Log, starts: Mapping[str, Start], site_id: str | None, *, last: int | None
) -> Beginning:
    """Find out where channels start. The hub must already collect what comes after.

    Args:
        log: The log.
        starts: Names or patterns, and where each starts.
        site_id: The tenant.
        last: Start with the newest so many messages of each channel instead.

    Returns:
        The places.

    Raises:
        LogError: The log cannot be read.
    """
    keys = interest_in(starts, site_id).keys if last is not None else frozenset()
    heads = await log.last_ids(keys)
    if last is not None:
        places = {name: await _place_of_last(log, heads, name, site_id, last) for name in starts}
        return Beginning(_parts(places, site_id), heads, None)
    oldest = [name for name, start in starts.items() if start is Edge.OLDEST]
    floor = await _floor(log, interest_in(oldest, site_id)) if oldest else 0
    places, lost = {}, []
    gap: Gap | None = None
    for name, start in starts.items():
        if isinstance(start, Position):
            missed = check_start(start, heads.epoch, heads.head)
            places[name] = start.global_id if missed is None else 0
            if missed is not None:
                gap = gap or missed
                lost.append(name)
        else:
            # Trimming is per channel: what others keep may lie before the floor.
            places[name] = 0 if start is Edge.OLDEST else heads.head
    return Beginning(_parts(places, site_id), heads, gap, tuple(lost), floor)


async def _floor(log: Log, interest: Interest) -> int:
    """Find the newest place at which something is gone."""
    return (await log.read_all(0, 1, interest)).floor


async def _place_of_last(log: Log, heads: Heads, name: str, site_id: str | None, count: int) -> int:
    key = channel_key(name, site_id)
    after = heads.ids[key] - count
    page = await log.read(key, max(0, after), 1) if count else None
    if page is None or not page.records or page.records[0].global_id > heads.head:
        return heads.head
    return page.records[0].global_id - 1


def _parts(places: Mapping[str, int], site_id: str | None) -> tuple[Part, ...]:
    names: dict[int, list[str]] = {}
    for name, place in places.items():
        names.setdefault(place, []).append(name)
    return tuple(Part(at, interest_in(names[at], site_id)) for at in sorted(names))


def merge(parts: list[Part]) -> list[Part]:
    """Sort parts by their place, those at one place joined."""
    merged: dict[int, Interest] = {}
    for after, interest in sorted(parts, key=lambda part: part.after):
        merged[after] = merged[after] | interest if after in merged else interest
    return [Part(after, interest) for after, interest in merged.items()]
