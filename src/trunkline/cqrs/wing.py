"""The wing: takes commands, runs them, and answers when they are durable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

from trunkline.channels.transaction import LineTransaction
from trunkline.channels.wing import Premises
from trunkline.cqrs.command import Command, Recorded
from trunkline.cqrs.context import Context, Origin, new_id
from trunkline.cqrs.domain import Domain
from trunkline.cqrs.handler import DEFAULT_DOMAIN, Handler
from trunkline.cqrs.loop import Frame, Loop, Steps
from trunkline.cqrs.plan import CommandPlan, Plan
from trunkline.cqrs.plan import Heard as Listener
from trunkline.cqrs.result import Result
from trunkline.cqrs.scope import CACHED, Commit, Scope, StateCache, Stores
from trunkline.errors import ConfigError, TrunklineError, UsageError
from trunkline.runtime.service import Service
from trunkline.store.unit import UnitOfWork

if TYPE_CHECKING:
    from trunkline.cqrs.followers import Followers
    from trunkline.cqrs.hearing import Heard
    from trunkline.log.joint import JointTransaction


class Commands:
    """Be the wing of a line that runs commands.

    Args:
        premises: What it works with.
    """

    def __init__(self, premises: Premises) -> None:
        self._premises = premises
        self._clock = premises.clock
        self.main = Domain(DEFAULT_DOMAIN)
        self._domains: dict[str, Domain] = {DEFAULT_DOMAIN: self.main}
        self._plan: Plan | None = None
        self._loop: Loop | None = None
        self._revision = -1
        self._cache = StateCache(CACHED)
        self._scopes: WeakKeyDictionary[UnitOfWork, Scope] = WeakKeyDictionary()
        #: Set by the face: what runs eventual handlers.
        self.followers: Followers
        self.settings: Mapping[str, Mapping[str, Any]] = {}
        #: Set by whoever runs sagas: the steps of a command by its name.
        self.steps: dict[str, Steps] = {}

    # -- declaring ----------------------------------------------------------------------------

    def domain(self, name: str, **options: Any) -> Domain:
        """Return a domain, made when its name is new.

        Raises:
            ConfigError: It is there already and options are given again.
        """
        known = self._domains.get(name)
        if known is None:
            known = self._domains[name] = Domain(name, **options)
        elif options:
            raise ConfigError(f"the domain {name!r} is there already: give its options once")
        return known

    @property
    def domains(self) -> Sequence[Domain]:
        """Return all domains."""
        return tuple(self._domains.values())

    # -- living -------------------------------------------------------------------------------

    async def open(self) -> None:
        """Compile and check what was registered."""
        _ = self._premises.store.joint
        self._compiled()

    async def close(self) -> None:
        """Forget what belongs to this opening."""
        self._cache.clear()

    def services(self) -> Sequence[Service]:
        """Return what a worker runs."""
        return ()

    @property
    def plan(self) -> Plan:
        """Return what was registered, compiled.

        Raises:
            ConfigError: It makes no sense.
        """
        return self._compiled().plan

    def _compiled(self) -> Loop:
        revision = sum(domain.revision for domain in self._domains.values())
        if self._loop is None or revision != self._revision:
            plan = Plan(self._domains.values(), self.settings)
            self._loop = Loop(plan, self._clock, self._defer)
            self._revision = revision
        return self._loop

    # -- running ------------------------------------------------------------------------------

    async def send(
        self, command: Command, origin: Origin, *, tx: LineTransaction | None = None
    ) -> Result:
        """Run a command, in a transaction of its own or in one that is open."""
        loop = self._compiled()
        plan = loop.plan.command(type(command))
        ctx = self._context(plan, origin)
        valid = plan.validated(command)
        valid = await loop.hooked(list(plan.before), valid, ctx, plan)
        valid = await loop.hooked(list(plan.after), valid, ctx, plan)
        result = Result(ctx.command_id, plan.name, ctx.key)
        result.context = ctx
        if tx is not None:
            return await self._run_in(loop, Frame(plan, valid, ctx, self._scope(tx), tx, result))
        return await self._run(loop, plan, valid, ctx, result)

    def _context(self, plan: CommandPlan, origin: Origin) -> Context:
        return Context(new_id(self._clock.now()), plan.name, plan.domain.name, origin)

    async def _run(
        self, loop: Loop, plan: CommandPlan, command: Any, ctx: Context, result: Result
    ) -> Result:
        commit = Commit(Stores(loop.plan.catalog, self._cache))
        async with self._premises.store.joint.transaction() as transaction:
            unit = UnitOfWork(transaction)
            scope = Scope(unit, transaction, commit)
            tx = self._premises.bus.transaction_over(unit)
            await loop.run(Frame(plan, command, ctx, scope, tx, result))
            staged = list(scope.staged)
            outcome = (await transaction.append((unit.drafts,)))[0] if unit.drafts else ()
            if isinstance(outcome, TrunklineError):
                raise outcome
        commit.add(staged)
        commit.settle()
        result.events = tuple(_placed(one.recorded, outcome[one.index].global_id) for one in staged)
        if outcome:
            result.position = outcome[-1].position
        await unit.settle()
        return result

    async def _run_in(self, loop: Loop, frame: Frame) -> Result:
        await loop.run(frame)
        frame.result.events = tuple(one.recorded for one in frame.scope.staged)
        return frame.result

    def scope_of(self, tx: LineTransaction) -> Scope:
        """Return what the commands of an open transaction have in hand, all of them together.

        Args:
            tx: From ``line.transaction()``, or a consumer's.
        """
        unit = tx.unit
        scope = self._scopes.get(unit)
        if scope is None:
            transaction = cast("JointTransaction", unit.transaction)
            commit = Commit(Stores(self.plan.catalog, self._cache))
            scope = self._scopes[unit] = Scope(unit, transaction, commit)
            unit.after_commit(partial(_remember, scope))
        return scope

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
        frame = Frame(owner, None, ctx, self.scope_of(tx), tx, result)
        await self._compiled().react(frame, Listener(handler, heard.params), recorded)

    def _scope(self, tx: LineTransaction) -> Scope:
        return self.scope_of(tx)

    def _defer(self, command: Command, ctx: Context, scope: Scope) -> str:
        raise UsageError("not yet")


async def _remember(scope: Scope) -> None:
    scope.commit.add(scope.staged)
    scope.commit.settle()


def _placed(recorded: Recorded[Any], position: int) -> Recorded[Any]:
    return Recorded(
        event=recorded.event,
        name=recorded.name,
        version=recorded.version,
        stream=recorded.stream,
        stream_version=recorded.stream_version,
        position=position,
        headers=recorded.headers,
    )
