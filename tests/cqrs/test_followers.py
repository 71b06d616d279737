"""Eventual handlers: from the log, exactly once, each for itself."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pytest

from tests.channels.consuming import note, notes
from tests.cqrs.following import (
    QUICK,
    Create,
    Created,
    Rename,
    Renamed,
    come_true,
    with_tests,
    working,
)
from tests.store.databases import until
from trunkline.cqrs.command import Event, Recorded
from trunkline.cqrs.errors import NotFollowedError
from trunkline.errors import ConfigError


async def test_it_hears_what_was_and_what_comes_in_order(ground):
    """Its patterns' parameters and the event's place come with it."""
    line = with_tests(ground.line())
    seen = []

    @line.projector("test.:test_id.*", consistency="eventual")
    async def all_of_them(event, tx, test_id: str, recorded: Recorded[Any]):
        seen.append((type(event).__name__, test_id, recorded.stream_version))

    await line.send(Create("a.b"))
    async with working(line):
        await line.send(Rename("a.b", "x"))
        await come_true(lambda: len(seen) == 2)

    assert seen == [("Created", "a.b", 1), ("Renamed", "a.b", 2)]


async def test_it_hears_only_its_types_and_its_domains(ground):
    """Others cost it no transaction."""
    line = with_tests(ground.line())
    other = line.domain("other")
    seen = []

    class Far(Event, name="far.away"):
        pass

    line.event(Far)

    @line.projector(consistency="eventual")
    async def renamed(event: Renamed):
        seen.append("renamed")

    @other.projector("test.**", consistency="eventual")
    async def deaf(event):
        seen.append("deaf")

    @other.projector("test.**", consistency="eventual", domains="main")
    async def curious(event: Created):
        seen.append("curious")

    async with working(line):
        await line.send(Create("1"))
        await line.send(Rename("1", "x"))
        await come_true(lambda: len(seen) == 2)

    assert sorted(seen) == ["curious", "renamed"]


async def test_writes_and_checkpoint_are_one_over_restarts(ground):
    """Each event takes effect exactly once, however often the line is opened."""
    for number in range(3):
        line = with_tests(ground.line())

        @line.projector(consistency="eventual")
        async def keep(event: Created, tx):
            await tx.execute(note(ground), event.test_id)

        for one in range(5):
            await line.send(Create(f"{number}{one}"))
        async with working(line):
            await line.consumers.caught_up("main.keep")

    assert await notes(ground) == [f"{a}{b}" for a in range(3) for b in range(5)]


async def test_lists_are_taken_in_one_call(ground):
    """A handler that takes a list is given many at a time."""
    line = with_tests(ground.line())
    calls = []

    @line.projector(consistency="eventual")
    async def keep(events: list[Created], tx, recorded):
        calls.append([event.test_id for event in events])
        assert [one.event for one in recorded] == events
        await tx.execute_many(note(ground), [[event.test_id] for event in events])

    for one in range(7):
        await line.send(Create(str(one)))
    async with working(line):
        await line.consumers.caught_up("main.keep")

    assert list(chain(*calls)) == [str(one) for one in range(7)]
    assert len(calls) < 7
    assert await notes(ground) == [str(one) for one in range(7)]


async def test_a_failing_handler_costs_only_itself_and_its_stream(ground):
    """It is tried again and then parked, with the stream's later events behind; others go on."""
    line = with_tests(ground.line())
    good, tries = [], []

    @line.projector("test.**", consistency="eventual", retry=QUICK)
    async def bad(event, test_id: str = ""):
        if event.test_id == "1":
            tries.append(event)
            raise ValueError("never")
        good.append(event.test_id)

    others = []

    @line.projector("test.**", consistency="eventual")
    async def other(event):
        others.append(event.test_id)

    async with working(line):
        await line.send(Create("1"))
        await line.send(Create("2"))
        await line.send(Rename("1", "x"))
        # A page that failed is run again, so what was only called may have been twice.
        await come_true(lambda: len(others) == 3 and set(good) == {"2"} and len(tries) >= 3)

        async def is_settled() -> bool:
            found = await line.consumers.parked("main.bad")
            return len(found) == 2 and "never" in found[0].error and found[0].due_at is None

        await until(is_settled)
        parked = await line.consumers.parked("main.bad")

    assert [(one.record.message_id, bool(one.attempts)) for one in parked] == [
        (1, True),
        (2, False),
    ]
    assert "ValueError: never" in parked[0].error


