"""Projections: versions, building beside the live one, and changing places without a gap."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cqrs.following import (
    Create,
    Created,
    Rename,
    Renamed,
    with_tests,
    working,
)
from tests.cqrs.titles import TABLE, upsert, with_shouts, with_titles
from tests.store.databases import until
from trunkline.cqrs import projection_build, projections
from trunkline.cqrs.errors import ProjectionError, ProjectionVersionError
from trunkline.errors import ConfigError, UsageError
from trunkline.sql.opening import place_of


@pytest.fixture
async def clean(ground):
    """Drop what tests make beside the line's own tables."""
    yield ground
    if ground.dialect == "postgres":
        await asked(ground, "DROP TABLE IF EXISTS title")


async def asked(ground: Any, statement: str) -> list[tuple]:
    database = await place_of(ground.bare).open()
    try:
        async with database.transaction() as tx:
            return [tuple(row) for row in await tx.fetch(statement)]
    finally:
        await database.close()


async def titles_of(ground: Any) -> dict[str, str]:
    return dict(await asked(ground, "SELECT test_id, title FROM title"))


EITHER = pytest.mark.parametrize("consistency", ["strong", "eventual"])


async def filled(line: Any, count: int = 20) -> dict[str, str]:
    """Send commands, and return what the titles must be."""
    for number in range(count):
        await line.send(Create(str(number), "a"))
    for number in range(0, count, 2):
        await line.send(Rename(str(number), "b"))
        await line.publish("/plain", "no event")
    return {str(n): "ab"[n % 2 == 0] for n in range(count)}


@EITHER
async def test_its_tables_are_made_and_kept(clean, consistency):
    """From the first opening on, under the name that readers use."""
    line = with_tests(clean.line())
    with_titles(line, clean, consistency=consistency)
    async with working(line):
        wanted = await filled(line)
        if consistency == "eventual":
            await line.consumers.caught_up("main.titles")

    assert await titles_of(clean) == wanted


@EITHER
async def test_a_rebuild_equals_what_was_built_as_it_happened(clean, consistency):
    """Whatever somebody did to the live table, building it anew makes it right."""
    line = with_tests(clean.line())
    titles = with_titles(line, clean, consistency=consistency)
    told = []
    async with working(line):
        wanted = await filled(line)
        if consistency == "eventual":
            await line.consumers.caught_up("main.titles")
        await asked(clean, "DELETE FROM title WHERE test_id < '5' RETURNING 1")
        done = await line.commands.followers.projections.rebuild(titles, tell=told.append)
        assert await titles_of(clean) == wanted
        await line.send(Create("new", "c"))
        if consistency == "eventual":
            await line.consumers.caught_up("main.titles")

    assert await titles_of(clean) == {**wanted, "new": "c"}
    assert (done.is_live, done.events, done.share) == (True, 30, 1.0)
    assert [one.position for one in told] == sorted(one.position for one in told)


@EITHER
async def test_writers_and_readers_go_on_while_it_is_rebuilt(clean, consistency):
    """Whatever is sent meanwhile is in it, once."""
    line = with_tests(clean.line())
    titles = with_titles(line, clean, consistency=consistency)
    async with working(line):
        wanted = await filled(line)
        done = asyncio.Event()

        async def write() -> None:
            number = 0
            while not done.is_set() or number < 5:
                wanted[f"w{number}"] = "w"
                await line.send(Create(f"w{number}", "w"))
                assert await titles_of(clean)
                number += 1

        async with asyncio.TaskGroup() as group:
            group.create_task(write())
            for _ in range(3):
                await line.commands.followers.projections.rebuild(titles)
            done.set()
        if consistency == "eventual":
            await line.consumers.caught_up("main.titles")

    assert await titles_of(clean) == wanted


async def test_a_new_version_is_built_beside_the_old_and_takes_its_place(clean):
    """The old code serves until then, and stops afterwards."""
    old = with_tests(clean.line())
    with_titles(old, clean, consistency="eventual")
    new = with_tests(clean.line())
    with_shouts(new, clean, consistency="eventual")
    async with working(old):
        wanted = await filled(old)
        await old.consumers.caught_up("main.titles")
        async with new:
            (state,) = await new.commands.followers.projections.list()
            assert (state.version, state.code_version) == (1, 2)
            new.start_services()

            async def is_live() -> bool:
                return (await new.commands.followers.projections.list())[0].version == 2

            await until(is_live)
            await old.send(Create("late", "x"))
            await new.consumers.caught_up("main.titles.v2")
            assert (await old.consumers.show("main.titles")).status == "stopped"

    rows = await asked(clean, "SELECT test_id, title, loud FROM title")
    wanted["late"] = "x"
    assert {(a, b) for a, b, _ in rows} == set(wanted.items())
    assert all(loud == title.upper() for _, title, loud in rows)


