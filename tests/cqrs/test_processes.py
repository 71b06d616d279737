"""Process managers: begun, carried on and ended by events, each once; timers and deadlines."""

from __future__ import annotations

import logging

import msgspec
import pytest

from tests.store.databases import until
from trunkline.cqrs.command import Command, Event
from trunkline.cqrs.saga_errors import StepGoneError
from trunkline.errors import ConfigError
from trunkline.runtime.clock import SystemClock
from trunkline.testing.clock import ManualClock


class Place(Command, name="place.order"):
    order: str


class Placed(Event, name="order.:order.placed"):
    order: str


class Pay(Command, name="pay.order"):
    order: str


class Paid(Event, name="order.:order.paid"):
    order: str


class Ship(Command, name="ship.order"):
    order: str


class Shipped(Event, name="order.:order.shipped"):
    order: str


class Cancel(Command, name="cancel.order"):
    order: str
    why: str


class Cancelled(Event, name="order.:order.cancelled"):
    order: str
    why: str


class Checkout(msgspec.Struct, frozen=True):
    order: str
    paid: int = 0


def shop(line, *, deadline=None, version=1):
    """Declare commands that record what they were sent, and a process manager between them."""
    for kind, event in ((Place, Placed), (Pay, Paid), (Ship, Shipped)):
        line.event(event)

        def decide(command, event=event):
            return [event(command.order)]

        line.command(kind, name=kind.__name__)(decide)
    line.event(Cancelled)
    line.command(Cancel)(cancel)
    checkout = line.process(
        "checkout", Checkout, correlate="order", deadline=deadline, version=version
    )

    @checkout.starts("order.:order.placed")
    def begin(event, move):
        move.timer("payment", 60, {"asked": "once"})
        return Checkout(event.order)

    @checkout.on("order.:order.paid")
    async def paid(event, state, move):
        move.cancel("payment")
        move.send(Ship(event.order))
        return Checkout(state.order, state.paid + 1)

    checkout.ends("order.:order.shipped")(lambda event, state, move: None)

    @checkout.timer("payment")
    def late(state, move):
        assert move.data == {"asked": "once"}
        move.send(Cancel(state.order, "payment"))
        move.end()

    if deadline is not None:

        @checkout.timer("deadline")
        def overdue(state, move):
            move.send(Cancel(state.order, "deadline"))
            move.end()

    return checkout


def cancel(command):
    return [Cancelled(command.order, command.why)]


async def status(line, order, wanted):
    async def is_there():
        found = await line.processes.show("checkout", order)
        return found is not None and found.status == wanted

    await until(is_there)
    return await line.processes.show("checkout", order)


async def names(line, order):
    """Return the names of the order's events, as the log has them."""
    found = []
    page = await line._log.read_all(0, interest=None)
    for record in page.records:
        header = msgspec.json.decode(record.headers or b"{}")
        if f"order.{order}." in header.get("name", ""):
            found.append(header["name"].rpartition(".")[2])
    return found


async def test_events_begin_carry_on_and_end_an_instance(ground):
    line = ground.line()
    shop(line)
    async with line:
        line.start_services()
        await line.send(Place("1"))
        await line.send(Place("2"))
        assert msgspec.json.decode((await status(line, "1", "active")).state)["paid"] == 0
        await line.send(Pay("1"))
        ended = await status(line, "1", "ended")
        assert msgspec.json.decode(ended.state) == {"order": "1", "paid": 1}
        assert [one.correlation for one in await line.processes.list(status="active")] == ["2"]
        assert await names(line, "1") == ["placed", "paid", "shipped"]


async def test_an_event_without_an_instance_and_a_second_beginning_change_nothing(ground):
    line = ground.line()
    shop(line)
    async with line:
        line.start_services()
        await line.send(Pay("0"))
        await line.send(Place("1"))
        first = await status(line, "1", "active")
        await line.send(Place("1"))
        await line.send(Place("2"))
        await status(line, "2", "active")
        assert await line.processes.show("checkout", "1") == first
        assert await line.processes.show("checkout", "0") is None


