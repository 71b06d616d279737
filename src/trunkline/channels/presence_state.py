"""Who is where, as the processes tell each other: a pure function of what was heard and when.

Each process speaks for its own members alone, so what one says never conflicts with another's. One
that falls silent for a lease is dead, and its members have left.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from trunkline.model.channel import ChannelKey
from trunkline.model.identity import Id

#: Seconds of silence after which a process is taken for dead: noticed, with a look each second,
#: and told, within the 15 that are promised.
LEASE = 13.0
#: Places in one message at most.
PART = 2000


class Place(NamedTuple):
    """Be a client on a channel.

    Args:
        site_id: The channel's tenant.
        channel: Its name.
        client_id: The client.
        user_id: The user behind it, None for a stranger.
    """

    site_id: str | None
    channel: str
    client_id: str
    user_id: Id | None

    @property
    def key(self) -> ChannelKey:
        """Return the channel's key."""
        return ChannelKey(self.channel, self.site_id)


class Roster(msgspec.Struct, frozen=True, tag_field="op", tag="roster"):
    """Be all members of a process, or a part of them.

    Args:
        process: Which.
        part: Its number, from 0.
        of: How many parts there are.
        places: Who is where.
    """

    process: str
    part: int
    of: int
    places: list[Place]


class Moves(msgspec.Struct, frozen=True, tag_field="op", tag="moves"):
    """Tell who came to a process and who left it."""

    process: str
    joined: list[Place]
    left: list[Place]


class Beat(msgspec.Struct, frozen=True, tag_field="op", tag="beat"):
    """Say that a process lives, and how many places its members have."""

    process: str
    count: int


class Bye(msgspec.Struct, frozen=True, tag_field="op", tag="bye"):
    """Say that a process ends, and all its members leave it."""

    process: str


class Ask(msgspec.Struct, frozen=True, tag_field="op", tag="ask"):
    """Ask every process for its roster."""

    process: str


Word = Roster | Moves | Beat | Bye | Ask
decoder = msgspec.json.Decoder(Word)


class Change(msgspec.Struct, frozen=True):
    """Tell what changed on a channel.

    Args:
        key: The channel.
        joined: Clients that are there and were not.
        left: Clients that were there and are not.
    """

    key: ChannelKey
    joined: tuple[Place, ...]
    left: tuple[Place, ...]


class _Process:
    def __init__(self) -> None:
        self.heard_at = 0.0
        self.places: set[Place] = set()
        self.parts: dict[int, Sequence[Place]] = {}


class PresenceState:
    """Know who is where."""

    def __init__(self) -> None:
        self._processes: dict[str, _Process] = {}
        self._count: Counter[Place] = Counter()
        self._members: dict[ChannelKey, dict[Place, None]] = defaultdict(dict)

    def members(self, key: ChannelKey) -> list[Place]:
        """Return who is on a channel, in the order they came."""
        return list(self._members.get(key, ()))

    @property
    def processes(self) -> int:
        """Count the processes that have members."""
        return len(self._processes)

    def knows(self, word: Beat) -> bool:
        """Tell whether a sign of life fits what is known; after a long silence it may not."""
        process = self._processes.get(word.process)
        return (len(process.places) if process is not None else 0) == word.count

    def take(self, word: Word, now: float) -> list[Change]:
        """Take what a process says.

        Args:
            word: What it says.
            now: Seconds, of a clock that never runs backwards.

        Returns:
            What changed, by channel.
        """
        if isinstance(word, Ask):
            return []
        if isinstance(word, Bye):
            return self._drop([word.process])
        process = self._processes.setdefault(word.process, _Process())
        process.heard_at = now
        if isinstance(word, Moves):
            joined = set(map(Place._make, word.joined)) - process.places
            left = set(map(Place._make, word.left)) & process.places
            process.places = (process.places | joined) - left
            return self._changes(_in_order(word.joined, joined), _in_order(word.left, left))
        if isinstance(word, Roster):
            return self._take_roster(process, word)
        return []

    def expire(self, now: float, lease: float = LEASE) -> list[Change]:
        """Take processes for dead that were silent for a lease, and return what changed."""
        dead = [name for name, one in self._processes.items() if now - one.heard_at > lease]
        return self._drop(dead)

    def _take_roster(self, process: _Process, word: Roster) -> list[Change]:
        process.parts[word.part] = [Place(*one) for one in word.places]
        if len(process.parts) < word.of:
            return []
        said = [place for part in sorted(process.parts) for place in process.parts[part]]
        process.parts = {}
        before, process.places = process.places, set(said)
        return self._changes(
            _in_order(said, process.places - before), list(before - process.places)
        )

    def _drop(self, names: Iterable[str]) -> list[Change]:
        gone: list[Place] = []
        for name in names:
            process = self._processes.pop(name, None)
            if process is not None:
                gone += process.places
        return self._changes((), gone)

    def _changes(self, came: Iterable[Place], went: Iterable[Place]) -> list[Change]:
        joined: dict[ChannelKey, list[Place]] = defaultdict(list)
        left: dict[ChannelKey, list[Place]] = defaultdict(list)
        for place in came:
            self._count[place] += 1
            if self._count[place] == 1:
                self._members[place.key][place] = None
                joined[place.key].append(place)
        for place in went:
            self._count[place] -= 1
            if not self._count[place]:
                self._leave(place)
                left[place.key].append(place)
        keys = dict.fromkeys([*joined, *left])
        return [Change(key, tuple(joined[key]), tuple(left[key])) for key in keys]

    def _leave(self, place: Place) -> None:
        del self._count[place]
        members = self._members[place.key]
        del members[place]
        if not members:
            del self._members[place.key]


def rosters(process: str, places: Iterable[Place]) -> list[Roster]:
    """Return what a process says when it tells of all its members."""
    named = list(places)
    parts = [named[at : at + PART] for at in range(0, len(named), PART)] or [[]]
    return [Roster(process, at, len(parts), part) for at, part in enumerate(parts)]


def _in_order(said: Iterable[Place], wanted: set[Place]) -> list[Place]:
    return [place for place in dict.fromkeys(Place(*one) for one in said) if place in wanted]