async def test_a_processor_sends_commands_with_the_event_as_their_cause(ground):
    """What it sends is committed with its checkpoint, in the same tree."""
    line = with_tests(ground.line())
    seen: list[Recorded[Any]] = []

    @line.processor(consistency="eventual")
    async def rename_it(event: Created):
        return Rename(event.test_id, event.title + "!")

    @line.projector(consistency="eventual")
    async def look(event: Renamed, recorded: Recorded[Any]):
        seen.append(recorded)

    async with working(line):
        results = [await line.send(Create(str(one), "t")) for one in range(20)]
        await come_true(lambda: len(seen) == 20)

    causes = {result.events[0].id: result.command_id for result in results}
    assert {one.headers.causation for one in seen} == set(causes)
    assert {one.headers.correlation for one in seen} == set(causes.values())
    assert {one.event.title for one in seen} == {"t!"}


async def test_a_processor_that_fails_sends_nothing(ground):
    """Its commands are undone with it."""
    line = with_tests(ground.line())
    seen, tries = [], []

    @line.processor(consistency="eventual", retry=QUICK)
    async def half(event: Created, ctx):
        await ctx.send(Rename(event.test_id, str(len(tries))))
        tries.append(1)
        if len(tries) < 3:
            raise ValueError("not yet")

    @line.projector(consistency="eventual")
    async def look(event: Renamed):
        seen.append(event.title)

    async with working(line):
        await line.send(Create("1"))
        await come_true(lambda: seen)

    assert seen == ["2"]


async def test_a_dispatcher_derives_events_with_their_cause(ground):
    """On the stream of the event, or another that it names."""
    line = with_tests(ground.line())
    seen = []

    class Noted(Event, name="audit.:test_id.noted"):
        test_id: str

    @line.dispatcher(consistency="eventual")
    def audit(event: Created):
        yield Noted(event.test_id)

    @line.projector(consistency="eventual")
    async def look(event: Noted, recorded: Recorded[Any]):
        seen.append(recorded)

    async with working(line):
        result = await line.send(Create("1"))
        await come_true(lambda: seen)

    assert seen[0].stream == "/stream/test/1"
    assert seen[0].headers.causation == result.events[0].id


async def test_waiting_reads_what_was_written(ground):
    """Right after a command that waits, the read model has it."""
    line = with_tests(ground.line())

    @line.projector(consistency="eventual")
    async def keep(event: Created, tx):
        await tx.execute(note(ground), event.test_id)

    @line.projector(consistency="eventual")
    async def unconcerned(event: Renamed): ...

    async with working(line):
        for one in range(5):
            result = await line.send(Create(str(one)))
            await line.commands.followers.wait([keep, "unconcerned"], result, 15)
            assert await notes(ground) == [str(number) for number in range(one + 1)]


async def test_waiting_for_one_that_fails_or_sleeps_says_so(ground):
    """A failure at once, silence after the time that was given."""
    line = with_tests(ground.line())

    @line.projector(consistency="eventual", retry=1)
    async def bad(event: Created):
        raise ValueError("never")

    result = await line.send(Create("1"))
    with pytest.raises(NotFollowedError, match=r"within 0\.05 s"):
        await line.commands.followers.wait([bad], result, 0.05)
    async with working(line):
        with pytest.raises(NotFollowedError, match="ValueError: never"):
            await line.commands.followers.wait([bad], result, 15)


async def test_a_profile_says_which_handlers_a_process_runs(ground):
    """A domain's handlers run only where its name is in the profile."""
    settings = {"profile": "mail", "profiles": {"mail": ["mail"]}}
    line = with_tests(ground.line(**settings))
    seen = []

    @line.projector("test.**", consistency="eventual")
    async def here(event):
        seen.append("main")

    @line.domain("mail").projector("test.**", consistency="eventual", domains="main")
    async def there(event):
        seen.append("mail")

    async with working(line):
        await line.send(Create("1"))
        await come_true(lambda: seen)
        names = {one.name for one in line.services()}
        assert "consumer:mail.there" in names
        assert "consumer:main.here" not in names
    assert seen == ["mail"]


async def test_only_projectors_take_lists(ground):
    """For others each event is a cause of its own."""
    line = with_tests(ground.line())

    @line.processor(consistency="eventual")
    def many(events: list[Created]): ...

    with pytest.raises(ConfigError, match="only projectors"):
        await line.open()


async def test_settings_may_switch_one_off_or_make_it_eventual(ground):
    """By the handler's name, without touching the code."""
    line = ground.line()
    line.commands.settings = {
        "main.off": {"enabled": False},
        "main.later": {"consistency": "eventual"},
    }
    with_tests(line)
    seen = []

    @line.projector(consistency="eventual")
    async def off(event: Created):
        seen.append("off")

    @line.projector()
    async def later(event: Created):
        seen.append("later")

    await line.send(Create("1"))
    assert seen == []
    async with working(line):
        await come_true(lambda: seen)
    assert seen == ["later"]
