"""A group: all watches of one entity by viewers of one scope, who share each fetch of its state.

What a group does next is decided here, synchronously; :mod:`trunkline.entities.fetching` does it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from enum import IntEnum
from typing import Final, Protocol

from trunkline.entities.declaration import Declaration
from trunkline.entities.value import Failure, State
from trunkline.entities.viewer import Scope, Viewer
from trunkline.model.entity import EntityKey
from trunkline.model.position import Position
from trunkline.runtime.loops import Backoff

FIRST_RETRY: Final = 0.25
LAST_RETRY: Final = 30.0
_NEVER: Final = Position("", 0)


class Audience(Protocol):
    """Be a client, to whom its watches bring news."""

    def on_news(self, watch: Watch) -> None:
        """Note that :attr:`Watch.news` is to be told."""

    def on_denied(self, watch: Watch) -> None:
        """Note that a watch turned out to be refused before anything was told; it has ended."""

    @property
    def viewer(self) -> Viewer:
        """Return who looks."""

    @property
    def is_paused(self) -> bool:
        """Tell whether nothing may be fetched in its name now."""


class Watch:
    """Be one client's interest in one entity.

    Args:
        audience: The client.
        key: What is watched.
        repeats: Whether also what looks as before is told, as entity-sync's clients expect.

    Attributes:
        news: What is to be told next, None when everything was told; only ever the latest.
        group: Where it belongs; None when it has ended.
        is_awaiting: Whether nothing was told yet and the first state is waited for.
        is_failing: Whether it was told that the state cannot be had.
        is_refused: Whether it ended because the viewer may not see the entity.
        request_id: That of the request it began with.
    """

    __slots__ = (
        "_told", "audience", "group", "is_awaiting", "is_failing", "is_refused", "key", "news",
        "repeats", "request_id",
    )  # fmt: skip

    def __init__(
        self,
        audience: Audience,
        key: EntityKey,
        *,
        request_id: int | str | None = None,
        repeats: bool = False,
    ) -> None:
        self.audience = audience
        self.key = key
        self.repeats = repeats
        self.request_id = request_id
        self.group: Group | None = None
        self.news: State | Failure | None = None
        self.is_awaiting = True
        self.is_failing = False
        self.is_refused = False
        self._told: bytes | None = None

    def offer(self, state: State) -> None:
        """Take a fresh state, unless it tells nothing new."""
        if state.is_denied and self.is_awaiting:
            self.audience.on_denied(self)
            return
        is_new = self.repeats or self.is_awaiting or self.is_failing or state.digest != self._told
        if is_new or self.news is not None:
            self.is_awaiting = self.is_failing = False
            self._told = state.digest
            self._have(state)

    def fail(self, failure: Failure) -> None:
        """Take that the state cannot be had; told once until it can."""
        if not self.is_failing:
            self.is_failing = True
            self._have(failure)

    def settle(self) -> None:
        """Note that the client has the present state, and need only be told of changes."""
        self.is_awaiting = False

    @property
    def is_owed(self) -> bool:
        """Tell whether something is on its way to the client."""
        return self.news is not None or (self.group is not None and self.group.is_busy)

    def drop(self) -> None:
        """Forget news that was not told, so that whatever comes next is."""
        if self.news is not None:
            self.news = self._told = None
            self.is_failing = False

    def take(self) -> State | Failure | None:
        """Return what is to be told, which is then told."""
        news, self.news = self.news, None
        return news

    def _have(self, news: State | Failure) -> None:
        self.news = news
        self.audience.on_news(self)


class Stage(IntEnum):
    """Name what a group is doing."""

    IDLE = 0
    QUEUED = 1
    WAITING = 2
    FETCHING = 3


class Group:
    """Gather the watches of one entity in one scope.

    Args:
        declaration: How its state is fetched.
        key: The entity.
        scope: What its viewers have in common.

    Attributes:
        members: The watches.
        stage: What it is doing; kept by the fetching.
        is_suspect: Whether it failed before, in company or alone, and is fetched alone.
        began: When its last fetch began, monotonic seconds.
        timer: Ends a wait.
    """

    __slots__ = (
        "_backoff", "_behind", "_fetched", "_fetching", "_newcomers", "_wants_fresh", "began",
        "declaration", "is_suspect", "key", "members", "scope", "stage", "timer",
    )  # fmt: skip

    def __init__(self, declaration: Declaration, key: EntityKey, scope: Scope) -> None:
        self.declaration = declaration
        self.key = key
        self.scope = scope
        self.members: dict[Watch, None] = {}
        self.stage = Stage.IDLE
        self.is_suspect = False
        self.began = float("-inf")
        self.timer: asyncio.TimerHandle | None = None
        self._behind = False
        self._wants_fresh = False
        # Those that came while a fetch was under way: they may know of later states already.
        self._newcomers: set[Watch] = set()
        self._fetching = _NEVER
        self._fetched = _NEVER
        self._backoff: Backoff | None = None

    # -- what makes a fetch necessary ---------------------------------------------------------

    def note_change(self, position: Position) -> None:
        """Note that the entity changed at a place of the line."""
        if not _covers(self._fetching if self.stage is Stage.FETCHING else self._fetched, position):
            self._behind = True

    def note_need(self) -> None:
        """Note that a fetch must begin from now on, whatever is known."""
        self._wants_fresh = True

    @property
    def is_due(self) -> bool:
        """Tell whether a fetch must begin."""
        return bool(self.members) and (self._behind or self._wants_fresh)

    @property
    def is_busy(self) -> bool:
        """Tell whether a fetch is under way or to come."""
        return self.stage is not Stage.IDLE

    @property
    def viewer(self) -> Viewer | None:
        """Return a viewer in whose name may be fetched, None while there is none."""
        for watch in self.members:
            if not watch.audience.is_paused:
                return watch.audience.viewer
        return None

    # -- what the fetching does ---------------------------------------------------------------

    def begin(self, position: Position, now: float) -> None:
        """Note that a fetch begins, at a place of the line."""
        self.stage = Stage.FETCHING
        self.began = now
        self._fetching = position
        self._behind = self._wants_fresh = False
        self._newcomers.clear()

    def deliver(self, state: State) -> None:
        """Hand a state to all watches that were there when its fetch began."""
        self._fetched = self._fetching
        self._backoff = None
        self.is_suspect = False
        for watch in tuple(self.members):
            if watch not in self._newcomers:
                watch.offer(state)

    def fail(self, failure: Failure | None) -> float:
        """Note that a fetch failed; it is due again.

        Args:
            failure: What to tell; None when it is not certain whose fault it is.

        Returns:
            Seconds to wait before the next.
        """
        self._behind = True
        if failure is None:
            self.is_suspect = True
            return 0.0
        self.is_suspect = True
        if self._backoff is None:
            self._backoff = Backoff(FIRST_RETRY, LAST_RETRY)
        for watch in tuple(self.members):
            watch.fail(failure)
        return self._backoff.next_delay()

    def admit(self, watches: Iterable[Watch]) -> None:
        """Take watches in."""
        for watch in watches:
            watch.group = self
            self.members[watch] = None
            if self.stage is Stage.FETCHING:
                self._newcomers.add(watch)

    def dismiss(self, watch: Watch) -> None:
        """Let a watch go."""
        self.members.pop(watch, None)
        self._newcomers.discard(watch)
        watch.group = None
        watch.drop()


def _covers(fetched: Position, change: Position) -> bool:
    return fetched.epoch == change.epoch and fetched.global_id >= change.global_id
