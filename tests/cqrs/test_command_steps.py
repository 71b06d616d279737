"""Steps of commands: run in order, and taken back in reverse, once, after any later failure."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests.cqrs.saga_town import NAMES, Move, Record, town
from tests.store.databases import notes, until
from trunkline.cqrs.command import Command, Event
from trunkline.cqrs.errors import HandlerError, InvalidCommandError, RefusedError
from trunkline.cqrs.saga_errors import SagaBusyError, StepTimeoutError
from trunkline.cqrs.step import StepCall, StepRetry
from trunkline.errors import ConfigError

DID = [("did", name) for name in NAMES]
UNDID = [("undid", name) for name in reversed(NAMES)]


@pytest.fixture
def record(tmp_path):
    return Record(tmp_path / "record")


async def status(line, key="k"):
    [one] = [one for one in await line.sagas.list() if one.key == key]
    return one


async def test_steps_run_in_order_and_end_with_the_commit(ground, record):
    async with town(ground.line(), record) as line:
        await line.send(Move("h"), key="k")
        assert record.effects() == DID
        saga = await status(line)
        assert saga.status == "done"
        assert [(one.name, one.status) for one in saga.steps] == [(n, "done") for n in NAMES]
        assert saga.steps[0].output == {"by": "a"}
    assert await notes(ground) == ["h"]


@pytest.mark.parametrize(
    ("wish", "error", "did"),
    [
        ("before", RefusedError, 0),
        ("after", HandlerError, 3),
        ("decide", RefusedError, 3),
        ("refuse b", RefusedError, 1),
        ("fail b", HandlerError, 2),
        ("fail c", HandlerError, 3),
    ],
)
async def test_any_failure_takes_back_what_was_done_in_reverse(ground, record, wish, error, did):
    async with town(ground.line(), record) as line:
        with pytest.raises(error):
            await line.send(Move("h", wish), key="k")
        # What was cut off may have happened, and is taken back too.
        assert record.effects() == DID[:did] + UNDID[3 - did :]
        if did:
            assert (await status(line)).status == "undone"
        else:
            assert await line.sagas.list() == []
    assert await notes(ground) == []


@pytest.mark.parametrize("point", ["project", "sql"])
async def test_a_failing_projector_takes_the_steps_back(ground, record, point):
    async with town(ground.line(), record, point=point) as line:
        with pytest.raises(HandlerError):
            await line.send(Move("h"), key="k")
        assert record.effects() == DID + UNDID
    assert await notes(ground) == []


async def test_a_command_may_be_sent_again_once_it_is_taken_back(ground, record):
    async with town(ground.line(), record) as line:
        with pytest.raises(RefusedError):
            await line.send(Move("h", "decide"), key="k")
        await line.send(Move("h"), key="k")
        assert record.effects() == DID + UNDID + DID
        assert [one.status for one in await line.sagas.list()] == ["done", "undone"]


@pytest.fixture
def line(ground):
    return ground.line()


class Order(Command, name="place.order"):
    order: str
    price: int = 0


class Placed(Event, name="order.placed"):
    order: str
    price: int


def deciding(line, seen=None):
    line.event(Placed)

    @line.command(Order)
    async def place(command, ctx):
        if seen is not None:
            seen.append(dict(ctx.outputs))
        yield Placed(command.order, command.price)


async def test_a_step_may_change_the_command_and_tell_the_deciding_function(line):
    seen = []

    @line.step(Order)
    async def ask_price(command):
        return Order(command.order, price=7)

    @line.step(Order)
    def reserve(command, step: StepCall):
        assert command.price == 7
        assert step.outputs == {}
        return ["shelf", 3]

    deciding(line, seen)
    async with line:
        result = await line.send(Order("o"))
    assert seen == [{"reserve": ["shelf", 3]}]
    assert result.events[0].event.price == 7


async def test_what_a_step_makes_of_a_command_is_checked(line):
    taken_back = []

    @line.undo("forget")
    async def forget(command):
        taken_back.append(command.order)

    @line.step(Order, undo="forget")
    async def spoil(command):
        return Order(command.order, price="much")

    deciding(line)
    async with line:
        with pytest.raises(InvalidCommandError):
            await line.send(Order("o"))
    assert taken_back == ["o"]


async def test_a_step_is_tried_again_as_its_policy_says_under_one_key(line):
    calls = []

    @line.step(Order, retry=StepRetry(3, first=0.001, limit=0.001, on=(OSError,)))
    async def call(command, step):
        calls.append((step.key, step.attempt))
        if command.order == "other" or len(calls) < 3:
            raise ConnectionError("no") if command.order == "o" else ValueError("bad")

    deciding(line)
    async with line:
        await line.send(Order("o"))
        assert [attempt for _, attempt in calls] == [1, 2, 3]
        assert len({key for key, _ in calls}) == 1
        calls.clear()
        with pytest.raises(HandlerError, match="ValueError"):
            await line.send(Order("other"))
    assert len(calls) == 1


async def test_a_step_that_takes_too_long_ends_the_command_and_may_have_happened(line):
    told = []

    async def cancel(command, step):
        told.append(step.is_certain)

    @line.step(Order, undo=cancel, timeout=0.01)
    async def slow(command):
        await asyncio.sleep(60)

    deciding(line)
    async with line:
        with pytest.raises(StepTimeoutError, match="slow"):
            await line.send(Order("o"))
    assert told == [False]


async def test_an_undo_gets_the_data_that_was_on_record_before_the_step(line):
    told = []

    @line.undo("cancel")
    async def cancel(data, step):
        told.append((data, step.output, step.is_certain))

    @line.step(Order, undo="cancel", undo_data=lambda command: {"order": command.order})
    async def book(command):
        return {"number": 5}

    @line.after("place.order")
    async def refuse(command):
        raise RefusedError("no")

    deciding(line)
    async with line:
        with pytest.raises(RefusedError):
            await line.send(Order("o"))
    assert told == [({"order": "o"}, {"number": 5}, True)]


async def test_a_step_that_is_not_wanted_leaves_nothing(line):
    @line.step(Order, when=lambda command: command.price > 0)
    async def charge(command):
        raise AssertionError

    deciding(line)
    async with line:
        await line.send(Order("o"))
        assert await line.sagas.list() == []


async def test_cancelling_the_sender_takes_the_steps_back_in_the_background(ground, record):
    async with town(ground.line(), record) as line:
        waiting = asyncio.Event()

        @line.step(Move, name="d", undo="una", priority=200)
        async def hang(command):
            waiting.set()
            await asyncio.sleep(60)

        sending = asyncio.create_task(line.send(Move("h"), key="k"))
        await asyncio.wait_for(waiting.wait(), 10)
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending

        async def is_back():
            return (await status(line)).status == "undone"

        await until(is_back)
        assert record.effects()[3:] == [("undid", "a"), *UNDID]


async def test_one_key_runs_its_steps_once_at_a_time(ground, record):
    async with town(ground.line(), record) as line:
        waiting, go = asyncio.Event(), asyncio.Event()

        @line.step(Move, name="d", priority=200)
        async def hang(command):
            waiting.set()
            await go.wait()

        first = asyncio.create_task(line.send(Move("h"), key="k"))
        await asyncio.wait_for(waiting.wait(), 10)
        with pytest.raises(SagaBusyError, match="running"):
            await line.send(Move("h"), key="k")
        go.set()
        await first
        assert record.effects() == DID


# -- declarations that make no sense ----------------------------------------------------------


async def test_a_step_whose_undo_is_missing_is_refused_at_the_start(line):
    line.step(Order, undo="missing")(lambda command: None)
    deciding(line)
    with pytest.raises(ConfigError, match="no undo 'missing'"):
        await line.open()


async def test_a_step_of_no_command_is_refused_at_the_start(line):
    @line.step("place.ordre")
    async def call(command):
        """Call."""

    deciding(line)
    with pytest.raises(ConfigError, match=r"no command matches 'place\.ordre'"):
        await line.open()


def test_declarations_that_make_no_sense_are_refused():
    from trunkline import Trunkline

    line = Trunkline("sqlite:///never.db")

    async def wants(command, database):
        """Call."""

    async def call(command):
        """Call."""

    for options, why in (
        ({"retry": 0}, "makes no sense"),
        ({"timeout": 0}, "timeout"),
        ({"undo": lambda command: None}, "needs a name"),
        ({"undo_data": str}, "no undo"),
        ({"name": "a:b"}, "':'"),
    ):
        with pytest.raises(ConfigError, match=why):
            line.step(Order, **options)(call)
    with pytest.raises(ConfigError, match="wants 'database'"):
        line.step(Order)(wants)
    line.undo("one")(call)
    with pytest.raises(ConfigError, match="two undos"):
        line.undo("one")(wants_nothing)
    line.step(Order)(call)
    with pytest.raises(ConfigError, match="two steps"):
        line.step(Order)(call)


async def wants_nothing(command):
    """Undo."""
