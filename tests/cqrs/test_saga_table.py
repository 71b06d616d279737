"""Sagas on record: fenced by their epoch, one at a time for a key, kept for a while."""

from __future__ import annotations

import contextlib

import msgspec
import pytest

from trunkline.cqrs import saga_decisions as decisions
from trunkline.errors import LeaseLostError
from trunkline.store.saga_record import SagaKind, SagaRecord, SagaStatus
from trunkline.store.saga_table import SagaTable


@contextlib.asynccontextmanager
async def tables(ground):
    async with ground.line() as line:
        yield SagaTable(line._store.database)


def saga(ident="s1", key="k", **fields):
    values = {"name": "create.user", "body": '{"a":1}', "owner": "me"} | fields
    return SagaRecord(
        id=ident, kind=SagaKind.COMMAND, key=key, begun_at=1.0, moved_at=1.0, **values
    )


async def begin(table, record):
    async with table.database.transaction() as tx:
        return await table.begin(tx, record)


async def move(table, old, change):
    async with table.database.transaction() as tx:
        await table.move(tx, old, change.saga, change.steps)
    return change.saga


async def test_what_is_put_on_record_comes_back_whole(ground):
    async with tables(ground) as table:
        record = decisions.begin_step(saga(), "a", undo="u", undo_data='{"x":1}', now=2.0).saga
        assert await begin(table, record)
        assert await table.find("s1") == record
        changed = decisions.end_step(record, "a", output="[1]", now=3.0, body='{"a":2}')
        await move(table, record, changed)
        assert await table.find("s1") == changed.saga
        assert await table.find_key(SagaKind.COMMAND, "create.user", "k") == changed.saga
        assert await table.list(SagaKind.COMMAND) == [changed.saga]
        assert await table.list(SagaKind.COMMAND, SagaStatus.DONE) == []
        assert await table.list(SagaKind.PIPELINE) == []


async def test_a_key_has_one_open_saga_at_a_time(ground):
    async with tables(ground) as table:
        first = saga("s1")
        assert await begin(table, first)
        assert not await begin(table, saga("s2"))
        assert await begin(table, saga("s3", key="other"))
        await move(table, first, decisions.settle(first, SagaStatus.UNDONE, now=2.0))
        assert await begin(table, saga("s2"))


async def test_whoever_was_deposed_writes_nothing(ground):
    async with tables(ground) as table:
        await table.enlist("me")
        await table.enlist("heir")
        mine = saga()
        await begin(table, mine)
        theirs = await table.take(mine, "heir")
        assert (theirs.owner, theirs.epoch) == ("heir", 2)
        assert await table.take(mine, "third") is None
        change = decisions.begin_step(mine, "a", undo="u", undo_data=None, now=2.0)
        with pytest.raises(LeaseLostError):
            await move(table, mine, change)
        assert (await table.find("s1")).steps == ()


async def test_what_was_committed_is_not_taken_back(ground):
    async with tables(ground) as table:
        mine = saga()
        await begin(table, mine)
        await move(table, mine, decisions.settle(mine, SagaStatus.DONE, now=2.0))
        with pytest.raises(LeaseLostError):
            await move(table, mine, decisions.turn_round(mine, error="x", now=3.0))
        assert await table.take(mine, "heir") is None


async def test_an_operators_decision_deposes_whoever_is_at_work(ground):
    async with tables(ground) as table:
        mine = saga()
        await begin(table, mine)
        ended = decisions.abandon(mine, reason="enough", now=2.0)
        assert await table.decide(mine, ended.saga)
        assert not await table.decide(mine, ended.saga)
        found = await table.find("s1")
        assert (found.status, found.error, found.owner) == (SagaStatus.ABANDONED, "enough", "")
        with pytest.raises(LeaseLostError):
            await move(table, mine, decisions.settle(mine, SagaStatus.DONE, now=3.0))


async def test_work_is_found_when_it_is_due(ground):
    async with tables(ground) as table:
        early, late = saga("s1", "a"), saga("s2", "b", due_at=50.0)
        ended = saga("s3", "c", status=SagaStatus.DONE)
        for one in (early, late, ended):
            await begin(table, one)
        assert [one.id for one in await table.waiting(10.0, 9)] == ["s1"]
        assert [one.id for one in await table.waiting(50.0, 9)] == ["s1", "s2"]
        assert [one.id for one in await table.waiting(50.0, 1)] == ["s1"]
        assert [one.id for one in await table.unfinished()] == ["s1", "s2"]
        await table.let_go(early, due_at=20.0)
        assert (await table.find("s1")).owner == ""
        assert await table.waiting(10.0, 9) == []


async def test_signs_of_life_are_counted_and_the_dead_are_buried(ground):
    async with tables(ground) as table:
        await table.enlist("me")
        async with table.database.transaction() as tx:
            assert await table.beat(tx, "me")
            assert not await table.beat(tx, "nobody")
        [one] = await table.beats()
        assert (one.id, one.beat) == ("me", 1)
        await begin(table, saga())
        await table.bury("me")
        assert await table.beats(), "it still owns a saga"
        await table.discharge("me")
        assert await table.beats() == []


async def test_what_ended_is_forgotten_after_a_while(ground):
    async with tables(ground) as table:
        old = decisions.begin_step(
            saga("s1", "a", status=SagaStatus.RUNNING), "a", undo="", undo_data=None, now=1.0
        ).saga
        await begin(table, old)
        await move(table, old, decisions.settle(old, SagaStatus.DONE, now=5.0))
        stuck = msgspec.structs.replace(saga("s2", "b"), status=SagaStatus.STUCK)
        await begin(table, stuck)
        assert await table.forget(5.0) == 0
        assert await table.forget(6.0) == 1
        assert await table.find("s1") is None
        assert await table.find("s2") == stuck
