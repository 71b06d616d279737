"""What tests of commands need: given/when/then, virtual time, draining, repeats, fault points.

::

    story = Story(line)
    await story.given(UserCreated("ann"))
    await story.when(CreateUser("ann"))
    story.refused("exists")

    points = FaultPoints(line)
    points.fail("main.profile")              # the projector fails, once
    await story.when(CreateUser("bob"))
    story.failed(HandlerError)
"""

from __future__ import annotations

import asyncio
import functools
import heapq
import inspect
import itertools
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from trunkline.app import Trunkline
from trunkline.cqrs.aggregate import Aggregate
from trunkline.cqrs.catalog import encode_header
from trunkline.cqrs.command import Command, Event, Header, stored
from trunkline.cqrs.context import new_id
from trunkline.cqrs.errors import RefusedError
from trunkline.cqrs.followers import consumer_name, is_eventual
from trunkline.cqrs.handler import Handler
from trunkline.cqrs.queued import CONSUMER
from trunkline.cqrs.result import Result
from trunkline.errors import UsageError
from trunkline.log.joint import JointTransaction, Stretch
from trunkline.model import codec
from trunkline.model.channel import Kind
from trunkline.model.message import Draft
from trunkline.testing.clock import ManualClock

#: Seconds that draining may take by the machine's clock.
PATIENCE = 30.0


