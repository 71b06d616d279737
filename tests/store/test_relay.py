"""The relay: whole transactions in a causal order, once, by one process at a time."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3

import asyncpg
import pytest

from tests.store.databases import arrived, path_of, until
from tests.store.desk import Desk, draft
from trunkline import Trunkline
from trunkline.errors import LogUnavailableError
from trunkline.store import outbox as outbox_module
from trunkline.testing.clock import ManualClock

# -- order ------------------------------------------------------------------------------------


async def test_each_transaction_is_one_group_in_the_order_of_commits(desk, monkeypatch):
    monkeypatch.setattr(outbox_module, "BATCH", 2)
    groups = []
    append = desk.log.append

    async def noted(given):
        groups.extend([int(one.data) for one in group] for group in given)
        return await append(given)

    monkeypatch.setattr(desk.log, "append", noted)
    await desk.leave([draft(1), draft(2), draft(3)], [draft(4)], [draft(5), draft(6)])
    transfer = await desk.transfer()
    while await transfer.move():
        pass
    assert groups == [[1, 2, 3], [4], [5, 6]]
    assert await desk.data() == [1, 2, 3, 4, 5, 6]


async def test_a_long_transaction_comes_where_its_last_row_stands(postgres_ground):
    async with postgres_ground.line(services="off") as line:
        early, late = [await asyncpg.connect(postgres_ground.bare) for _ in range(2)]
        await early.execute("BEGIN")
        await line.publish("/a", "first of the long one", tx=early)
        await line.publish("/a", "short", tx=late)
        await line.publish("/a", "last of the long one", tx=early)
        await early.execute("COMMIT")
        line.start_services()
        assert await arrived(line, 3) == ["short", "first of the long one", "last of the long one"]
        await early.close()
        await late.close()


async def test_whoever_publishes_after_a_commit_comes_after_it(postgres_ground):
    """Each transaction names those it knew to be committed; none may come before them."""
    committed: list[int] = []
    async with postgres_ground.line(max_backlog_size=None) as line:

        async def guest(number):
            connection = await asyncpg.connect(postgres_ground.bare)
            for turn in range(20):
                known = len(committed)
                async with connection.transaction():
                    ident = number * 100 + turn
                    await line.publish("/a", [ident, known], tx=connection)
                    await asyncio.sleep(0)
                    await line.publish("/a", [ident, known], tx=connection)
                committed.append(ident)
            await connection.close()

        async with asyncio.TaskGroup() as group:
            for number in range(6):
                group.create_task(guest(number))
        found = await arrived(line, 240)
    assert len(found) == 240
    assert all(a == b for a, b in zip(found[::2], found[1::2], strict=True))
    place = {ident: index for index, (ident, _) in enumerate(found[::2])}
    for index, (_, known) in enumerate(found[::2]):
        assert all(place[before] < index for before in committed[:known])


async def test_rows_of_savepoints_are_one_group_and_undone_ones_are_none(postgres_ground):
    async with postgres_ground.line(services="off") as line:
        connection = await asyncpg.connect(postgres_ground.bare)
        async with connection.transaction():
            await line.publish("/a", 1, tx=connection)
            with contextlib.suppress(KeyError):
                async with connection.transaction():
                    await line.publish("/a", "undone", tx=connection)
                    raise KeyError
            async with connection.transaction():
                await line.publish("/a", 2, tx=connection)
        tokens = await connection.fetch(
            f"SELECT DISTINCT xid FROM {line._store.places[0].schema}trunkline_outbox"
        )
        await connection.close()
        assert len(tokens) == 1
        line.start_services()
        assert await arrived(line, 2) == [1, 2]


async def test_a_connection_s_transactions_are_told_apart(sqlite_ground):
    async with sqlite_ground.line(services="off") as line:
        connection = sqlite3.connect(path_of(sqlite_ground))
        for number in range(3):
            await line.publish("/a", number, tx=connection)
            await line.publish("/a", number, tx=connection)
            connection.commit()
        rows = connection.execute("SELECT token FROM trunkline_outbox ORDER BY seq").fetchall()
        connection.close()
        assert rows[0] == rows[1] != rows[2] == rows[3] != rows[4] == rows[5]


# -- bad rows ---------------------------------------------------------------------------------


async def test_what_is_no_message_is_parked_and_blocks_nobody(desk):
    await desk.leave([draft(1), b"garbage", draft(2)], [b""], [draft(3)])
    transfer = await desk.transfer()
    while await transfer.move():
        pass
    assert await desk.data() == [1, 2, 3]
    first, second = await desk.outbox.parked()
    assert (first.sealed, second.sealed) == (b"garbage", b"")
    assert "no message" in first.error
    await desk.outbox.drop([first.seq])
    await desk.outbox.retry([second.seq])
    assert await desk.outbox.parked() == []
    await transfer.move()
    assert [one.sealed for one in await desk.outbox.parked()] == [b""]


async def test_what_the_log_refuses_is_parked_alone(ground):
    async with ground.line() as line:
        await line.publish("/a", 0, key="used")
        database = line._store.outbox.database
        desk = Desk(database, line._store.outbox, ManualClock())
        await desk.leave(
            [draft(1), draft(2, key="used"), draft(3)],
            [draft(4, "/stream/x"), draft(5)],
            [draft(6)],
        )
        line.start_services()
        assert await arrived(line, 5) == [0, 1, 3, 5, 6]
        reused, stream = await line._store.outbox.parked()
        assert "KeyReusedError" in reused.error
        assert "ChannelKindError" in stream.error


# -- crashes ----------------------------------------------------------------------------------


class CrashError(Exception):
    """Be the end of a process."""


async def test_a_crash_at_any_step_neither_loses_nor_doubles(desk, monkeypatch):
    """Another engine's log: crash before the append, after it, and while rows are removed."""
    await desk.leave([draft(1), draft(2)], [draft(3)], [draft(4, key="own")])
    append, forget = desk.log.append, desk.outbox.remove

    async def before(groups):
        raise CrashError

    async def after(groups):
        await append(groups)
        raise CrashError

    async def removing(tx, seqs):
        await forget(tx, seqs)
        raise CrashError

    for target, name, broken in (
        (desk.log, "append", before),
        (desk.log, "append", after),
        (desk.outbox, "remove", removing),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(target, name, broken)
            with pytest.raises(CrashError):
                await (await desk.transfer()).move()
        await desk.leave([draft(5)]) if name == "remove" else None
    last = await desk.transfer()
    while await last.move():
        pass
    assert await desk.data() == [1, 2, 3, 4, 5]
    assert not await desk.outbox.has_rows()


async def test_a_log_that_is_away_keeps_everything_in_the_outbox(desk, monkeypatch):
    await desk.leave([draft(1)], [draft(2)])
    transfer = await desk.transfer()

    async def away(groups):
        raise LogUnavailableError("away")

    with monkeypatch.context() as patch:
        patch.setattr(desk.log, "append", away)
        with pytest.raises(LogUnavailableError):
            await transfer.move()
    assert await transfer.move() == 2
    assert await desk.data() == [1, 2]


async def test_a_batch_that_the_log_may_have_forgotten_is_parked(desk, monkeypatch):
    await desk.leave([draft(1), draft(2)])

    async def away(groups):
        raise CrashError

    with monkeypatch.context() as patch:
        patch.setattr(desk.log, "append", away)
        with pytest.raises(CrashError):
            await (await desk.transfer()).move()
    desk.clock.advance(86400.0)
    await desk.leave([draft(3)])
    transfer = await desk.transfer()
    while await transfer.move():
        pass
    assert await desk.data() == [3]
    assert ["interrupted" in one.error for one in await desk.outbox.parked()] == [True, True]


# -- several ---------------------------------------------------------------------------------


async def test_two_lines_relay_each_message_once(ground):
    async with ground.line(services="on") as one, ground.line(services="on") as two:
        for number in range(40):
            async with (one if number % 2 else two)._store.outbox.database.transaction() as tx:
                del tx
            await Desk(one._store.outbox.database, one._store.outbox, ManualClock()).leave(
                [draft(number)]
            )
            if number == 20:
                one._services.stop()
        assert await arrived(two, 40) == list(range(40))


async def test_a_closed_line_leaves_the_relay_to_another_at_once(ground):
    two = ground.line(services="on")
    async with ground.line(services="on") as one:
        await until(lambda: _holds(one))
        await two.open()
    desk = Desk(two._store.outbox.database, two._store.outbox, ManualClock())
    await desk.leave([draft(1)])
    assert await arrived(two, 1) == [1]
    await two.close()


async def _holds(line):
    return line._store.relays[0]._lease.epoch > 0


async def test_the_worker_s_services_have_names(tmp_path, sqlite_ground):
    line = Trunkline(f"sqlite:///{tmp_path}/other.db", profiles={"own": ["relay"]}, profile="own")
    line.attach_outbox(sqlite_ground.url)
    async with line:
        assert [one.name for one in line._store.relays] == [
            "relay",
            f"relay:{path_of(sqlite_ground)}",
        ]
        assert [one.name for one in line.services()] == ["relay"]
