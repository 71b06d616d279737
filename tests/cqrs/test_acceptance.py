"""What the wing promises, one sentence and one test each; others prove them in depth."""

from __future__ import annotations

import asyncio

import pytest

from tests.cqrs.failing_town import Move, town
from tests.cqrs.saga_town import Record
from tests.store.databases import notes, until
from trunkline.channels.consumer import Retry
from trunkline.cqrs.command import Command, Event
from trunkline.cqrs.errors import HandlerError
from trunkline.cqrs.step import StepRetry
from trunkline.errors import VersionConflictError
from trunkline.testing.commands import FaultPoints, Story, VirtualClock, drain, redeliver


class Count(Command, name="count"):
    counter: str
    by: int = 1


class Counted(Event, name="counter.:counter.counted", version=2):
    counter: str
    by: int
    unit: str


class Counter:
    """Be the state: how much was counted."""

    def __init__(self, total: int) -> None:
        self.total = total


@Counted.upcast(1)
def with_unit(fields):
    return {**fields, "unit": "piece"}


def counting(line):
    line.aggregate("counter", id="counter")(Counter)

    @line.evolve
    def evolve(state: Counter | None, event: Counted) -> Counter:
        return Counter((state.total if state else 0) + event.by)

    @line.command(Count)
    async def count(command: Count, counter: Counter | None):
        yield Counted(command.counter, command.by, "piece")

    return line


@pytest.fixture
def record(tmp_path):
    return Record(tmp_path / "record")


async def test_any_exception_rejects_rolls_back_and_compensates_in_reverse_once(ground, record):
    async with town(ground.line(), record) as line:
        FaultPoints(line).fail("main.note_tidied", after=True)
        with pytest.raises(HandlerError):
            await line.send(Move("h"))
        assert await notes(ground) == []
    assert [one[:1] + one[1:] for one in record.effects()] == [
        ("did", "a"),
        ("did", "b"),
        ("undid", "b"),
        ("undid", "a"),
    ]


async def test_a_resolved_command_has_all_its_rows_and_a_rejected_one_none(ground):
    line = counting(ground.line())

    @line.projector(Counted)
    async def note(event: Counted, tx):
        await tx.execute(f"INSERT INTO note VALUES ('{event.counter}')")
        await tx.publish("/counted", event.counter)
        if event.by < 0:
            raise ValueError

    async with line:
        result = await line.send(Count("a"))
        with pytest.raises(HandlerError):
            await line.send(Count("b", -1))
        assert result.position is not None
        assert [one.data for one in await line.backlog("/counted")] == ["a"]
    assert await notes(ground) == ["a"]


async def test_a_failing_consumer_affects_neither_the_caller_nor_others(ground):
    line, seen = counting(ground.line()), []

    @line.projector(Counted, consistency="eventual", retry=Retry(1))
    async def broken(event: Counted, tx):
        raise ValueError

    @line.projector(Counted, consistency="eventual")
    async def sound(event: Counted, tx):
        seen.append(event.counter)

    async with line:
        line.start_services()
        await line.send(Count("a"), wait=["sound"])
    assert seen == ["a"]


async def test_each_event_takes_effect_once_however_many_patterns_match(ground):
    line = counting(ground.line())

    @line.projector("counter.:counter.counted", "counter.*.*", "**", consistency="eventual")
    async def note(event, tx):
        await tx.execute(f"INSERT INTO note VALUES ('{event.counter} {event.by}')")

    async with line:
        line.start_services()
        for number in range(5):
            await line.send(Count("a", number))
        await drain(line)
    assert await notes(ground) == [f"a {number}" for number in range(5)]


async def test_a_failing_sequence_is_parked_while_others_go_on(ground):
    line, broken = counting(ground.line()), [True]

    @line.projector(Counted, consistency="eventual", retry=Retry(1))
    async def note(event: Counted, tx):
        if broken and event.counter == "a":
            raise ValueError("broken")
        await tx.execute(f"INSERT INTO note VALUES ('{event.counter} {event.by}')")

    async with line:
        line.start_services()
        for counter, by in (("a", 1), ("a", 2), ("b", 3)):
            await line.send(Count(counter, by))
        await drain(line)
        assert await notes(ground) == ["b 3"]
        [first, second] = await line.consumers.parked("main.note")
        assert "broken" in first.error
        assert second.state == "behind"
        broken.clear()
        await line.consumers.retry("main.note")

        async def all_there():
            return await notes(ground) == ["a 1", "a 2", "b 3"]

        await until(all_there)