class VirtualClock(ManualClock):
    """Tell a time that only the test changes, and wake whoever sleeps until it.

    Hand it to the line: back-off of saga steps then takes no time but the test's.

    Args:
        start: Unix seconds to begin at.
    """

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        super().__init__(start)
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    async def sleep(self, seconds: float) -> None:
        """Wait until so much time was let pass."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        due = self.monotonic() + seconds
        heapq.heappush(self._sleepers, (due, next(self._numbers), done))
        await done

    @property
    def sleeping(self) -> int:
        """Return how many sleep."""
        return sum(not done.done() for _, _, done in self._sleepers)

    def advance(self, seconds: float) -> None:
        """Let time pass, and wake those whose time has come.

        Args:
            seconds: How much, 0 or more.

        Raises:
            ValueError: It is negative.
        """
        super().advance(seconds)
        while self._sleepers and self._sleepers[0][0] <= self.monotonic():
            _, _, done = heapq.heappop(self._sleepers)
            if not done.done():
                done.set_result(None)


class Story:
    """Tell what was, do one thing, and say what must follow.

    Args:
        line: A line on a SQL database, with what is under test declared.

    Attributes:
        result: What the last command came to, or None.
        error: What the last command failed with, or None.
    """

    def __init__(self, line: Trunkline) -> None:
        self._line = line
        self.result: Result | None = None
        self.error: Exception | None = None

    async def given(self, *things: Event | Command) -> Story:
        """Have events happen without handlers, and commands run with theirs.

        Raises:
            UsageError: No aggregate takes such an event.
        """
        await self._line.be_ready()
        for thing in things:
            if isinstance(thing, Command):
                await self._line.send(thing)
            else:
                await self._append(thing)
        return self

    async def when(self, command: Command, **options: Any) -> Story:
        """Send a command.

        Args:
            command: The command.
            **options: As for ``line.send``.
        """
        self.result = self.error = None
        try:
            self.result = await self._line.send(command, **options)
        except Exception as error:  # noqa: BLE001 - it is what the test asks about
            self.error = error
        return self

    def then(self, *events: Event) -> Result:
        """Assert what happened, all of it and in this order, and return the result."""
        __tracebackhide__ = True
        if self.error is not None:
            raise AssertionError(f"expected {events!r}, but: {self.error!r}") from self.error
        found = () if self.result is None else tuple(one.event for one in self.result.events)
        if found != events:
            raise AssertionError(f"expected {events!r}, found {found!r}")
        return cast("Result", self.result)

    def refused(self, code: str | None = None) -> RefusedError:
        """Assert that the command was refused, and return the refusal.

        Args:
            code: Why, if that matters.
        """
        __tracebackhide__ = True
        error = self.failed(RefusedError)
        if code is not None and error.code != code:
            raise AssertionError(f"expected a refusal {code!r}, found {error.code!r}: {error}")
        return cast("RefusedError", error)

    def failed(self, kind: type[Exception] = Exception) -> Any:
        """Assert that the command failed, and return the error."""
        __tracebackhide__ = True
        if not isinstance(self.error, kind):
            found = self.result if self.error is None else self.error
            raise AssertionError(  # noqa: TRY004 - it is an assertion
                f"expected {kind.__name__}, found {found!r}"
            ) from self.error
        return self.error

    async def _append(self, event: Event) -> None:
        aggregate, kind = self._aggregate_of(event), stored(type(event))
        channel = aggregate.stream(getattr(event, aggregate.id_field), None)
        async with self._line.transaction() as tx:
            joint = cast("JointTransaction", tx.unit.transaction)
            (tip,) = await joint.tips((Stretch(channel),))
            ident = new_id(time.time())
            name = kind.name_of(event)
            header = Header(
                name=name,
                type=None if name == kind.name else kind.name,
                v=kind.version,
                id=f"{ident}.1",
                command=ident,
                causation=ident,
                correlation=ident,
                domain="main",
                at=time.time(),
                tags=kind.tags_of(event),
            )
            draft = Draft(
                channel=channel,
                data=codec.encode(event),
                headers=encode_header(header),
                kind=Kind.STREAM,
                expected_version=tip.last_id,
            )
            tx.unit.stage([draft])

    def _aggregate_of(self, event: Event) -> Aggregate[Any]:
        commands = self._line.commands
        _ = commands.plan
        for domain in commands.domains:
            for aggregate in domain.aggregates.values():
                if type(event) in aggregate.evolvers and hasattr(event, aggregate.id_field):
                    return aggregate
        raise UsageError(
            f"no aggregate evolves by {type(event).__name__} and has its id: give commands instead"
        )


async def drain(line: Trunkline) -> None:
    """Wait until everything that follows from what was sent is done, and nothing more comes.

    The line's services must run. What is parked or waits for a time counts as done.

    Args:
        line: The line, open.

    Raises:
        TimeoutError: It was not done in time.
    """
    before = -1
    async with asyncio.timeout(PATIENCE):
        while True:
            known = [one.name for one in await line.consumers.list()]
            for name in dict.fromkeys([*_followers(line), *known]):
                await line.consumers.caught_up(name)
            states = await line.consumers.list()
            after = sum(one.position.global_id + one.behind for one in states)
            if after == before and not await line.sagas.list("running"):
                return
            before = after


def _followers(line: Trunkline) -> list[str]:
    """Return the consumers of what is declared, also those that never ran."""
    handlers = line.commands.plan.handlers.values()
    queues = [f"{CONSUMER}{domain.name}" for domain in line.commands.domains]
    return [*(consumer_name(one) for one in handlers if is_eventual(one)), *queues]


async def redeliver(line: Trunkline, handler: Any) -> None:
    """Deliver to an eventual handler once more all that it has had, and wait for it.

    Its writes must come to the same: then an operator may replay it.

    Args:
        line: The line, its services running.
        handler: The function, or its name.
    """
    name = consumer_name(line.commands.followers.handler(handler))
    await line.consumers.replay(name)
    async with asyncio.timeout(PATIENCE):
        await line.consumers.caught_up(name)


class FaultPoints:
    """Have handlers of a line fail, or its process die, at points named for them.

    Args:
        line: The line, with everything declared.
    """

    def __init__(self, line: Trunkline) -> None:
        self._faults: dict[str, list[Callable[[], None]]] = {}
        for handler in line.commands.plan.handlers.values():
            _watch(handler, self._reach)

    def fail(
        self, handler: str, error: Exception | None = None, *, times: int = 1, after: bool = False
    ) -> None:
        """Have a handler raise.

        Args:
            handler: Its name, with its domain's: ``main.profile``.
            error: What it raises; a RuntimeError if not given.
            times: How often.
            after: Once it has done its work, instead of before.
        """
        raised = error or RuntimeError(f"a fault at {handler}")

        def fault() -> None:
            raise raised

        self._faults.setdefault(_point(handler, after=after), []).extend([fault] * times)

    def die(self, handler: str, *, after: bool = False) -> None:
        """Have the process killed, with signal 9, when it comes to a handler."""
        self._faults.setdefault(_point(handler, after=after), []).append(
            lambda: os.kill(os.getpid(), signal.SIGKILL)
        )

    def _reach(self, point: str) -> None:
        if faults := self._faults.get(point):
            faults.pop(0)()


def _point(handler: str, *, after: bool) -> str:
    return f"{handler} {'after' if after else 'before'}"


def _watch(handler: Handler, reach: Callable[[str], None]) -> None:
    """Have a handler's function come by its points; what kind of function it is stays the same."""
    function, name = handler.signature.function, handler.name
    handler.signature = replace(handler.signature, function=_passing(function, name, reach))


def _passing(
    function: Callable[..., Any], name: str, reach: Callable[[str], None]
) -> Callable[..., Any]:
    before, after = _point(name, after=False), _point(name, after=True)

    @functools.wraps(function)
    def plain(*given: Any, **named: Any) -> Any:
        reach(before)
        found = function(*given, **named)
        reach(after)
        return found

    @functools.wraps(function)
    async def awaited(*given: Any, **named: Any) -> Any:
        reach(before)
        found = await function(*given, **named)
        reach(after)
        return found

    @functools.wraps(function)
    def yielding(*given: Any, **named: Any) -> Any:
        reach(before)
        yield from function(*given, **named)
        reach(after)

    @functools.wraps(function)
    async def awaited_yielding(*given: Any, **named: Any) -> Any:
        reach(before)
        async for one in function(*given, **named):
            yield one
        reach(after)

    if inspect.isasyncgenfunction(function):
        return awaited_yielding
    if inspect.isgeneratorfunction(function):
        return yielding
    return awaited if inspect.iscoroutinefunction(function) else plain