async def test_a_timer_goes_off_when_it_is_due_and_not_before(ground):
    clock = ManualClock(SystemClock().now())
    line = ground.line(clock=clock)
    shop(line)
    async with line:
        line.start_services()
        await line.send(Place("1"))
        await line.send(Place("2"))
        await status(line, "2", "active")
        clock.advance(59)
        await line.send(Pay("2"))
        await status(line, "2", "ended")
        assert (await line.processes.show("checkout", "1")).status == "active"
        clock.advance(2)
        await status(line, "1", "ended")

        async def is_cancelled():
            return await names(line, "1") == ["placed", "cancelled"]

        await until(is_cancelled)
        clock.advance(1000)
        assert "cancelled" not in await names(line, "2")


async def test_a_deadline_ends_what_takes_too_long(ground):
    clock = ManualClock(SystemClock().now())
    line = ground.line(clock=clock)
    shop(line, deadline=10)
    async with line:
        line.start_services()
        await line.send(Place("1"))
        await status(line, "1", "active")
        clock.advance(11)
        await status(line, "1", "ended")


async def test_an_instance_goes_on_after_a_restart(ground):
    for step in (Place("1"), Pay("1")):
        line = ground.line()
        shop(line)
        async with line:
            line.start_services()
            await line.send(step)
            await status(line, "1", "active" if isinstance(step, Place) else "ended")


async def test_states_of_an_older_version_are_brought_up(ground, caplog):
    line = ground.line()
    shop(line)
    async with line:
        line.start_services()
        await line.send(Place("1"))
        await status(line, "1", "active")
    newer = ground.line()
    checkout = shop(newer, version=2)
    checkout.migrate(1)(lambda fields: {**fields, "paid": 40})
    async with newer:
        newer.start_services()
        await newer.send(Pay("1"))
        ended = await status(newer, "1", "ended")
        assert msgspec.json.decode(ended.state)["paid"] == 41
        assert ended.version == 2
    older = ground.line()
    process = shop(older)
    async with newer:
        newer.start_services()
        await newer.send(Place("2"))
        await status(newer, "2", "active")
    with caplog.at_level(logging.ERROR, "trunkline.cqrs"):
        async with older:
            assert "deploy the newer code" in caplog.text
    with pytest.raises(StepGoneError, match="version 2, and this code knows up to 1"):
        process.state_of(ended)


async def test_a_timer_that_keeps_failing_is_stuck_until_it_is_retried(ground, caplog):
    caplog.set_level(logging.CRITICAL, "trunkline")
    clock = ManualClock(SystemClock().now())
    line = ground.line(clock=clock)
    checkout = shop(line)
    fails = [True]

    def late(state, move):
        if fails:
            raise ConnectionError("away")
        move.end()

    checkout.timers["payment"] = late
    async with line:
        line.start_services()
        await line.send(Place("1"))
        await status(line, "1", "active")

        async def is_stuck():
            clock.advance(500)
            return (await line.processes.show("checkout", "1")).status == "stuck"

        await until(is_stuck)
        assert "ConnectionError: away" in (await line.processes.show("checkout", "1")).error
        fails.clear()
        await line.processes.retry("checkout", "1")
        await status(line, "1", "ended")


async def test_an_abandoned_instance_hears_nothing_more(ground):
    line = ground.line()
    shop(line)
    async with line:
        line.start_services()
        await line.send(Place("1"))
        await status(line, "1", "active")
        await line.processes.abandon("checkout", "1")
        await line.send(Pay("1"))
        await line.send(Place("2"))
        await status(line, "2", "active")
        assert (await line.processes.show("checkout", "1")).status == "abandoned"


async def test_what_cannot_work_is_refused_at_the_start(ground):
    line = ground.line()
    line.process("nothing", Checkout, correlate="order")
    with pytest.raises(ConfigError, match="no @starts"):
        await line.open()
    line = ground.line()
    shop(line, version=2)
    with pytest.raises(ConfigError, match="nobody brings up version 1"):
        await line.open()
    with pytest.raises(ConfigError, match="twice"):
        line.process("checkout", Checkout, correlate="order")
