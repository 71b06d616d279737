"""Traces: what a command led to, how long it took, and what became of each event."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.cqrs.following import QUICK, Create, Created, Rename, Renamed, with_tests, working
from tests.store.databases import until
from trunkline.cqrs.command import Command, Event
from trunkline.cqrs.errors import Refused, RefusedError
from trunkline.errors import UsageError


class Greet(Command, name="greet"):
    """Ask for a greeting."""

    test_id: str


class Greeted(Event, name="greeting.:test_id.sent"):
    """Say that there was one."""

    test_id: str


class Noted(Event, name="audit.:test_id.noted"):
    """Say it elsewhere."""

    test_id: str


def with_much(line: Any) -> Any:
    """Declare a hook, a projector, a dispatcher, and processors, strong and eventual."""
    with_tests(line).event(Noted, Greeted)

    @line.before("*.test", priority=1)
    async def signed_in(cmd): ...

    @line.projector(Created)
    async def row(event, tx): ...

    @line.dispatcher(Created)
    def audit(event):
        yield Noted(event.test_id)

    @line.processor(Created)
    def renaming(event):
        return Rename(event.test_id, "nested")

    @line.processor(Renamed, consistency="eventual")
    def greet(event):
        return Greet(event.test_id)

    @line.command(Greet)
    def greeting(cmd):
        yield Greeted(cmd.test_id)

    @line.projector(Greeted, consistency="eventual")
    async def last(event): ...

    return line


async def test_a_result_has_its_trace(ground):
    """Hooks, handlers and the commit, with times; commands inside have theirs."""
    line = with_much(ground.line())
    async with line:
        result = await line.send(Create("1", "t"))
    trace = result.trace

    names = [(step.role, step.name) for step in trace.steps]
    assert names[0] == ("before", "main.signed_in")
    assert ("command", "main.create") in names
    assert ("projector", "main.row") in names
    assert names[-1] == ("commit", "")
    assert [child.name for child in trace.nested] == ["rename.test"]
    assert sum(step.seconds for step in trace.steps) <= trace.seconds * 1.01
    assert [one.name for one in trace.events] == ["test.1.created", "audit.1.noted"]
    text = str(trace).splitlines()
    assert text[0].startswith(f"create.test {result.command_id}")
    assert any("├─ projector main.row" in line for line in text)
    assert msgspec.json.decode(msgspec.json.encode(trace), type=type(trace)) == trace


async def test_the_whole_tree_is_shown_whatever_id_is_given(ground):
    """Over the commit: an eventual handler's commands hang under the event they answer."""
    line = with_much(ground.line())
    line.traces.options.sample = 1.0
    async with working(line):
        result = await line.send(Create("1", "t"))

        async def is_over() -> bool:
            found = await line.traces.descendants(result.events[0].id)
            return any(one.name == "greeting.1.sent" for one in found)

        await until(is_over)
        trees = [
            await line.traces.show(ident)
            for ident in (result.command_id, result.events[0].id, result.trace.correlation)
        ]
        (root,) = trees[0].commands
        created = root.events[0]
        renamed = created.commands[0].events[0]
        greeted = renamed.commands[0].events[0]

    assert len({str(tree).split("\n")[0] for tree in trees}) == 1
    assert (root.name, created.name) == ("create.test", "test.1.created")
    assert [one.name for one in created.events] == ["audit.1.noted"]
    assert created.commands[0].name == "rename.test"
    assert (renamed.name, greeted.name) == ("test.1.renamed", "greeting.1.sent")
    assert {run.handler: run.state for run in created.handlers} == {
        "main.row": "done",
        "main.audit": "done",
        "main.renaming": "done",
    }
    assert {run.handler: run.consistency for run in renamed.handlers} == {"main.greet": "eventual"}
    assert renamed.handlers[0].seconds is not None
    assert msgspec.json.decode(msgspec.json.encode(trees[0]))["commands"][0]["name"] == root.name


