"""The wing: takes commands, leads their commits, and runs those that wait."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from trunkline.channels.drafting import draft_of
from trunkline.channels.transaction import LineTransaction
from trunkline.channels.wing import Premises
from trunkline.cqrs.checking import check
from trunkline.cqrs.closing import Closing
from trunkline.cqrs.command import Command
from trunkline.cqrs.context import Context, Origin, new_id
from trunkline.cqrs.domain import Domain
from trunkline.cqrs.frame import Frame
from trunkline.cqrs.handler import DEFAULT_DOMAIN, Handler
from trunkline.cqrs.local_groups import LocalGroups
from trunkline.cqrs.loop import Loop, Steps
from trunkline.cqrs.plan import CommandPlan, Plan
from trunkline.cqrs.plan import Heard as Listener
from trunkline.cqrs.queue import Queue
from trunkline.cqrs.queued import CONSUMER, KEEP, channel_of, key_of, queued, read_queued
from trunkline.cqrs.remote_groups import RemoteGroups
from trunkline.cqrs.result import Result
from trunkline.cqrs.scope import Scope, Stores
from trunkline.cqrs.sender import Sender
from trunkline.cqrs.state_cache import CACHED, StateCache
from trunkline.cqrs.tracer import Tracer
from trunkline.errors import ConfigError, LineClosedError, UsageError
from trunkline.model.message import Draft, Message
from trunkline.runtime.loops import repeat, supervise
from trunkline.runtime.service import Service
from trunkline.sql.database import Database, Dialect
from trunkline.store.command_table import CommandTable

if TYPE_CHECKING:
    from trunkline.cqrs.hearing import Heard

#: Seconds that a key is remembered, and between two looks for keys to forget.
KEY_AGE: Final = 7 * 86400.0
FORGET_EVERY: Final = 3600.0
FORGET_AT_ONCE: Final = 5000


class Commands:
    """Be the wing of a line that runs commands.

    Args:
        premises: What it works with.

    Attributes:
        main: The domain that the line itself is.
        settings: By handler's full name (domain, dot, handler), over what domains say.
    """

    def __init__(self, premises: Premises) -> None:
        self._premises = premises
        self._clock = premises.clock
        self._domains: dict[str, Domain] = {}
        self._cache = StateCache(CACHED)
        self._loop: Loop | None = None
        self._revision: tuple[int, int] = (-1, -1)
        self._queue: Queue | None = None
        self._sender: Sender | None = None
        self._stores: Stores | None = None
        self.settings: Mapping[str, Mapping[str, Any]] = {}
        #: Set by whoever runs sagas: the steps of a command by its name.
        self.steps: dict[str, Steps] = {}
        self.tracer = Tracer(premises.clock.now)
        #: Set by the face: what runs eventual handlers. It knows this wing, so not its type here.
        self.followers: Any = None
        self.main = self.domain(DEFAULT_DOMAIN)

    # -- declaring ----------------------------------------------------------------------------

    def domain(self, name: str, **options: Any) -> Domain:
        """Return a domain, made when its name is new.

        Raises:
            ConfigError: It is there already and options are given again.
        """
        known = self._domains.get(name)
        if known is None:
            known = self._domains[name] = Domain(name, **options)
            self._premises.bus.consume_internal(
                f"{CONSUMER}{name}",
                channel_of(name),
                self._run_queued,
                group=name,
                keep=KEEP,
                key=key_of,
            )
        elif options:
            raise ConfigError(f"the domain {name!r} is there already: give its options once")
        return known

    @property
    def domains(self) -> Sequence[Domain]:
        """Return all domains."""
        return tuple(self._domains.values())

    # -- living -------------------------------------------------------------------------------

    async def open(self) -> None:
        """Compile and check what was registered, and start leading commits."""
        store = self._premises.store
        log, database = store.joint, store.joint.database
        table = CommandTable(database.dialect, database.schema)
        catalog = self._compiled().plan.catalog
        stores = self._stores = Stores(catalog, self._cache, table)
        queue = self._queue = Queue()
        is_local = database.dialect is Dialect.SQLITE
        closing = Closing(table, self._cache, is_exclusive=is_local)
        groups = (LocalGroups if is_local else RemoteGroups)(queue, log, stores, closing)
        self._sender = Sender(
            self._premises,
            queue,
            stores=stores,
            closing=closing,
            database=database,
            tracer=self.tracer,
        )
        for number in range(groups.leaders):
            name = f"commands {number}"
            work = partial(supervise, name, partial(groups.lead, number))
            self._premises.run(name, work)
        forget = partial(self._forget, database, table)
        self._premises.run(
            "command keys", partial(repeat, "command keys", forget, every=FORGET_EVERY)
        )

    async def close(self) -> None:
        """Refuse what waits, and forget what belongs to this opening."""
        queue, self._queue, self._sender = self._queue, None, None
        if queue is not None:
            queue.close()
        self._cache.clear()

    def services(self) -> Sequence[Service]:
        """Return what a worker runs besides the consumers of commands that wait."""
        return ()

    async def _forget(self, database: Database, table: CommandTable) -> None:
        """Forget keys that are old enough, some at a time."""
        before = self._clock.now() - KEY_AGE
        while True:
            async with database.transaction() as tx:
                if await table.forget(tx, before, FORGET_AT_ONCE) < FORGET_AT_ONCE:
                    return

    @property
    def plan(self) -> Plan:
        """Return what was registered, compiled.

        Raises:
            ConfigError: It makes no sense.
        """
        return self._compiled().plan

    def _compiled(self) -> Loop:
        """Compile what was registered, again when something was added."""
        revision = (len(self._domains), sum(one.revision for one in self._domains.values()))
        if self._loop is None or revision != self._revision:
            plan = Plan(self._domains.values(), self.settings)
            check(plan)
            self._loop = Loop(plan, self._clock, self._defer, self.steps.__contains__)
            self._revision = revision
            self._cache.clear()
            if self._stores is not None:
                self._stores.catalog.replace(plan.catalog)
        return self._loop

    def _opened_sender(self) -> Sender:
        if self._sender is None:
            raise LineClosedError("open the line first: commands run while it is open")
        return self._sender

    # -- running ------------------------------------------------------------------------------

    async def send(
        self, command: Command, origin: Origin, *, tx: LineTransaction | None = None
    ) -> Result:
        """Run a command, in a transaction of its own or in one that is open."""
        loop = self._compiled()
        sender = self._opened_sender()
        if tx is not None:
            return await sender.send_in(tx, loop, command, origin)
        return await sender.send(loop, command, origin, self._steps_of(command))

    async def send_many(self, commands: Sequence[Command], origin: Origin) -> Result:
        """Run several commands in one transaction, all or none."""
        if not commands:
            raise UsageError("a batch has at least one command")
        loop = self._compiled()
        if stepping := [one for one in commands if self._steps_of(one) is not None]:
            raise UsageError(f"{type(stepping[0]).__name__} has saga steps: send it by itself")
        return await self._opened_sender().send_many(loop, commands, origin)

    def _steps_of(self, command: Command) -> Steps | None:
        if not self.steps:
            return None
        return self.steps.get(self.plan.command(type(command)).name)

    def scope_of(self, tx: LineTransaction) -> Scope:
        """Return what the commands of an open transaction have in hand, all of them together.

        Args:
            tx: From ``line.transaction()``, or a consumer's.
        """
        return self._opened_sender().scope_of(tx.unit)

    async def react(
        self, handler: Handler, heard: Heard, site_id: str | None, tx: LineTransaction
    ) -> None:
        """Run an eventual handler on a committed event, and what follows from it.

        Args:
            handler: The handler.
            heard: The event and what the handler's pattern captured.
            site_id: The event's tenant.
            tx: The transaction that its checkpoint is committed in.
        """
        recorded = heard.recorded
        header = recorded.headers
        origin = Origin(None, header.actor, site_id, header.correlation, header.id)
        ctx = Context(new_id(self._clock.now()), handler.name, handler.domain.name, origin)
        result = Result(ctx.command_id, handler.name, ctx.key)
        owner = cast("CommandPlan", handler)  # only its domain is asked
        await self._opened_sender().react(
            self._compiled(),
            Frame(owner, None, ctx, self.scope_of(tx), tx, result),
            Listener(handler, heard.params),
            recorded,
        )

    async def enqueue(self, command: Command, origin: Origin, *, tx: Any = None) -> str:
        """Leave a command to run after a commit, and return its key."""
        draft, key = self._queued(command, origin)
        if isinstance(tx, LineTransaction):
            tx.unit.stage([draft])
        elif tx is not None:
            await self._premises.store.publish(tx, [draft])
        else:
            (outcome,) = await self._premises.log.append(((draft,),))
            if isinstance(outcome, Exception):
                raise outcome
        return key

    def enqueue_now(self, command: Command, origin: Origin, *, tx: Any) -> str:
        """Leave a command in a synchronous guest's transaction, and return its key."""
        draft, key = self._queued(command, origin)
        self._premises.store.publish_now(tx, [draft])
        return key

    def _queued(self, command: Command, origin: Origin) -> tuple[Draft, str]:
        plan = self._compiled().plan.command(type(command))
        key = origin.key or new_id(self._clock.now())
        waiting = queued(plan.validated(command), key, origin)
        channel = channel_of(plan.domain.name)
        return draft_of(channel, waiting, {}, site_id=None, internal=True), key

    def _defer(self, command: Command, ctx: Context, scope: Scope) -> str:
        origin = Origin(ctx.command_id, ctx.actor, ctx.site_id, ctx.correlation, ctx.causation)
        draft, key = self._queued(command, origin)
        scope.unit.stage([draft])
        return key

    async def _run_queued(self, message: Message) -> None:
        waiting = read_queued(message)
        loop = self._compiled()
        plan = loop.plan.named(waiting.name)
        command = plan.decoded(msgspec.json.encode(waiting.fields))
        await self.send(command, waiting.origin)
