"""The projections of a line: which are live, which are behind their code, and building anew."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import msgspec

from trunkline.cqrs.errors import ProjectionError, ProjectionVersionError
from trunkline.cqrs.handler import Handler, Role
from trunkline.cqrs.hearing import EVENTS
from trunkline.cqrs.naming import Naming, versioned
from trunkline.cqrs.projection_build import Builder, BuildProgress, Tell, Yard, make_tables
from trunkline.errors import LeaseLostError, UsageError
from trunkline.model.position import Position
from trunkline.runtime.clock import Clock
from trunkline.store.consumer_table import Definition, Standing, Status
from trunkline.store.projection_table import Live

logger = logging.getLogger(__name__)

#: Seconds between two looks whether another process has built what is missing.
LOOK = 1.0
#: Seconds between two words on how far a worker's build has come.
TELL_EVERY = 5.0


class ProjectionState(msgspec.Struct, frozen=True, kw_only=True):
    """Describe a projection for operators.

    Args:
        name: Its handler's.
        consistency: ``strong`` or ``eventual``.
        version: What readers see; 0 when there is nothing yet.
        code_version: What this code makes.
        tables: What readers read.
        is_whole: Whether it has seen all of the log up to where it stands.
        live_at: Since when readers see it, Unix seconds.
        position: Where it stands; None for strong ones, which are never behind.
        head: The newest global id of the log.
        building: The version that is being built, or None.
        built: How much of that is done, from 0 to 1.
        error: Why building stands still, or an empty text.
    """

    name: str
    consistency: str
    version: int
    code_version: int
    tables: tuple[str, ...]
    is_whole: bool
    live_at: float
    position: int | None
    head: int
    building: int | None = None
    built: float = 0.0
    error: str = ""


def is_projection(handler: Handler) -> bool:
    """Tell whether a handler keeps tables that it declares."""
    return handler.enabled and handler.role is Role.PROJECTOR and bool(handler.tables)


def consumer_of(handler: Handler) -> str | None:
    """Return the name of a handler's consumer, None for a strong one."""
    return None if handler.is_strong else versioned(handler.name, handler.version)