async def test_causes_can_be_walked_without_a_worker(ground):
    """Ancestors, descendants and siblings of any event, right after the commit."""
    line = with_much(ground.line())
    async with line:
        result = await line.send(Create("1", "t"))
        await line.send(Create("2", "t"))
        created, *_ = result.events
        traces = line.traces
        below = await traces.descendants(created.id)
        renamed = next(one for one in below if one.name == "test.1.renamed")
        noted = next(one for one in below if one.name == "audit.1.noted")

        assert {one.name for one in below} == {"test.1.renamed", "audit.1.noted"}
        assert [one.name for one in await traces.ancestors(renamed.id)] == ["test.1.created"]
        assert [one.id for one in await traces.siblings(noted.id)] == [renamed.id]
        assert await traces.ancestors(created.id) == []


async def test_failures_are_always_kept(ground):
    """Nothing was stored of the command, and yet it can be looked up, by the error's id."""
    line = with_tests(ground.line())
    line.traces.options.sample = 0.0

    @line.before("create.test")
    async def never(cmd):
        raise Refused("not today")

    async with line:
        with pytest.raises(RefusedError) as caught:
            await line.send(Create("1"))
        tree = await line.traces.show(caught.value.trace_id)

    (root,) = tree.commands
    assert root.name == "create.test"
    assert "not today" in root.error
    assert "not today" in root.trace.steps[0].error


async def test_slow_ones_are_kept_and_others_are_not(ground):
    """What was quick and not sampled leaves its events alone."""
    line = with_tests(ground.line())
    line.traces.options.sample = 0.0
    async with line:
        quick = await line.send(Create("1"))
        line.traces.options.slow = 0.0
        slow = await line.send(Create("2"))
        assert (await line.traces.show(quick.command_id)).commands[0].trace is None
        assert (await line.traces.show(slow.command_id)).commands[0].trace is not None


async def test_a_domain_may_have_all_its_traces_kept(ground):
    """By ``trace=True``."""
    line = ground.line()
    line.traces.options.sample = 0.0
    shop = line.domain("shop", trace=True)

    class Buy(Command, name="buy"):
        pass

    @shop.command(Buy)
    def buy(cmd):
        return []

    async with line:
        result = await line.send(Buy())
        assert (await line.traces.show(result.command_id)).commands[0].name == "buy"


async def test_a_handler_that_waits_retries_or_failed_is_told_from_one_that_is_done(ground):
    """With its attempts and what it raised."""
    line = with_tests(ground.line())

    @line.projector(Created, consistency="eventual", retry=QUICK)
    async def bad(event):
        raise ValueError("never")

    async with line:
        result = await line.send(Create("1"))
        (run,) = await line.traces.handlers(result.events[0].id)
        assert (run.state, run.attempts) == ("waiting", 0)
        line.start_services()

        async def has_failed() -> bool:
            (run,) = await line.traces.handlers(result.events[0].id)
            return run.state == "failed"

        await until(has_failed)
        (run,) = await line.traces.handlers(result.events[0].id)

    assert run.attempts >= 3
    assert "never" in run.error


async def test_what_is_not_known_is_an_error_that_says_what_is(ground):
    """A mistyped id is not an empty tree."""
    line = with_tests(ground.line())
    async with line:
        with pytest.raises(UsageError, match="nothing is known by 'zzz'"):
            await line.traces.show("zzz")
        with pytest.raises(UsageError, match="no event"):
            await line.traces.handlers("zzz")


async def test_a_flood_of_traces_is_bounded(ground, monkeypatch):
    """Writing lags; memory does not grow."""
    from trunkline.cqrs import tracer

    line = with_tests(ground.line())
    line.traces.options.sample = 1.0
    async with line:
        noted = line.commands.tracer
        for number in range(50):
            await line.send(Create(str(number)))
        assert len(noted._traces) <= tracer.WAITING
        await noted.flush(line.commands.followers._traces())
        assert not noted._traces