async def test_a_projection_ahead_of_its_code_is_refused(clean):
    """Old code would write to tables it doesn't know."""
    new = with_tests(clean.line())
    with_shouts(new, clean, consistency="eventual")
    async with new:
        pass
    old = with_tests(clean.line())
    with_titles(old, clean, consistency="eventual")

    with pytest.raises(ProjectionVersionError, match="at version 2 and this code at 1"):
        await old.open()


async def test_a_strong_projection_behind_its_code_is_built_before_commands_run(clean):
    """The refusal names the way out, which the operator's command goes."""
    old = with_tests(clean.line())
    with_titles(old, clean)
    async with old:
        wanted = await filled(old)
    new = with_tests(clean.line())
    with_shouts(new, clean)
    with pytest.raises(ProjectionVersionError, match=r"trunkline projections rebuild main\.titles"):
        await new.open()
    new.commands.followers.projections.may_be_behind = True
    async with new:
        await new.commands.followers.projections.rebuild("titles")
    again = with_tests(clean.line())
    with_shouts(again, clean)
    async with again:
        await again.send(Create("late", "x"))

    assert await titles_of(clean) == {**wanted, "late": "x"}


async def test_a_new_strong_projection_learns_what_is_older(clean):
    """A worker builds it from the log."""
    line = with_tests(clean.line())
    async with line:
        wanted = await filled(line)
    later = with_tests(clean.line())
    with_titles(later, clean)
    async with working(later):

        async def is_whole() -> bool:
            return (await later.commands.followers.projections.list())[0].is_whole

        await until(is_whole)

    assert await titles_of(clean) == wanted


async def test_a_build_that_others_wait_for_is_told(clean, monkeypatch, caplog):
    """By who opens the line, and by the worker: how far it is, and what builds it beforehand."""
    monkeypatch.setattr(projections, "TELL_EVERY", 0.0)
    monkeypatch.setattr(projection_build, "PAGE", 10)
    line = with_tests(clean.line())
    async with line:
        await filled(line)
    later = with_tests(clean.line())
    with_titles(later, clean)
    with caplog.at_level("WARNING", "trunkline.cqrs.projections"):
        async with later:
            assert "'trunkline projections rebuild main.titles'" in caplog.text
            caplog.clear()
            later.start_services()

            async def is_whole() -> bool:
                return (await later.projections.list())[0].is_whole

            await until(is_whole)
            await until(lambda: _is_in(caplog, "main.titles is live: 30 events"))
    told = [one.getMessage() for one in caplog.records if "being built" in one.getMessage()]
    assert len(told) >= 3
    shares = [int(text.partition(" %")[0].rpartition(" ")[2]) for text in told]
    assert shares == sorted(shares)
    assert shares[0] < 100
    assert "'trunkline projections rebuild main.titles'" in told[0]


async def _is_in(caplog: Any, text: str) -> bool:
    return text in caplog.text


@EITHER
async def test_a_build_that_fails_leaves_the_live_one_alone(clean, consistency):
    """The error names the event; the next try begins anew."""
    line = with_tests(clean.line())
    poison = []

    @line.projector(consistency=consistency, tables={"title": TABLE})
    async def titles(event: Created, tx):
        if event.test_id in poison:
            raise ValueError("poison")
        await tx.execute(upsert(clean), event.test_id, event.title)

    projections = line.commands.followers.projections
    async with working(line):
        for one in ("1", "2"):
            await line.send(Create(one, "a"))
        if consistency == "eventual":
            await line.consumers.caught_up("main.titles")
        poison.append("2")
        with pytest.raises(ProjectionError, match=r"event 1 of /stream/test/2.*poison"):
            await projections.rebuild(titles)
        (state,) = await projections.list()
        assert "poison" in state.error
        assert await titles_of(clean) == {"1": "a", "2": "a"}
        poison.clear()
        await projections.rebuild(titles)
        assert (await projections.list())[0].building is None

    assert await titles_of(clean) == {"1": "a", "2": "a"}


