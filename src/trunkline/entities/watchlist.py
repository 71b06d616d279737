"""What one client watches: taken up and given up by key, moved between groups as rights change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from trunkline.entities.declaration import Declaration
from trunkline.entities.group import Watch
from trunkline.entities.viewer import Scope, Viewer, scope_of
from trunkline.errors import LimitExceededError, TrunklineError, UsageError
from trunkline.model.entity import EntityKey
from trunkline.wire.watch import EntityRefusal, Named, Version, parse_version

logger = logging.getLogger("trunkline.entities")

Tell = Callable[[Watch], None]


class Room(Protocol):
    """Be where groups are kept: the wing, as a watch list sees it."""

    def declared(self, name: str) -> Declaration | None:
        """Return the declaration of a kind, or None."""

    async def hear(self, name: str) -> None:
        """Make certain that every change of a kind is heard from now on."""

    async def know(self, key: EntityKey, version: Version) -> None:
        """Learn, as far as can be told, whether an entity changed after a version."""

    def is_unchanged(self, key: EntityKey, version: Version) -> bool:
        """Tell whether an entity is known not to have changed after a version."""

    def join(self, watch: Watch, scope: Scope) -> None:
        """Take a watch into its group."""

    def leave(self, watch: Watch) -> None:
        """Let a watch go."""

    def fetch(self, watch: Watch) -> None:
        """Have the state of a watch fetched."""


class Taken(NamedTuple):
    """Say what became of entities that were asked for.

    Args:
        watching: What is watched now.
        refused: What is not.
        current: Of the watched ones, those whose present state the client has.
    """

    watching: list[EntityKey]
    refused: list[EntityRefusal]
    current: list[EntityKey]


class WatchList:
    """Hold a client's watches.

    Calls of :meth:`add` must not overlap.

    Args:
        room: Where groups are kept.
        viewer: Who watches.
        tell: Called when a watch has news, or has ended because it was refused.
        most: How many entities may be watched.
        is_paused: Tells whether nothing may be fetched for it now.
        repeats: As for :class:`Watch`.
    """

    __slots__ = ("_is_paused", "_most", "_repeats", "_room", "_tell", "_viewer", "_watches")

    def __init__(
        self,
        room: Room,
        viewer: Viewer,
        tell: Tell,
        *,
        most: Callable[[], int],
        is_paused: Callable[[], bool] = lambda: False,
        repeats: bool = False,
    ) -> None:
        self._room = room
        self._viewer = viewer
        self._tell = tell
        self._most = most
        self._repeats = repeats
        self._watches: dict[EntityKey, Watch] = {}
        self._is_paused = is_paused

    @property
    def is_paused(self) -> bool:
        """Tell whether nothing may be fetched in its name now."""
        return self._is_paused()

    @property
    def viewer(self) -> Viewer:
        """Return who watches."""
        return self._viewer

    def __len__(self) -> int:
        return len(self._watches)

    # -- taking up ----------------------------------------------------------------------------

    async def add(self, asked: Iterable[Named], *, request_id: int | str | None = None) -> Taken:
        """Watch entities; those watched already are acknowledged and stay as they are.

        Args:
            asked: Which, and what the client knows of them.
            request_id: Of the request that asks.

        Raises:
            LogError: The log cannot be read; nothing new is watched.
            LineClosedError: The line is closed.
        """
        taken = Taken([], [], [])
        present = self._watches.keys() | ()
        try:
            for one in asked:
                await self._settle(one, taken, request_id)
        except BaseException:
            self.remove(key for key in taken.watching if key not in present)
            raise
        return taken

    async def _settle(self, asked: Named, taken: Taken, request_id: int | str | None) -> None:
        try:
            is_current = asked.key not in self._watches and await self._take(asked, request_id)
        except UsageError as error:
            taken.refused.append(_refusal(asked.key, error.code, str(error)))
            return
        taken.watching.append(asked.key)
        if is_current:
            taken.current.append(asked.key)

    async def _take(self, asked: Named, request_id: int | str | None) -> bool:
        key, version = asked.key, parse_version(asked.version)
        declaration = self._room.declared(key.entity)
        if declaration is None:
            raise _UnknownEntityError(key)
        self._check_count()
        await self._room.hear(key.entity)
        if version is not None:
            await self._room.know(key, version)
        viewer = await self._check_access(declaration, key)
        scope = _scope(declaration, viewer)
        watch = Watch(self, key, request_id=request_id, repeats=self._repeats)
        self._watches[key] = watch
        self._room.join(watch, scope)
        is_known = version is not None and version.mark == scope.mark
        if is_known and version is not None and self._room.is_unchanged(key, version):
            watch.settle()
            return True
        if self._repeats:
            watch.settle()
        else:
            self._room.fetch(watch)
        return False

    def _check_count(self) -> None:
        most = self._most()
        if len(self._watches) >= most:
            raise LimitExceededError("max_watches", most, status=400)

    async def _check_access(self, declaration: Declaration, key: EntityKey) -> Viewer:
        """Ask whether the viewer may see an entity; it may change while that is asked."""
        while True:
            viewer = self._viewer
            await _allow(declaration, key, viewer)
            if viewer is self._viewer:
                return viewer

    # -- giving up ----------------------------------------------------------------------------

    def remove(self, keys: Iterable[EntityKey]) -> list[EntityKey]:
        """Watch entities no longer.

        Returns:
            Those that were watched.
        """
        gone = []
        for key in keys:
            watch = self._watches.pop(key, None)
            if watch is not None:
                self._room.leave(watch)
                gone.append(key)
        return gone

    def close(self) -> None:
        """Watch nothing any more."""
        self.remove(tuple(self._watches))

    # -- rights that change -------------------------------------------------------------------

    def change_viewer(self, viewer: Viewer) -> None:
        """Go on as somebody else, or as the same with another secret.

        What may be seen then is asked for anew; states that are the same are not told again.

        Args:
            viewer: Who watches from now on.
        """
        self._viewer = viewer
        for key, watch in tuple(self._watches.items()):
            declaration = self._room.declared(key.entity)
            # Whoever is told changes only must not lose one that is on its way.
            is_owed = watch.is_owed or not self._repeats
            self._room.leave(watch)
            try:
                scope = _scope(declaration, viewer)
            except UsageError:
                # Nobody can say what this viewer may see: that is not to be seen then.
                del self._watches[key]
                watch.is_refused = True
                self._tell(watch)
                continue
            self._room.join(watch, scope)
            if is_owed:
                self._room.fetch(watch)

    # -- what watches report ------------------------------------------------------------------

    def on_news(self, watch: Watch) -> None:
        """Note that a watch has news."""
        self._tell(watch)

    def on_denied(self, watch: Watch) -> None:
        """Note that a watch was refused by its first fetch."""
        if self._watches.pop(watch.key, None) is not None:
            self._room.leave(watch)
            watch.is_refused = True
            self._tell(watch)


class _UnknownEntityError(UsageError):
    code = "unknown-entity"
    status = 404

    def __init__(self, key: EntityKey) -> None:
        super().__init__(f"no entity {key.entity[:40]!r} is served here")


class _NotAllowedError(UsageError):
    code = "access-denied"
    status = 403


class _UndecidedError(UsageError):
    code = "access-undecided"
    status = 503


async def _allow(declaration: Declaration, key: EntityKey, viewer: Viewer) -> None:
    if declaration.access is None:
        return
    try:
        async with asyncio.timeout(declaration.timeout):
            may_see = await declaration.access(key, viewer)
    except TrunklineError:
        raise
    except Exception as error:
        logger.exception("access to %r could not be decided", key)
        raise _UndecidedError("whether this may be seen cannot be decided: try again") from error
    if may_see is not True:  # a hook that forgets to answer lets nobody in
        raise _NotAllowedError("this viewer may not see this entity")


def _scope(declaration: Declaration | None, viewer: Viewer) -> Scope:
    try:
        return scope_of(viewer, None if declaration is None else declaration.scope)
    except TrunklineError:
        raise
    except Exception as error:
        raise UsageError("the scope of this viewer cannot be told") from error


def _refusal(key: EntityKey, code: str, detail: str) -> EntityRefusal:
    return EntityRefusal(key.entity, key.id, code, detail)


def denied(watches: Sequence[Watch]) -> list[EntityRefusal]:
    """Name the watches that were refused by their first fetch."""
    detail = "this viewer may not see this entity"
    return [_refusal(one.key, "access-denied", detail) for one in watches]
