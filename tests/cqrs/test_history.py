"""Stored events stay readable, states are remembered and snapshotted, boundaries hold."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from tests.cqrs.shop import Cart, ItemAdded, OpenCart, Shop
from trunkline.cqrs.command import Command, Event
from trunkline.cqrs.errors import Refused, RefusedError, UndecodableEventError
from trunkline.cqrs.query import Query
from trunkline.errors import ConfigError, UsageError


async def test_old_versions_are_brought_up(ground):
    class OldOpened(Event, name="box.:box_id.opened", version=1):
        box_id: str

    class Open(Command, name="open.box"):
        box_id: str

    class Box(msgspec.Struct, frozen=True):
        colour: str = ""

    class Opened(Event, name="box.:box_id.opened", version=3):
        box_id: str
        colour: str
        size: int

    @Opened.upcast(1)
    def coloured(fields):
        return {**fields, "colour": "red"}

    @Opened.upcast(2)
    def sized(fields):
        return {**fields, "size": 1}

    old = ground.line()
    old.aggregate("box", id="box_id")(Box)

    @old.command(Open, aggregate=Box)
    def open_old(command) -> OldOpened:
        return OldOpened(command.box_id)

    async with old:
        await old.send(Open("a"))

    new = ground.line()
    new.aggregate("box", id="box_id")(Box)
    states = []

    @new.evolve
    def opened(box: Box | None, event: Opened) -> Box:
        return Box(event.colour)

    @new.command(Open)
    def open_new(command, box: Box | None):
        states.append(box)

    async with new:
        await new.send(Open("a"))
        assert states == [Box("red")]


async def test_an_event_that_no_longer_decodes_is_told_by_its_place(ground):
    class Wider(Event, name="cart.:cart_id.opened"):
        cart_id: str
        owner: int

    shop = Shop(ground)
    async with shop as line:
        await line.send(OpenCart("a", "x"))

    class Look(Command, name="look"):
        cart_id: str

    line = ground.line()
    line.aggregate(id="cart_id")(Cart)

    @line.evolve
    def opened(cart: Cart | None, event: Wider) -> Cart:
        return Cart("")

    @line.command(Look)
    def look(command, cart: Cart | None): ...

    async with line:
        with pytest.raises(UndecodableEventError, match="event 1 of /stream/cart/a"):
            await line.send(Look("a"))


def test_a_missing_upcaster_is_refused_at_start(sqlite_ground):
    class Gap(Event, name="gap", version=3):
        pass

    @Gap.upcast(1)
    def one(fields):
        return fields

    line = sqlite_ground.line()
    line.event(Gap)
    with pytest.raises(ConfigError, match=r"Gap\.upcast\(2\)"):
        _ = line.commands.plan


async def test_snapshots_spare_the_events_before_them(ground):
    class Count(msgspec.Struct, frozen=True):
        value: int = 0

    class Up(Command, name="up"):
        count_id: str

    class Counted(Event, name="counted"):
        pass

    folded = []

    def line_of(version):
        line = ground.line()
        line.aggregate(id="count_id", snapshot_every=10, snapshot_version=version)(Count)

        @line.evolve
        def counted(count: Count | None, event: Counted) -> Count:
            folded.append(event)
            return Count((count.value if count else 0) + 1)

        @line.command(Up)
        def up(command, count: Count | None):
            yield Counted()

        return line

    async with line_of(1) as line:
        for _ in range(25):
            await line.send(Up("a"))
    folded.clear()
    async with line_of(1) as line:  # remembers nothing
        await line.send(Up("a"))
        assert 5 <= len(folded) <= 8
        version = (await line.send(Up("a"))).events[0].stream_version
        assert version == 27
    folded.clear()
    async with line_of(2) as line:  # another type of state: its snapshots are left
        await line.send(Up("a"))
        assert len(folded) >= 27


# -- dynamic boundaries ---------------------------------------------------------------------------


class Enrol(Command, name="enrol"):
    student: str
    course: str


class Enrolled(Event, name="enrolled", tags=("student:{student}", "course:{course}")):
    student: str
    course: str


class Seats(msgspec.Struct, frozen=True):
    taken: int = 0
    mine: int = 0


def school(ground):
    line = ground.line()

    @line.evolve
    def enrolled(seats: Seats | None, event: Enrolled) -> Seats:
        return Seats((seats.taken if seats else 0) + 1)

    def boundary(command: Enrol) -> Query:
        return Query(f"course:{command.course}", types=[Enrolled]) | Query(
            f"student:{command.student}", f"course:{command.course}"
        )

    @line.command(Enrol, boundary=boundary)
    def enrol(command, seats: Seats | None):
        if seats is not None and seats.taken >= 5:
            raise Refused("full")
        yield Enrolled(command.student, command.course)

    return line


async def test_a_boundary_holds_over_streams(ground):
    async with school(ground) as line, school(ground) as other:
        sent = await asyncio.gather(
            *(
                (line, other)[n % 2].send(Enrol(f"s{n}", "maths" if n < 12 else "art"))
                for n in range(15)
            ),
            return_exceptions=True,
        )
        refused = [one for one in sent if isinstance(one, Exception)]
        assert [type(one) for one in refused] == [RefusedError] * 7
        assert sum(not isinstance(one, Exception) for one in sent[12:]) == 3


async def test_tags_find_the_events_that_have_all_of_them(ground):
    async with school(ground) as line:
        await line.send(Enrol("a", "x"))
        await line.send(Enrol("a", "y"))
        async with line.transaction() as tx:
            scope = line.commands.scope_of(tx)
            state = await scope.find(
                Query("student:a", "course:y"), line.commands.plan.command(Enrol).view, None
            )
        assert state == Seats(1)


def test_a_query_without_tags_is_refused():
    with pytest.raises(UsageError, match="tag"):
        Query()


# -- what is refused at start ---------------------------------------------------------------------


@pytest.fixture
def line(sqlite_ground):
    return Shop(sqlite_ground).line


def refused(line, words):
    from trunkline.cqrs.checking import check

    with pytest.raises(ConfigError, match=words):
        check(line.commands.plan)


def test_a_handler_that_hears_nothing_is_refused(line):
    line.projector("cart.:id.close")(lambda event: None)
    refused(line, "no event has such a name")


def test_a_hook_that_meets_no_command_is_refused(line):
    line.before("no.such")(lambda command: None)
    refused(line, "no command has such a name")


def test_a_handler_of_another_type_is_refused(line):
    @line.projector("cart.:cart_id.opened")
    def wrong(event: ItemAdded): ...

    refused(line, "never of the type")


def test_a_hook_that_wants_a_transaction_is_refused(line):
    @line.before("**")
    def wrong(command, tx): ...

    refused(line, "hooks run before")


def test_settings_for_a_handler_that_is_not_there_are_refused(line):
    line.commands.settings = {"main.nobody": {"priority": 1}}
    refused(line, "main.nobody")


def test_two_handlers_of_one_name_are_refused(line):
    def twice(event: ItemAdded): ...

    line.projector()(twice)
    with pytest.raises(ConfigError, match="two handlers"):
        line.projector()(twice)


def test_two_types_of_one_name_are_refused(line):
    class Same(Event, name="cart.:cart_id.opened"):
        cart_id: str

    line.event(Same)
    refused(line, "are both stored as")


def test_two_deciders_of_a_command_are_refused(line):
    with pytest.raises(ConfigError, match="already"):
        line.command(OpenCart)(lambda command: None)


def test_a_state_that_is_no_aggregate_is_refused(line):
    class Stray(Command, name="stray"):
        pass

    class Unknown(msgspec.Struct): ...

    @line.command(Stray)
    def stray(command, state: Unknown): ...

    refused(line, "is no aggregate")


def test_strong_handlers_that_lead_round_are_refused(line):
    class Again(Command, name="again"):
        pass

    class Begun(Event, name="begun"):
        pass

    @line.command(Again)
    def again(command) -> Begun:
        return Begun()

    @line.processor(Begun)
    def restart(event) -> Again:
        return Again()

    refused(line, "lead from 'begun' back to itself")


def test_a_name_that_takes_a_missing_field_is_refused(line):
    class Bad(Event, name="bad.:nothing"):
        pass

    def plan():
        line.event(Bad)
        return line.commands.plan

    with pytest.raises(ConfigError, match="nothing"):
        plan()