class Projections:
    """Look after the projections of a line.

    Args:
        handlers: Finds the handlers that were registered.
        yard: Finds where projections are built, while the line is open.
        ready: Opens the line if need be.
    """

    def __init__(
        self,
        handlers: Callable[[], Iterable[Handler]],
        yard: Callable[[], Yard],
        ready: Callable[[], object],
    ) -> None:
        self._handlers = handlers
        self._yard = yard
        self._ready = ready
        #: Say True to open with strong projections that are behind their code: to build them.
        self.may_be_behind = False

    def declared(self) -> list[Handler]:
        """Return the projectors that declare tables."""
        return [handler for handler in self._handlers() if is_projection(handler)]

    # -- opening ------------------------------------------------------------------------------

    async def open(self) -> None:
        """Make the tables of new projections, and hold those that are behind their code.

        Raises:
            ProjectionVersionError: One is ahead of this code, or a strong one is behind.
        """
        if not (declared := self.declared()):
            return
        yard = self._yard()
        lives = await yard.table.live()
        for handler in declared:
            live = lives.get(handler.name) or await self._found(yard, handler)
            if live is not None and live.version != handler.version:
                await self._hold(yard, handler, live)

    async def _found(self, yard: Yard, handler: Handler) -> Live | None:
        """Make a new projection's tables; return the projection that somebody else made."""
        heads = await yard.log.last_ids(())
        now = yard.clock.now()
        # An eventual one takes what is older by itself; a strong one has to be built for that.
        is_whole = not handler.is_strong or heads.head == 0
        live = Live(
            handler.name,
            handler.version,
            0,
            Position(heads.epoch, heads.head if handler.is_strong else 0),
            tuple(handler.tables),
            now if is_whole else 0.0,
        )
        async with yard.bus.transaction() as tx:
            is_ours = await yard.table.begin(tx, live)
            if is_ours:
                await make_tables(tx, handler, Naming.live(handler.tables))
        if not is_ours:
            return (await yard.table.live())[handler.name]
        if not is_whole:
            logger.warning(
                "the projection %s is new: it has what happens from now on, and all that is older "
                "once a worker or 'trunkline projections rebuild %s' has built it",
                handler.name,
                handler.name,
            )
        return None

    async def _hold(self, yard: Yard, handler: Handler, live: Live) -> None:
        name, version = handler.name, handler.version
        if live.version > version:
            raise ProjectionVersionError(
                f"the projection {name} is at version {live.version} and this code at {version}: "
                "deploy the newer code here too"
            )
        if not handler.is_strong:
            why = f"version {version} has yet to be built"
            standing = Standing(
                position=Position(live.position.epoch, 0),
                status=Status.PAUSED,
                reason=why,
                moved_at=yard.clock.now(),
            )
            definition = Definition(versioned(name, version), EVENTS, None)
            async with yard.bus.transaction() as tx:
                await yard.consumers.declare_in(tx, definition, standing)
        elif not self.may_be_behind:
            raise ProjectionVersionError(
                f"the projection {name} is at version {live.version} and this code at {version}; "
                "it is strong, so commands can't go on without it: run "
                f"'trunkline projections rebuild {name}' first"
            )

    # -- looking ------------------------------------------------------------------------------

    async def list(self) -> Sequence[ProjectionState]:
        """Describe all projections that this code declares, by name."""
        await self._be_ready()
        yard = self._yard()
        lives, heads = await yard.table.live(), await yard.log.last_ids(())
        found = [
            await self._state(yard, handler, lives.get(handler.name), heads.head)
            for handler in self.declared()
        ]
        return sorted(found, key=lambda one: one.name)

    async def _state(
        self, yard: Yard, handler: Handler, live: Live | None, head: int
    ) -> ProjectionState:
        build = await yard.table.build(handler.name)
        position = None
        if live is not None and not handler.is_strong:
            standing = await yard.consumers.standing(versioned(handler.name, live.version))
            position = 0 if standing is None else standing.position.global_id
        share = 0.0
        if build is not None and head:
            share = min(1.0, build.position.global_id / head)
        return ProjectionState(
            name=handler.name,
            consistency=handler.consistency,
            version=0 if live is None else live.version,
            code_version=handler.version,
            tables=() if live is None else live.tables,
            is_whole=live is not None and live.live_at > 0,
            live_at=0.0 if live is None else live.live_at,
            position=position,
            head=head,
            building=None if build is None else build.version,
            built=share,
            error="" if build is None else build.error,
        )

    def find(self, name: object) -> Handler:
        """Return a projector by its function, its full name, or its name within its domain.

        Raises:
            UsageError: None such declares tables.
        """
        for handler in self.declared():
            if name in {handler.name, handler.name.partition(".")[2]} or name is handler.function:
                return handler
        known = ", ".join(handler.name for handler in self.declared())
        raise UsageError(
            f"{name!r} is no projection that can be built anew: a projector with tables= is; "
            f"there is {known or 'none'}"
        )

    # -- building -----------------------------------------------------------------------------

    async def rebuild(self, name: object, *, tell: Tell | None = None) -> BuildProgress:
        """Build a projection from the log beside the live one, and have it take its place.

        Readers and writers go on meanwhile; only while the tables change places do writers wait.
        A build that was left goes on where it was.

        Args:
            name: Its projector or name.
            tell: Called with the progress after every page.

        Returns:
            How it ended.

        Raises:
            ProjectionError: Its code failed on an event; readers see what they saw.
            UsageError: There is no such projection.
            LeaseLostError: Somebody else builds it.
            LogError: The database failed.
        """
        await self._be_ready()
        return await self._builder(self.find(name), tell).run()

    def _builder(self, handler: Handler, tell: Tell | None = None) -> Builder:
        return Builder(handler, consumer_of(handler), self._yard(), tell=tell)

    async def _be_ready(self) -> None:
        ready = self._ready()
        if asyncio.iscoroutine(ready):
            await ready

    def services(self) -> Sequence[ProjectionService]:
        """Return what builds projections that are behind their code, one service for each."""
        return [
            ProjectionService(
                handler,
                self._yard(),
                partial(self._builder, handler),
            )
            for handler in self.declared()
        ]


class _Report:
    """Tell in the log how far a build has come, at its beginning, now and then, and at its end.

    Args:
        handler: The projector.
        clock: Tells how time passes.
    """

    def __init__(self, handler: Handler, clock: Clock) -> None:
        self._handler = handler
        self._clock = clock
        self._told_at: float | None = None

    def __call__(self, progress: BuildProgress) -> None:
        name, now = self._handler.name, self._clock.monotonic()
        if progress.is_live:
            logger.warning("the projection %s is live: %d events", name, progress.events)
        elif self._told_at is None or now - self._told_at >= TELL_EVERY:
            self._told_at = now
            logger.warning(
                "the projection %s is being built at version %d: %d %% of the log, %d events; "
                "readers see what was there before. 'trunkline projections rebuild %s' builds it "
                "before workers start",
                name,
                self._handler.version,
                int(progress.share * 100),
                progress.events,
                name,
            )


class ProjectionService:
    """Build a projection when it is behind its code, or has not seen what is older.

    Args:
        handler: Its projector.
        yard: Where.
        builder: Makes what builds it.
    """

    def __init__(self, handler: Handler, yard: Yard, builder: Callable[[Tell], Builder]) -> None:
        self.name = f"projection:{handler.name}"
        self.group = handler.domain.name
        self._handler = handler
        self._yard = yard
        self._builder = builder
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Build it if need be, and return."""
        while not self._stopped.is_set() and await self._is_behind():
            try:
                await self._builder(_Report(self._handler, self._yard.clock)).run()
            except LeaseLostError:  # another process is at it
                await self._rest()
            except ProjectionError as error:
                logger.error("%s: %s; mend the code, and start again", self.name, error)  # noqa: TRY400
                return

    async def _is_behind(self) -> bool:
        live = (await self._yard.table.live()).get(self._handler.name)
        return live is not None and (live.version < self._handler.version or not live.live_at)

    async def _rest(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK):
                await self._stopped.wait()

    def stop(self) -> None:
        """Begin no other build; one under way goes on elsewhere, later."""
        self._stopped.set()
