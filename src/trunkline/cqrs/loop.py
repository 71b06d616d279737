"""The loop: what a command runs through inside its transaction.

Load, decide, then for each event, one after another until none is left: strong projectors,
dispatchers and processors by priority. Whatever raises ends the command.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from time import perf_counter
from typing import Any, Final, Protocol

from trunkline.channels.transaction import LineTransaction
from trunkline.cqrs.aggregate import Aggregate, stream_of
from trunkline.cqrs.calling import watched
from trunkline.cqrs.command import Command, Event, Recorded
from trunkline.cqrs.context import Context, Origin, new_id
from trunkline.cqrs.decision import outcomes
from trunkline.cqrs.errors import HandlerError, NestingError
from trunkline.cqrs.event_writer import EventWriter
from trunkline.cqrs.frame import Frame
from trunkline.cqrs.handler import DEFER, FAIL, ISOLATE, Handler, Role
from trunkline.cqrs.plan import CommandPlan, Heard, Plan
from trunkline.cqrs.result import On, Reply, Result
from trunkline.cqrs.scope import Scope
from trunkline.cqrs.state_cache import Loaded
from trunkline.errors import UsageError
from trunkline.model.channel import ChannelKey
from trunkline.runtime.clock import Clock

#: Commands inside commands, and events derived from events, at most.
DEPTH: Final = 32
#: The part of a stream's name for commands that belong to no aggregate.
ALONE: Final = "command"

Defer = Callable[[Command, Context, Scope], str]


class Steps(Protocol):
    """Be the saga steps of a command: calls to others, with an undo on record before each."""

    async def run(self, command: Any, ctx: Context) -> Any:
        """Run the steps and return the command, changed or not; raise to end it."""

    async def compensate(self, ctx: Context, cause: BaseException) -> None:
        """Undo, in reverse order, what was run: the command is known not to be committed."""

    async def settled(self, ctx: Context, tx: LineTransaction) -> None:
        """Mark the saga as done, inside the command's transaction."""


