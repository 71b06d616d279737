"""What fails at each step of a command, in each way, on both databases: nothing is left of it.

What others were told before the transaction is taken back in reverse, once; the caller is told;
nothing eventual follows. After a death the same holds as soon as somebody else looks after it.
"""

from __future__ import annotations

import asyncio
import sys

import pytest

from tests.cqrs.failing_town import EARLY, POINTS, TAKES_TX, Move, town
from tests.cqrs.saga_town import Record
from tests.store.databases import notes, until
from trunkline.cqrs import saga_wing
from trunkline.cqrs.errors import HandlerError, RefusedError
from trunkline.cqrs.saga_runner import Vigil
from trunkline.testing.commands import FaultPoints, drain

DID = [("did", "a"), ("did", "b")]
UNDID = [("undid", "b"), ("undid", "a")]
STRONG = ["move", "note", "note_derived", "note_tidied", "tidy"]
EVENTUAL = ["later Derived", "later Moved", "later Tidied"]


@pytest.fixture
def record(tmp_path):
    return Record(tmp_path / "record")


async def nothing_is_left(ground, line, record, *, handler):
    assert (await line._log.read_all(0, interest=None)).records == () or not [
        one
        for one in (await line._log.read_all(0, interest=None)).records
        if one.channel.name.startswith("/stream/")
    ]
    assert await notes(ground) == []
    assert record.effects() == ([] if handler in EARLY else DID + UNDID)


async def goes_through(ground, line, record):
    """Send the same again: what failed before is in nobody's way."""
    line.start_services()
    await line.send(Move("h"), key="k")
    await drain(line)
    assert await notes(ground) == sorted([*STRONG, *EVENTUAL])
    assert record.effects()[-2:] == DID


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("handler", POINTS)
async def test_whatever_raises_ends_the_command_and_leaves_nothing(ground, record, handler, after):
    async with town(ground.line(), record) as line:
        points = FaultPoints(line)
        points.fail(f"main.{handler}", after=after)
        with pytest.raises(HandlerError, match="a fault at"):
            await line.send(Move("h"), key="k")
        await nothing_is_left(ground, line, record, handler=handler)
        await goes_through(ground, line, record)


@pytest.mark.parametrize("handler", POINTS)
async def test_a_refusal_anywhere_is_told_as_it_is(ground, record, handler):
    async with town(ground.line(), record) as line:
        FaultPoints(line).fail(f"main.{handler}", RefusedError("no", code="mine"))
        with pytest.raises(RefusedError, match="no") as caught:
            await line.send(Move("h"))
        assert caught.value.code == "mine"
        assert caught.value.trace_id
        await nothing_is_left(ground, line, record, handler=handler)


@pytest.mark.parametrize("handler", TAKES_TX)
async def test_an_error_of_the_database_is_no_silent_rollback(ground, record, handler):
    async with town(ground.line(), record, sql_error=handler) as line:
        with pytest.raises(HandlerError, match="no_such_table"):
            await line.send(Move("h"), key="k")
        await nothing_is_left(ground, line, record, handler=handler)


@pytest.mark.parametrize("ground", ["postgres"], indirect=True)
async def test_a_commit_that_fails_takes_everything_back(ground, record):
    line = town(ground.line(), record)

    @line.projector("house.:house.moved")
    async def promise(event, tx):
        await tx.execute("INSERT INTO promise VALUES (7, 8)")

    async with line:
        async with line.transaction() as tx:
            await tx.execute("CREATE TEMP TABLE IF NOT EXISTS ignored (id int)")
            await tx.execute("DROP TABLE IF EXISTS promise")
            await tx.execute(
                "CREATE TABLE promise (id int PRIMARY KEY, other int REFERENCES promise (id) "
                "DEFERRABLE INITIALLY DEFERRED)"
            )
        with pytest.raises(Exception, match="foreign key"):
            await line.send(Move("h"), key="k")
        await nothing_is_left(ground, line, record, handler="note")


async def killed(ground, record, handler, when):
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.cqrs.failing_town"),
        *(ground.url, str(record.path), handler, when),
        stderr=asyncio.subprocess.PIPE,
    )
    _, stderr = await asyncio.wait_for(started.communicate(), 60)
    assert started.returncode == -9, stderr.decode()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(saga_wing, "Vigil", lambda: Vigil(0.3))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("handler", ["early", "late", "move", "note", "follow", "note_tidied"])
async def test_a_death_before_the_commit_leaves_nothing(ground, record, handler, when):
    await killed(ground, record, handler, when)
    async with town(ground.line(), record) as line:
        line.start_services()

        async def is_back():
            return all(one.status == "undone" for one in await line.sagas.list())

        await until(is_back)
        await nothing_is_left(ground, line, record, handler=handler)
        await goes_through(ground, line, record)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_death_after_the_commit_loses_and_doubles_nothing(ground, record, when):
    await killed(ground, record, "later", when)
    async with town(ground.line(), record) as line:
        line.start_services()
        await drain(line)
        again = await line.send(Move("h"), key="k")
        assert again.is_repeat
        assert await notes(ground) == sorted([*STRONG, *EVENTUAL])
    assert record.effects() == DID


async def test_an_eventual_handler_that_fails_changes_nothing_for_the_caller(ground, record):
    async with town(ground.line(), record) as line:
        points = FaultPoints(line)
        points.fail("main.later", times=1)
        line.start_services()
        result = await line.send(Move("h"))
        assert len(result.events) == 2 or result.events

        async def all_there():
            return await notes(ground) == sorted([*STRONG, *EVENTUAL])

        await until(all_there)
    assert record.effects() == DID
