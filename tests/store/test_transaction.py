"""A line's own transaction: what is written and published in it exists if it commits, else not."""

# ruff: noqa: PT012 - what is undone is a whole block

from __future__ import annotations

import asyncio
import sqlite3

import asyncpg
import pytest

from tests.store.databases import notes
from trunkline import Trunkline
from trunkline.errors import (
    ConfigError,
    KeyReusedError,
    LogError,
    LogUnavailableError,
    UnencodableDataError,
    UsageError,
)

INSERT = {"sqlite": "INSERT INTO note VALUES (?)", "postgres": "INSERT INTO note VALUES ($1)"}


async def test_a_commit_keeps_rows_and_messages_and_gives_ids(ground):
    async with ground.line() as line:
        await line.publish("/a", "before")
        async with line.transaction() as tx:
            assert await tx.execute(INSERT[ground.dialect], "kept") == 1
            assert await tx.publish("/a", 1) is None
            await tx.publish_many([("/b", 2), ("/a", 3, {"headers": {"h": 1}})])
            assert tx.receipts == ()
        assert [(one.channel.name, one.message_id, one.global_id) for one in tx.receipts] == [
            ("/a", 2, 2),
            ("/b", 1, 3),
            ("/a", 3, 4),
        ]
        assert [message.data for message in await line.backlog("/a")] == ["before", 1, 3]
        assert await notes(ground) == ["kept"]


async def test_an_error_that_leaves_the_block_undoes_both(ground):
    async with ground.line() as line:
        with pytest.raises(ZeroDivisionError):
            async with line.transaction() as tx:
                await tx.execute(INSERT[ground.dialect], "gone")
                await tx.publish("/a", 1)
                raise ZeroDivisionError
        assert tx.receipts == ()
        assert (await line.publish("/a", "next")).global_id == 1
        assert await notes(ground) == []


async def test_a_cancelled_block_undoes_both(ground):
    async with ground.line() as line:
        inside = asyncio.Event()

        async def work():
            async with line.transaction() as tx:
                await tx.execute(INSERT[ground.dialect], "gone")
                await tx.publish("/a", 1)
                inside.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await line.publish("/a", "next")).global_id == 1
        assert await notes(ground) == []


async def test_a_savepoint_that_fails_forgets_what_it_held(ground):
    async with ground.line() as line:
        async with line.transaction() as tx:
            await tx.publish("/a", "outer")
            with pytest.raises(KeyError):
                async with tx.savepoint():
                    await tx.execute(INSERT[ground.dialect], "gone")
                    await tx.publish("/a", "gone")
                    async with tx.savepoint():
                        await tx.publish("/a", "gone too")
                    raise KeyError
            async with tx.savepoint():
                await tx.execute(INSERT[ground.dialect], "kept")
                await tx.publish("/a", "inner")
            assert [event.data for event in tx.events] == ["outer", "inner"]
        assert [message.data for message in await line.backlog("/a")] == ["outer", "inner"]
        assert await notes(ground) == ["kept"]


async def test_a_failed_statement_in_a_savepoint_leaves_the_rest_usable(ground):
    async with ground.line() as line:
        async with line.transaction() as tx:
            with pytest.raises((sqlite3.OperationalError, asyncpg.PostgresError)):
                async with tx.savepoint():
                    await tx.execute("INSERT INTO nowhere VALUES (1)")
            await tx.execute(INSERT[ground.dialect], "kept")
            await tx.publish("/a", 1)
        assert len(tx.receipts) == 1
        assert await notes(ground) == ["kept"]


async def test_reads_inside_show_what_is_pending(ground):
    async with ground.line() as line:
        await line.publish("/a", 1)
        async with line.transaction() as tx:
            await tx.publish("/a", 2, headers={"h": 1})
            await tx.publish("/b", 3)
            stored, pending = await tx.backlog("/a")
            assert (stored.message_id, stored.data) == (1, 1)
            assert (pending.channel, pending.data, pending.headers) == ("/a", 2, {"h": 1})
            assert await line.last_id("/a") == 1


async def test_rows_come_by_index_and_by_name(ground):
    async with ground.line() as line, line.transaction() as tx:
        await tx.execute_many(INSERT[ground.dialect], [("b",), ("a",)])
        rows = await tx.fetch("SELECT text FROM note ORDER BY text")
        assert [(row[0], row["text"]) for row in rows] == [("a", "a"), ("b", "b")]


async def test_a_refused_message_undoes_the_transaction(ground):
    async with ground.line() as line:
        await line.publish("/a", 1, key="k")
        with pytest.raises(KeyReusedError):
            async with line.transaction() as tx:
                await tx.execute(INSERT[ground.dialect], "gone")
                await tx.publish("/b", 1)
                await tx.publish("/a", 2, key="k")
        assert await notes(ground) == []
        assert (await line.publish("/b", "next")).message_id == 1