async def test_a_build_goes_on_where_it_was_left(clean, monkeypatch):
    """What was taken is not taken again."""
    from trunkline.cqrs import projection_build

    monkeypatch.setattr(projection_build, "PAGE", 10)
    line = with_tests(clean.line())
    seen = []

    @line.projector(consistency="eventual", tables={"title": TABLE})
    async def titles(event: Created, tx):
        seen.append(event.test_id)
        await tx.execute(upsert(clean), event.test_id, event.title)

    projections = line.commands.followers.projections

    class StopError(Exception): ...

    def stop(progress) -> None:
        if progress.events >= 20:
            raise StopError

    async with line:
        for number in range(40):
            await line.send(Create(f"{number:02}", "a"))
        with pytest.raises(StopError):
            await projections.rebuild(titles, tell=stop)
        (state,) = await projections.list()
        assert (state.building, state.built) == (1, 0.5)
        done = await projections.rebuild(titles)

    assert done.events == 40
    assert seen == [f"{number:02}" for number in range(40)]


async def test_what_an_eventual_one_had_set_aside_is_in_a_rebuild(clean):
    """After the mended code has built it, nothing waits any more."""
    line = with_tests(clean.line())
    broken = [True]

    @line.projector(consistency="eventual", tables={"title": TABLE}, retry=1)
    async def titles(event: Created, tx):
        if broken:
            raise ValueError("not yet")
        await tx.execute(upsert(clean), event.test_id, event.title)

    async with working(line):
        await line.send(Create("1", "a"))
        await line.consumers.caught_up("main.titles")

        async def is_parked() -> bool:
            return bool(await line.consumers.parked("main.titles"))

        await until(is_parked)
        broken.clear()
        await line.commands.followers.projections.rebuild(titles)
        assert not await line.consumers.parked("main.titles")
        await line.send(Create("2", "a"))
        await line.consumers.caught_up("main.titles")

    assert await titles_of(clean) == {"1": "a", "2": "a"}


async def test_tables_say_their_names(clean):
    """A statement that fixes the name could not make another table."""
    line = clean.line()
    for tables in ({"title": "CREATE TABLE title (x text)"}, {"Title": "CREATE TABLE {Title} ()"}):
        with pytest.raises(ConfigError):
            line.projector("test.**", tables=tables)(lambda event: None)


async def test_only_projections_are_rebuilt(clean):
    """The error names those that can be."""
    line = with_tests(clean.line())
    with_titles(line, clean)
    async with line:
        with pytest.raises(UsageError, match=r"main\.titles"):
            await line.commands.followers.projections.rebuild("nothing")


ACTIONS = st.lists(
    st.tuples(st.booleans(), st.sampled_from("abc"), st.text("xyz", max_size=2)), max_size=12
)


@given(ACTIONS, st.booleans())
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_history_rebuilds_to_what_it_was(tmp_path_factory, actions, is_batch):
    """The table after a rebuild is the table that grew with the events."""
    from tests.store.databases import Ground

    path = tmp_path_factory.mktemp("history") / "line.db"
    ground = Ground("sqlite", f"sqlite:///{path}", f"sqlite:///{path}", "?")
    line = with_tests(ground.line())
    statement = "INSERT INTO {seen} (version, title) VALUES (?, ?)"
    tables = {"seen": "CREATE TABLE {seen} (n integer PRIMARY KEY, version int, title text)"}

    @line.projector(consistency="eventual" if is_batch else "strong", tables=tables, name="seen")
    async def one_by_one(event: Created | Renamed, tx, recorded):
        await tx.write(statement, recorded.stream_version, event.title)

    async with working(line):
        for is_new, test_id, title in actions:
            await line.send(Create(test_id, title) if is_new else Rename(test_id, title))
        if is_batch:
            await line.consumers.caught_up("main.seen")
        grown = await asked(ground, "SELECT * FROM seen ORDER BY n")
        await line.commands.followers.projections.rebuild("seen")
        rebuilt = await asked(ground, "SELECT * FROM seen ORDER BY n")

    assert rebuilt == grown
    assert len(grown) == len(actions)
