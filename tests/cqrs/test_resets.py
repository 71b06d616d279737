"""A line that is erased: what commands left beside it goes along, and decides nothing any more."""

from __future__ import annotations

import msgspec
import pytest

from tests.cqrs.following import Create, Created, with_tests, working
from tests.cqrs.test_history import Enrol, school
from tests.cqrs.test_processes import Place, shop, status
from tests.cqrs.test_projections import titles_of, with_titles
from tests.store.databases import until
from trunkline.cqrs.command import Command, Event
from trunkline.errors import UsageError
from trunkline.runtime.clock import SystemClock
from trunkline.sql.opening import place_of
from trunkline.testing.clock import ManualClock


class Sign(Command, name="sign"):
    book: str
    who: str
    times: int = 1


class Signed(Event, name="signed"):
    who: str


class Book(msgspec.Struct, frozen=True):
    names: tuple[str, ...] = ()


def with_books(line, seen, *, snapshot_every):
    """Declare books that remember who signed them; *seen* has what each command was decided on."""
    line.aggregate(id="book", snapshot_every=snapshot_every)(Book)

    @line.evolve
    def signed(book: Book | None, event: Signed) -> Book:
        return Book((*(book.names if book else ()), event.who))

    @line.command(Sign)
    def sign(command, book: Book | None):
        seen.append(book)
        for _ in range(command.times):
            yield Signed(command.who)

    return line


@pytest.mark.parametrize("times", [2, 3, 5])
async def test_a_snapshot_of_another_epoch_decides_nothing(ground, times):
    """However long the stream of the same name has become by then."""
    seen = []
    async with with_books(ground.line(), seen, snapshot_every=3) as line:
        await line.send(Sign("a", "old", times=3))
        await line._premises.log.reset()  # the line alone: the snapshot stays
    async with with_books(ground.line(), seen, snapshot_every=None) as line:
        await line.send(Sign("a", "new", times=times))
    async with with_books(ground.line(), seen, snapshot_every=3) as line:
        await line.send(Sign("a", "me"))
        assert seen[-1] == Book(("new",) * times)


async def test_a_first_command_s_snapshot_is_of_its_epoch(ground):
    """Though nothing was there to tell the epoch from, its events are not read again."""
    seen, folded = [], []
    async with with_books(ground.line(), seen, snapshot_every=3) as line:
        await line.send(Sign("b", "known"))
        await line.send(Sign("a", "me", times=4))
    line = ground.line()
    line.aggregate(id="book", snapshot_every=3)(Book)

    @line.evolve
    def signed(book: Book | None, event: Signed) -> Book:
        folded.append(event)
        return Book((*(book.names if book else ()), event.who))

    @line.command(Sign)
    def sign(command, book: Book | None):
        seen.append(book)

    async with line:
        await line.send(Sign("a", "you"))
    assert (seen[-1], folded) == (Book(("me",) * 4), [])


async def test_a_key_is_free_again(ground):
    """What it came to is gone, and other events are in its places."""
    async with with_tests(ground.line()) as line:
        await line.send(Create("1", "old"), key="k")
        await line.reset()
        await line.send(Create("1", "new"))
        result = await line.send(Create("1", "mine"), key="k")
        assert not result.is_repeat
        assert [(one.stream_version, one.event.title) for one in result.events] == [(2, "mine")]


async def test_tags_of_erased_events_find_nothing(ground):
    """Else the next events that have their ids would count, and newer ones would not."""
    async with school(ground) as line:
        for number in range(5):
            await line.send(Enrol(f"s{number}", "maths"))
        await line.reset()
        for number in range(5):
            await line.send(Enrol(f"s{number}", "art"))
        await line.send(Enrol("s0", "maths"))


async def test_what_waits_for_erased_events_waits_no_more(ground, caplog):
    """An instance is abandoned with its timers; its consumer stops at the gap, and says so."""
    clock = ManualClock(SystemClock().now())
    line = ground.line(clock=clock)
    shop(line)
    async with line:
        line.start_services()
        await line.send(Place("1"))
        await status(line, "1", "active")
        await line.reset()
        gone = await status(line, "1", "abandoned")
        assert gone.error == "the line was reset"
        name = "main.process-checkout"

        async def is_stopped():
            clock.advance(1)
            return (await line.consumers.show(name)).status == "stopped"

        await line.send(Place("1"))
        await until(is_stopped)
        await line.consumers.seek(name, "oldest")
        await status(line, "1", "active")
        assert (await line.processes.show("checkout", "1")).begun_at > gone.begun_at


@pytest.mark.parametrize("consistency", ["strong", "eventual"])
async def test_projections_are_built_anew_by_the_next_worker(ground, consistency):
    """From what the new epoch has."""
    line = with_tests(ground.line())
    with_titles(line, ground, consistency=consistency)
    async with working(line):
        await line.send(Create("1", "old"))
        await line.send(Create("2", "old"))
        if consistency == "eventual":
            await line.consumers.caught_up("main.titles")
        await line.reset()
        [state] = await line.projections.list()
        assert not state.is_whole
        await line.send(Create("2", "new"))
    async with working(line):

        async def is_whole():
            return (await line.projections.list())[0].is_whole

        await until(is_whole)
        assert await titles_of(ground) == {"2": "new"}
    if ground.dialect == "postgres":
        database = await place_of(ground.bare).open()
        async with database.transaction() as tx:
            await tx.execute("DROP TABLE IF EXISTS title")
        await database.close()


async def test_the_tree_of_events_begins_anew(ground):
    """An erased event is not mistaken for the one that has its place."""
    line = with_tests(ground.line())
    line.projector(Created, name="anyone")(lambda event: None)
    async with working(line):
        old = (await line.send(Create("1"))).events[0]
        assert await line.traces.handlers(old.id)
        await line.consumers.caught_up("trunkline.causes")
        await line.reset()
        await line.send(Create("1"))
        with pytest.raises(UsageError):
            await line.traces.handlers(old.id)