async def test_writers_of_one_aggregate_decide_again_until_each_has_won(ground):
    lines = [counting(ground.line()) for _ in range(2)]
    async with lines[0], lines[1]:
        await asyncio.gather(*(line.send(Count("a")) for line in lines for _ in range(5)))
        result = await lines[0].send(Count("a"))
        assert result.events[0].stream_version == 11
        assert issubclass(VersionConflictError, Exception)


async def test_events_of_an_older_version_are_read_through_upcasters(ground):
    line = counting(ground.line())
    seen = []

    @line.projector(Counted, consistency="eventual")
    async def note(event: Counted, tx):
        seen.append(event)

    async with line:
        line.start_services()
        await line.send(Count("a", 3), wait=["note"])
        async with line.transaction() as tx:
            draft = await old_event(tx)
            tx.unit.stage([draft])
        await drain(line)
        assert [one.unit for one in seen] == ["piece", "piece"]
        result = await line.send(Count("a", 1))
        assert result.events[0].stream_version == 3


async def old_event(tx):
    """Return an event as version 1 of the code stored it."""
    from trunkline.cqrs.catalog import encode_header
    from trunkline.cqrs.command import Header
    from trunkline.model.channel import ChannelKey, Kind
    from trunkline.model.message import Draft

    header = Header(
        name="counter.a.counted",
        type="counter.:counter.counted",
        v=1,
        id="old",
        command="old",
        causation="old",
        correlation="old",
        domain="main",
        at=1.0,
    )
    return Draft(
        channel=ChannelKey("/stream/counter/a", None),
        data=b'{"counter":"a","by":4}',
        headers=encode_header(header),
        kind=Kind.STREAM,
        expected_version=1,
    )


async def test_values_with_dots_reach_their_handlers_unchanged(ground):
    line, seen = counting(ground.line()), []

    @line.projector("counter.:counter.counted")
    async def note(event: Counted, counter: str):
        seen.append(counter)

    async with line:
        for value in ("a.b", "*", ":x", "ä b/%41", "..."):
            await line.send(Count(value))
    assert seen == ["a.b", "*", ":x", "ä b/%41", "..."]


async def test_a_repeated_delivery_shows_whether_a_handler_bears_it(ground):
    line = counting(ground.line())

    @line.projector(Counted, consistency="eventual")
    async def note(event: Counted, tx):
        await tx.execute(f"DELETE FROM note WHERE text = '{event.counter}'")
        await tx.execute(f"INSERT INTO note VALUES ('{event.counter}')")

    async with line:
        line.start_services()
        for counter in ("a", "b"):
            await line.send(Count(counter))
        await drain(line)
        await redeliver(line, note)
    assert await notes(ground) == ["a", "b"]


async def test_a_story_says_what_was_what_is_done_and_what_must_follow(ground):
    line = counting(ground.line())
    async with line:
        story = Story(line)
        await story.given(Counted("a", 5, "piece"), Count("a", 2))
        await story.when(Count("a", 1))
        result = story.then(Counted("a", 1, "piece"))
        assert result.events[0].stream_version == 3
        with pytest.raises(AssertionError, match="expected"):
            story.then()
        with pytest.raises(AssertionError):
            story.refused()


async def test_back_off_takes_no_time_but_the_tests(ground):
    clock, calls = VirtualClock(), []
    line = counting(ground.line(clock=clock))

    @line.step(Count, retry=StepRetry(2, first=3600.0, limit=3600.0))
    async def call(command):
        calls.append(command.counter)
        if len(calls) == 1:
            raise ConnectionError

    async with line:
        sending = asyncio.create_task(line.send(Count("a")))

        async def sleeps():
            return clock.sleeping == 1

        await until(sleeps)
        clock.advance(2 * 3600)
        result = await sending
    assert calls == ["a", "a"]
    steps = [span for span in result.context.spans if span[0] == "step"]
    assert [(span[1], span[4]) for span in steps] == [("call", "ConnectionError: "), ("call", "")]
