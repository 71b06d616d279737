"""What spool-broadcast's own tests asserted of its event loop, in equivalent form."""

from __future__ import annotations

import msgspec
import pytest

from tests.cqrs.following import working
from tests.store.databases import notes
from trunkline.cqrs.changes import Changes, Difference
from trunkline.cqrs.command import Command, Event
from trunkline.cqrs.context import Context


class Thing(msgspec.Struct, frozen=True):
    """Be the state."""

    name: str = ""
    flag: bool = False
    number: int = 0
    array: tuple[int, ...] = ()


class Make(Command, name="make.thing"):
    thing: str
    name: str = ""


class Change(Command, name="change.thing"):
    thing: str
    fields: dict[str, object]


class Destroy(Command, name="destroy.thing"):
    thing: str


class Made(Event, name="thing.:thing.made"):
    thing: str
    name: str
    changes: Difference


class Changed(Event, name="thing.:thing.changed"):
    thing: str
    fields: dict[str, object]
    changes: Difference


class Destroyed(Event, name="thing.:thing.destroyed"):
    thing: str


def things(line, *, domain=None):
    """Declare things on a line, or in a domain of it."""
    home = domain or line
    line.aggregate("thing", id="thing")(Thing)

    @line.evolve
    def evolve(state: Thing | None, event: Made | Changed | Destroyed) -> Thing:
        if isinstance(event, Made):
            return Thing(event.name)
        if isinstance(event, Changed):
            return msgspec.structs.replace(state, **event.fields)
        return Thing()

    @home.command(Make)
    def make(command: Make, thing: Thing | None):
        books = Changes(Thing(command.name))
        books.compare(None)
        yield Made(command.thing, command.name, books.difference())

    @home.command(Change)
    def change(command: Change, thing: Thing | None):
        books = Changes(command.fields)
        books.compare(thing)
        books.approve_updates(*command.fields)
        yield Changed(command.thing, dict(command.fields), books.difference())

    @home.command(Destroy)
    def destroy(command: Destroy, thing: Thing | None):
        yield Destroyed(command.thing)

    return line


async def test_20_events_list_what_changed_whatever_its_type(ground):
    async with things(ground.line()) as line:
        made = await line.send(Make("1", "a"))
        assert "name" in made.events[0].event.changes
        for field, value in (("name", "b"), ("flag", True), ("number", 7), ("array", [1, 2])):
            changed = await line.send(Change("1", {field: value}))
            assert changed.events[0].event.changes.changed == (field,)
        again = await line.send(Change("1", {"name": "b"}))
        assert not again.events[0].event.changes


class Copy(Command, name="copy.thing"):
    thing: str


class Copied(Event, name="copy.:thing.made"):
    thing: str


async def test_21_commands_cross_from_domain_to_domain_and_back(ground):
    """Made in one; copied in a second, whose processor changes, whose processor destroys there."""
    line = ground.line()
    first, second = line.domain("first"), line.domain("second")
    things(line, domain=first)

    @second.command(Copy)
    def copy(command: Copy):
        yield Copied(command.thing)

    @second.processor()
    def rename(event: Copied):
        return Change(event.thing, {"name": "copied"})

    @first.processor()
    def remove(event: Changed):
        return Destroy(event.thing)

    async with line:
        await line.send(Make("1", "a"))
        result = await line.send(Copy("1"))
        names = [row.headers["name"] for row in await line.backlog("/stream/thing/1")]
        assert names == ["thing.1.made", "thing.1.changed", "thing.1.destroyed"]
        (change,) = result.nested
        (destroy,) = change.nested
        assert [change.name, destroy.name] == ["change.thing", "destroy.thing"]
        assert [event.name for event in result.events] == ["copy.1.made", *names[1:]]


async def test_22_a_batch_and_its_processors_answers_are_joined_item_by_item(ground):
    line = things(ground.line())

    @line.processor(merge={"zip": "thing", "as": "things"})
    async def shout(event: Made, ctx: Context):
        if not event.name.isupper():
            await ctx.send(Change(event.thing, {"name": event.name.upper()}))

    @line.projector("thing.:thing.changed", merge={"zip": "thing", "as": "things"})
    def tell(event: Changed):
        return [{"thing": event.thing, "name": event.fields["name"]}]

    async with line:
        result = await line.send_many([Make("1", "a"), Make("2", "b")])
        assert [one.data["things"] for one in result.nested] == [
            [{"thing": "1", "name": "A"}],
            [{"thing": "2", "name": "B"}],
        ]


class Pair(Command, name="pair.:one.with.:one"):
    one: str


async def test_23_a_parameter_may_repeat_in_a_name(ground):
    line = ground.line()
    heard: list[object] = []

    class Paired(Event, name="pair.:one.and.:one"):
        one: str

    @line.command(Pair)
    def pair(command: Pair):
        yield Paired(command.one)

    @line.projector("pair.:who.and.:who")
    def hear(event: Paired, who: tuple[str, str]):
        heard.append(who)

    async with line:
        await line.send(Pair("x.y"))
    assert heard == [("x.y", "x.y")]


@pytest.mark.parametrize("events", [1, 7])
async def test_27_three_eventual_projectors_leave_exactly_three_rows_per_event(ground, events):
    line = things(ground.line())

    def declare(name: str) -> None:
        @line.projector("thing.**", "thing.:thing.made", consistency="eventual", name=name)
        async def write(event: Made, tx):
            mark = "?" if tx.dialect == "sqlite" else "$1"
            await tx.execute(f"INSERT INTO note VALUES ({mark})", f"{name} {event.thing}")

    for name in ("one", "two", "three"):
        declare(name)
    wanted = sorted(f"{name} {n}" for name in ("one", "two", "three") for n in range(events))
    async with working(line):
        for number in range(events):
            await line.send(Make(str(number)))
        for name in ("one", "two", "three"):
            await line.consumers.caught_up(f"main.{name}")
        assert await notes(ground) == wanted
    async with working(line):  # and none more after a restart
        await line.send(Destroy("0"))
        await line.consumers.caught_up("main.one")
        assert await notes(ground) == wanted