class Loop:
    """Run commands inside transactions.

    Args:
        plan: What was registered.
        clock: Tells the time.
        defer: Leaves a command to run after the commit, and returns its key.
        has_steps: Tells whether a command, by its name, has saga steps.
    """

    def __init__(
        self, plan: Plan, clock: Clock, defer: Defer, has_steps: Callable[[str], bool]
    ) -> None:
        self.plan = plan
        self._clock = clock
        self._defer = defer
        self._has_steps = has_steps
        self._writer = EventWriter(plan, clock)

    # -- before the transaction ---------------------------------------------------------------

    async def hooked(
        self, hooks: Sequence[Heard], command: Any, ctx: Context, plan: CommandPlan
    ) -> Any:
        """Run hooks one after another, and check again what each changed."""
        for hook, params in hooks:
            changed = await watched(hook, command, params, {"ctx": ctx}, name=ctx.name, ctx=ctx)
            if changed is None or changed is command:
                continue
            if type(changed) is not plan.kind.kind:
                raise HandlerError(
                    hook.role,
                    hook.name,
                    ctx.name,
                    TypeError(f"it returned {changed!r:.80}, not the command"),
                )
            command = plan.validated(changed)
        return command

    # -- inside -------------------------------------------------------------------------------

    async def run(self, frame: Frame) -> None:
        """Decide a command and do what follows from it, all in its transaction."""
        ctx = frame.ctx
        ctx.work, ctx.nest = frame.tx, self._nester(frame)
        try:
            await self._decide(frame)
        finally:
            ctx.work = ctx.nest = ctx.event = None

    async def _decide(self, frame: Frame) -> None:
        plan, handler, ctx = frame.plan, frame.plan.handler, frame.ctx
        commands = frame.command if isinstance(frame.command, list) else [frame.command]
        states = [await self._state(frame, one) for one in commands]
        is_batch = handler.signature.is_batch
        supplies = frame.supplies
        supplies["state"] = states if is_batch else states[0]
        subject = commands if is_batch else commands[0]
        value = await watched(handler, subject, {}, supplies, name=plan.name, ctx=ctx)
        found, data = outcomes(value)
        queue: deque[tuple[Recorded[Any], int]] = deque()
        for are_events, some in groupby(found, _is_event):
            if are_events:
                for recorded in await self._stage_own(frame, commands, list(some)):
                    queue.append((recorded, 1))
                continue
            for one in some:
                if isinstance(one, Reply):
                    frame.result.reply = one.value
                elif isinstance(one, On):
                    queue.append((await self._stage_on(frame, one), 1))
                else:
                    raise UsageError(
                        f"{handler.name} gave back a command: a deciding function yields events, "
                        "and a processor sends what follows from them"
                    )
        if data is not None:
            frame.result.take(handler.name, data, handler.merge)
        await self._follow(frame, queue)

    async def _state(self, frame: Frame, command: Any) -> Any:
        """Load what a command is decided on."""
        plan, site_id = frame.plan, frame.ctx.site_id
        if plan.aggregate is not None:
            channel = plan.aggregate.stream(getattr(command, plan.id_field or ""), site_id)
            return (await self._loaded(frame, channel, plan.aggregate)).state
        if plan.boundary is None:
            return None
        return await frame.scope.find(plan.boundary(command), plan.view, site_id)

    async def _end_of(self, frame: Frame, source: Any, event: Event) -> tuple[ChannelKey, int]:
        """Return the stream of the aggregate that an event was decided for, and its version.

        Args:
            frame: The command.
            source: Has the aggregate's id: the command, or in a batch the event.
            event: The event.
        """
        plan, ctx = frame.plan, frame.ctx
        if plan.aggregate is None:
            channel = stream_of(ALONE, ctx.command_id, ctx.site_id)
            return channel, frame.scope.count(channel)
        field = plan.aggregate.id_field if source is event else plan.id_field or ""
        if not hasattr(source, field):
            raise UsageError(
                f"{plan.handler.name} decides batches: {type(event).__name__} needs a field "
                f"{field!r} that says which {plan.aggregate.name} it is of, or yield On(…)"
            )
        channel = plan.aggregate.stream(getattr(source, field), ctx.site_id)
        return channel, await frame.scope.version(channel)

    async def _loaded(self, frame: Frame, channel: ChannelKey, aggregate: Aggregate[Any]) -> Loaded:
        began = perf_counter()
        loaded = await frame.scope.load(channel, aggregate)
        frame.ctx.spans.append(("load", channel.name, began, perf_counter() - began, ""))
        return loaded

    async def _stage_own(
        self, frame: Frame, commands: Sequence[Any], events: Sequence[Event]
    ) -> Sequence[Recorded[Any]]:
        """Stage events of the command's own aggregate; in a batch each names its own."""
        if not frame.plan.handler.signature.is_batch:
            channel, version = await self._end_of(frame, commands[0], events[0])
            return self._writer.write(frame, events, channel, version)
        found: list[Recorded[Any]] = []
        for event in events:
            channel, version = await self._end_of(frame, event, event)
            found += self._writer.write(frame, (event,), channel, version)
        return found

    async def _stage_on(
        self, frame: Frame, one: On, cause: Recorded[Any] | None = None
    ) -> Recorded[Any]:
        channel = self.plan.aggregate_of(one.aggregate).stream(one.id, frame.ctx.site_id)
        version = await frame.scope.version(channel)
        return self._writer.write(frame, (one.event,), channel, version, cause)[0]

    # -- what follows from events -------------------------------------------------------------

    async def react(self, frame: Frame, heard: Heard, recorded: Recorded[Any]) -> None:
        """Run one eventual handler on a committed event, with all that follows from it.

        Args:
            frame: The transaction it runs in; of its plan only the domain is asked.
            heard: The handler.
            recorded: The event.
        """
        ctx = frame.ctx
        ctx.work, ctx.nest, ctx.event = frame.tx, self._nester(frame), recorded
        try:
            derived = await self._heard(frame, heard, recorded)
            await self._follow(frame, deque((one, 1) for one in derived))
        finally:
            ctx.work = ctx.nest = ctx.event = None

    async def _follow(self, frame: Frame, queue: deque[tuple[Recorded[Any], int]]) -> None:
        while queue:
            recorded, depth = queue.popleft()
            for heard in self.plan.strong(recorded):
                frame.ctx.event = recorded
                for derived in await self._heard(frame, heard, recorded):
                    if depth >= DEPTH:
                        raise NestingError(
                            f"{heard.handler.name} derives {derived.name!r} from "
                            f"{recorded.name!r}, {depth} events deep: something leads to itself"
                        )
                    queue.append((derived, depth + 1))

    async def _heard(
        self, frame: Frame, heard: Heard, recorded: Recorded[Any]
    ) -> list[Recorded[Any]]:
        handler = heard.handler
        supplies = frame.supplies
        supplies["recorded"] = recorded
        if handler.naming is not None:
            supplies["tx"] = handler.naming.on(frame.tx)
        value = await watched(
            handler,
            recorded.event,
            heard.params,
            supplies,
            name=recorded.name,
            ctx=frame.ctx,
        )
        found, data = outcomes(value)
        if data is not None:
            frame.result.take(handler.name, data, handler.merge)
        derived = []
        for one in found:
            if isinstance(one, Command):
                await self._nest(frame, one, handler, recorded)
            elif handler.role is Role.DISPATCHER:
                derived.append(await self._derive(frame, one, recorded))
            else:
                raise UsageError(
                    f"the {handler.role} {handler.name} gave back {one!r:.80}: projectors give "
                    "back data, dispatchers events, processors commands"
                )
        return derived

    async def _derive(self, frame: Frame, one: Any, cause: Recorded[Any]) -> Recorded[Any]:
        if isinstance(one, On):
            return await self._stage_on(frame, one, cause)
        channel = ChannelKey(cause.stream, frame.ctx.site_id)
        version = await frame.scope.version(channel)
        return self._writer.write(frame, (one,), channel, version, cause)[0]

    # -- commands inside ----------------------------------------------------------------------

    def _nester(self, frame: Frame) -> Any:
        async def nest(command: Command, ctx: Context, options: Mapping[str, Any]) -> Result | None:
            del ctx
            policy = options.get("on_error", FAIL)
            cause = frame.ctx.event
            return await self._run_inside(frame, command, policy, cause, guard=True)

        return nest

    async def _nest(
        self, frame: Frame, command: Command, handler: Handler, cause: Recorded[Any]
    ) -> None:
        await self._run_inside(frame, command, handler.on_error, cause, guard=False)

    async def _run_inside(
        self,
        frame: Frame,
        command: Command,
        policy: str,
        cause: Recorded[Any] | None,
        *,
        guard: bool,
    ) -> Result | None:
        """Run a nested command; *guard* means that its sender may catch what it raises."""
        plan = self.plan.command(type(command))
        child = self._child(frame, plan, cause)
        if policy != DEFER and self._has_steps(plan.name):
            raise UsageError(
                f"{plan.name!r} has saga steps, which no transaction may wait for: give whoever "
                "sends it on_error='defer'"
            )
        if policy == DEFER:
            valid = plan.validated(command)
            frame.result.deferred.append(self._defer(valid, child, frame.scope))
            return None
        if child.depth > DEPTH:
            raise NestingError(
                f"{plan.name!r} is nested {child.depth} commands deep: something leads to itself"
            )
        frame.ctx.children.append(child)
        result = Result(child.command_id, plan.name, child.key)
        result.context = child
        inner = Frame(plan, command, child, frame.scope, frame.tx, result)
        if policy == FAIL and not guard:
            await self._inner(inner)
        else:
            try:
                async with frame.scope.unit.savepoint():
                    await self._inner(inner)
            except Exception as error:
                if policy != ISOLATE:
                    raise
                frame.result.failures.append(error)
                return None
        frame.result.nested.append(result)
        return result

    async def _inner(self, frame: Frame) -> None:
        plan, ctx = frame.plan, frame.ctx
        outer = ctx.event
        command = plan.validated(frame.command)
        command = await self.hooked(plan.before, command, ctx, plan)
        command = await self.hooked(plan.after, command, ctx, plan)
        await self.run(frame._replace(command=command))
        ctx.event = outer

    def _child(self, frame: Frame, plan: CommandPlan, cause: Recorded[Any] | None) -> Context:
        ctx = frame.ctx
        origin = Origin(
            actor=ctx.actor,
            site_id=ctx.site_id,
            correlation=ctx.correlation,
            causation=ctx.command_id if cause is None else cause.headers.id,
            depth=ctx.depth + 1,
        )
        return Context(new_id(self._clock.now()), plan.name, plan.domain.name, origin)


def _is_event(value: object) -> bool:
    return isinstance(value, Event)