async def test_a_bad_message_is_refused_where_it_is_published(ground):
    async with ground.line() as line, line.transaction() as tx:
        with pytest.raises(UnencodableDataError):
            await tx.publish("/a", float("nan"))
        with pytest.raises(UsageError):
            await tx.publish("no-slash", 1)
        assert tx.events == ()


async def test_an_ended_transaction_takes_nothing_more(ground):
    async with ground.line() as line:
        async with line.transaction() as tx:
            await tx.publish("/a", 1)
        with pytest.raises(UsageError, match="over"):
            await tx.publish("/a", 2)


async def test_many_transactions_and_publishers_keep_the_line_dense(ground):
    async with ground.line() as line:

        async def transact(number):
            for turn in range(10):
                async with line.transaction() as tx:
                    await tx.execute(INSERT[ground.dialect], f"{number} {turn}")
                    await tx.publish("/a", [number, turn])
                    await tx.publish("/b", [number, turn])

        async def publish():
            for turn in range(20):
                await line.publish("/c", turn)

        async with asyncio.TaskGroup() as group:
            for number in range(6):
                group.create_task(transact(number))
                group.create_task(publish())
        messages = await line.global_backlog()
        assert [message.global_id for message in messages] == list(range(1, 241))
        pairs = [m for m in messages if m.channel != "/c"]
        assert all(a.data == b.data for a, b in zip(pairs[::2], pairs[1::2], strict=True))
        assert len(await notes(ground)) == 60


async def test_a_publish_beside_it_would_wait_for_itself_on_one_file(sqlite_ground):
    async with sqlite_ground.line() as line, line.transaction() as tx:
        with pytest.raises(UsageError, match=r"tx\.publish"):
            await line.publish("/a", 1)
        with pytest.raises(UsageError, match="inside a transaction"):
            async with line.transaction():
                pass
        await tx.publish("/a", 2)


async def test_on_postgres_others_publish_while_it_is_open(postgres_ground):
    async with postgres_ground.line() as line:
        async with line.transaction() as tx:
            await tx.execute("INSERT INTO note VALUES ('mine')")
            await tx.publish("/a", "last")
            await line.publish("/a", "first")
            async with line.transaction() as other:
                await other.publish("/a", "second")
        assert [m.data for m in await line.backlog("/a")] == ["first", "second", "last"]


async def test_a_transaction_that_keeps_the_file_too_long_is_undone(sqlite_ground):
    async with Trunkline(f"{sqlite_ground.url}?busy_timeout=0.2") as line:
        with pytest.raises(LogUnavailableError, match=r"0\.16 s"):
            async with line.transaction() as tx:
                await tx.execute("INSERT INTO note VALUES ('gone')")
                await line.backlog("/a")
                await asyncio.create_task(line.publish("/a", "other task"))
                await tx.publish("/a", 1)
        assert [m.data for m in await line.backlog("/a")] == ["other task"]
        assert await notes(sqlite_ground) == []


@pytest.mark.parametrize("control", ["COMMIT", " rollback", "BEGIN", "SAVEPOINT x", "END"])
async def test_its_end_is_not_for_sql_to_say(sqlite_ground, control):
    async with sqlite_ground.line() as line, line.transaction() as tx:
        with pytest.raises(UsageError, match="savepoint"):
            await tx.execute(control)


async def test_without_a_sql_database_it_says_what_to_set():
    async with Trunkline("memory://") as line:
        with pytest.raises(ConfigError, match="store="):
            async with line.transaction():
                pass
        with pytest.raises(ConfigError, match="store="):
            await line.publish("/a", 1, tx=sqlite3.connect(":memory:"))


async def test_a_sql_log_takes_no_second_store(tmp_path):
    with pytest.raises(ConfigError, match="drop store="):
        Trunkline(f"sqlite:///{tmp_path}/a.db", store=f"sqlite:///{tmp_path}/b.db")


async def test_beside_another_log_it_publishes_through_the_outbox(sqlite_ground):
    from tests.store.databases import arrived

    async with Trunkline("memory://", store=sqlite_ground.url) as line:
        async with line.transaction() as tx:
            await tx.execute("INSERT INTO note VALUES ('kept')")
            await tx.publish("/a", 1)
            await tx.publish("/a", 2)
        assert tx.receipts == ()
        assert await arrived(line, 2) == [1, 2]
        with pytest.raises(ZeroDivisionError):
            async with line.transaction() as tx:
                await tx.publish("/a", 3)
                raise ZeroDivisionError
        async with line.transaction() as tx:
            await tx.publish("/a", 4)
        assert await arrived(line, 3) == [1, 2, 4]


async def test_a_store_that_cannot_be_opened_is_told(tmp_path):
    line = Trunkline("memory://", store=f"sqlite:///{tmp_path}/missing/a.db")
    with pytest.raises(LogError, match="create it first"):
        await line.open()
