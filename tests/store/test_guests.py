"""Guests: with every library, a publish exists if and only if its transaction commits."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3

import aiosqlite
import asyncpg
import psycopg
import pytest
import sqlalchemy
from sqlalchemy import orm
from sqlalchemy.ext import asyncio as alchemy
from sqlalchemy.pool import NullPool

from tests.store.databases import arrived, notes, path_of, until
from trunkline import Trunkline
from trunkline.errors import ConfigError, UnencodableDataError, UsageError

INSERT = "INSERT INTO note VALUES ('row')"


class Plain:
    """Drive a guest in the same few steps, whatever its library."""

    is_sync = True

    def __init__(self, tx):
        self.tx = tx

    async def execute(self, statement):
        await _awaited(self.tx.execute(statement))

    async def savepoint(self):
        await self.execute("SAVEPOINT s")

    async def undo(self):
        await self.execute("ROLLBACK TO SAVEPOINT s")

    async def commit(self):
        await _awaited(self.tx.commit())

    async def rollback(self):
        await _awaited(self.tx.rollback())


class Asynchronous(Plain):
    is_sync = False


class Driver(Asynchronous):
    """Be a driver whose transaction is told by statements."""

    async def commit(self):
        await self.execute("COMMIT")
        await self.execute("BEGIN")

    async def rollback(self):
        await self.execute("ROLLBACK")
        await self.execute("BEGIN")


class Alchemy(Plain):
    async def execute(self, statement):
        await _awaited(self.tx.execute(sqlalchemy.text(statement)))


class AsyncAlchemy(Alchemy):
    is_sync = False


async def _awaited(value):
    return await value if asyncio.iscoroutine(value) or hasattr(value, "__await__") else value


@contextlib.asynccontextmanager
async def sqlite3_guest(ground):
    connection = sqlite3.connect(path_of(ground), isolation_level="IMMEDIATE")
    with contextlib.closing(connection):
        yield Plain(connection)


@contextlib.asynccontextmanager
async def aiosqlite_guest(ground):
    async with aiosqlite.connect(path_of(ground), isolation_level="IMMEDIATE") as connection:
        yield Asynchronous(connection)


@contextlib.asynccontextmanager
async def asyncpg_guest(ground):
    connection = await asyncpg.connect(ground.bare)
    await connection.execute("BEGIN")
    yield Driver(connection)
    await connection.close()


@contextlib.asynccontextmanager
async def asyncpg_pool_guest(ground):
    async with (
        asyncpg.create_pool(ground.bare, min_size=1, max_size=1) as pool,
        pool.acquire() as connection,
    ):
        await connection.execute("BEGIN")
        yield Driver(connection)
        await connection.execute("ROLLBACK")


@contextlib.asynccontextmanager
async def psycopg_guest(ground):
    with psycopg.connect(ground.bare) as connection:
        yield Plain(connection)


@contextlib.asynccontextmanager
async def async_psycopg_guest(ground):
    async with await psycopg.AsyncConnection.connect(ground.bare) as connection:
        yield Asynchronous(connection)


DRIVERS = {
    "sqlite": ("pysqlite", "aiosqlite"),
    "postgres": ("psycopg", "asyncpg"),
}


@contextlib.asynccontextmanager
async def session_guest(ground):
    engine = sqlalchemy.create_engine(ground.alchemy_url(DRIVERS[ground.dialect][0]))
    with orm.Session(engine) as session:
        yield Alchemy(session)
    engine.dispose()


@contextlib.asynccontextmanager
async def scoped_session_guest(ground):
    engine = sqlalchemy.create_engine(ground.alchemy_url(DRIVERS[ground.dialect][0]))
    session = orm.scoped_session(orm.sessionmaker(engine))
    yield Alchemy(session)
    session.remove()
    engine.dispose()


@contextlib.asynccontextmanager
async def connection_guest(ground):
    engine = sqlalchemy.create_engine(ground.alchemy_url(DRIVERS[ground.dialect][0]))
    with engine.connect() as connection:
        yield Alchemy(connection)
    engine.dispose()


def _async_engine(ground):
    url = ground.alchemy_url(DRIVERS[ground.dialect][1])
    return alchemy.create_async_engine(url, poolclass=NullPool)


@contextlib.asynccontextmanager
async def async_session_guest(ground):
    engine = _async_engine(ground)
    async with alchemy.AsyncSession(engine) as session:
        yield AsyncAlchemy(session)
    await engine.dispose()


@contextlib.asynccontextmanager
async def async_connection_guest(ground):
    engine = _async_engine(ground)
    async with engine.connect() as connection:
        yield AsyncAlchemy(connection)
    await engine.dispose()


ALCHEMY = [
    session_guest,
    scoped_session_guest,
    connection_guest,
    async_session_guest,
    async_connection_guest,
]
GUESTS = [
    *(("sqlite", one) for one in (sqlite3_guest, aiosqlite_guest, *ALCHEMY)),
    *(
        ("postgres", one)
        for one in (
            asyncpg_guest,
            asyncpg_pool_guest,
            psycopg_guest,
            async_psycopg_guest,
            *ALCHEMY,
        )
    ),
]


@pytest.fixture(params=GUESTS, ids=lambda pair: f"{pair[0]}-{pair[1].__name__}")
def visit(request):
    dialect, make = request.param
    return request.getfixturevalue(f"{dialect}_ground"), make


@pytest.fixture
async def guest(visit):
    ground, make = visit
    async with ground.line() as line, make(ground) as one:
        one.line, one.ground = line, ground
        yield one


async def test_it_shares_the_transaction_s_fate(guest):
    line = guest.line
    await guest.execute(INSERT)
    assert await line.publish("/a", "rolled back", tx=guest.tx) is None
    await guest.rollback()

    await guest.execute(INSERT)
    assert await line.publish("/a", 1, tx=guest.tx) is None
    await guest.savepoint()
    await line.publish("/a", "undone", tx=guest.tx)
    await guest.undo()
    assert await line.publish_many([("/a", 2), ("/b", 3)], tx=guest.tx) == ()
    assert await line.last_id("/a") == 0
    await guest.commit()

    assert await arrived(line, 2) == [1, 2]
    assert await notes(guest.ground) == ["row"]
    first, *_, last = await line.global_backlog()
    assert last.global_id - first.global_id == 2


async def test_synchronous_code_publishes_without_awaiting(guest):
    if not guest.is_sync:
        with pytest.raises(UsageError, match=r"await line\.publish"):
            guest.line.publish_in(guest.tx, "/a", 1)
        return
    guest.line.publish_in(guest.tx, "/a", 1, headers={"h": 1})
    await guest.rollback()
    guest.line.publish_in(guest.tx, "/a", 2, headers={"h": 1})
    await guest.commit()
    guest.line.start_services()
    assert await arrived(guest.line, 1) == [2]


async def test_a_bad_message_leaves_the_transaction_alone(guest):
    await guest.execute(INSERT)
    with pytest.raises(UnencodableDataError):
        await guest.line.publish("/a", float("inf"), tx=guest.tx)
    with pytest.raises(UsageError):
        await guest.line.publish_many([("/a", 1), ("bad", 1)], tx=guest.tx)
    await guest.commit()
    assert await notes(guest.ground) == ["row"]


async def test_many_messages_stay_one_group(guest):
    count = 901
    await guest.line.publish_many((("/a", number) for number in range(count)), tx=guest.tx)
    await guest.commit()
    assert await arrived(guest.line, count) == list(range(count))


async def test_a_session_s_commit_pokes_the_relay(sqlite_ground):
    engine = sqlalchemy.create_engine(sqlite_ground.alchemy_url("pysqlite"))
    async with sqlite_ground.line(services="off") as line:
        poked = []
        line._store._poke_from_anywhere = lambda: poked.append(1)
        with orm.Session(engine) as session:
            await line.publish("/a", 1, tx=session)
            await line.publish("/a", 2, tx=session)
            assert poked == []
            session.commit()
            assert poked == [1]
    engine.dispose()


async def test_open_guests_delay_nobody_else_on_postgres(postgres_ground):
    async with postgres_ground.line() as line:
        guests = [await asyncpg.connect(postgres_ground.bare) for _ in range(8)]
        for number, connection in enumerate(guests):
            await connection.execute("BEGIN")
            await line.publish("/guest", number, tx=connection)
        # Were anything held that a publisher needs, these would wait for the guests for ever.
        async with asyncio.timeout(30):
            for number in range(50):
                await line.publish("/a", number)
            other = await asyncpg.connect(postgres_ground.bare)
            async with other.transaction():
                await line.publish("/guest", "short", tx=other)
            assert await arrived(line, 1, "/guest") == ["short"]
            await other.close()
        for connection in guests:
            await connection.execute("COMMIT")
            await connection.close()
        assert len(await arrived(line, 9, "/guest")) == 9


async def test_an_open_guest_in_a_file_of_its_own_delays_nobody_else(sqlite_ground, tmp_path):
    line = Trunkline(f"sqlite:///{tmp_path}/other.db")
    line.attach_outbox(sqlite_ground.url)
    async with line:
        connection = sqlite3.connect(path_of(sqlite_ground), isolation_level="IMMEDIATE")
        connection.execute(INSERT)
        await line.publish("/guest", 1, tx=connection)
        async with asyncio.timeout(30):
            for number in range(50):
                await line.publish("/a", number)
        connection.commit()
        connection.close()
        assert await arrived(line, 1, "/guest") == [1]


async def test_an_engine_names_the_database_of_an_outbox(sqlite_ground, tmp_path):
    engine = sqlalchemy.create_engine(sqlite_ground.alchemy_url("pysqlite"))
    line = Trunkline("memory://", store=f"sqlite:///{tmp_path}/store.db")
    line.attach_outbox(engine)
    async with line:
        with orm.Session(engine) as session:
            await line.publish("/a", 1, tx=session)
            session.commit()
        assert await arrived(line, 1) == [1]
    engine.dispose()


async def test_an_outbox_may_speak_another_dialect_than_the_log(postgres_ground, tmp_path):
    line = Trunkline(f"sqlite:///{tmp_path}/line.db")
    line.attach_outbox(postgres_ground.url)
    async with line:
        connection = await asyncpg.connect(postgres_ground.bare)
        async with connection.transaction():
            await connection.execute(INSERT)
            await line.publish("/a", 1, tx=connection)
        await connection.close()
        assert await arrived(line, 1) == [1]


async def test_a_database_without_an_outbox_is_told_with_the_fix(tmp_path, sqlite_ground):
    async with Trunkline(f"sqlite:///{tmp_path}/other.db") as line:
        connection = sqlite3.connect(path_of(sqlite_ground))
        with contextlib.closing(connection), pytest.raises(UsageError, match="attach_outbox"):
            await line.publish("/a", 1, tx=connection)


async def test_a_dialect_without_an_outbox_is_told_with_the_fix(tmp_path, postgres_ground):
    async with Trunkline(f"sqlite:///{tmp_path}/line.db") as line:
        connection = await asyncpg.connect(postgres_ground.bare)
        with pytest.raises(UsageError, match="attach_outbox"):
            await line.publish("/a", 1, tx=connection)
        await connection.close()


async def test_what_is_no_transaction_is_told(tmp_path):
    async with Trunkline(f"sqlite:///{tmp_path}/line.db") as line:
        with pytest.raises(UsageError, match="SQLAlchemy"):
            await line.publish("/a", 1, tx=object())


def test_what_is_no_database_is_told(tmp_path):
    line = Trunkline(f"sqlite:///{tmp_path}/line.db")
    for wrong in ("mysql://localhost/shop", "sqlite://", 7):
        with pytest.raises(ConfigError):
            line.attach_outbox(wrong)


async def test_nothing_is_left_while_publishing_is_off(sqlite_ground):
    async with sqlite_ground.line() as line:
        line.off()
        with sqlite3.connect(path_of(sqlite_ground)) as connection:
            assert await line.publish("/a", 1, tx=connection) is None
            line.publish_in(connection, "/a", 1)
            count = connection.execute("SELECT count(*) FROM trunkline_outbox").fetchone()[0]
        connection.close()
        assert count == 0


async def test_threads_publish_while_the_loop_relays(sqlite_ground):
    async with sqlite_ground.line() as line:
        line.start_services()

        def work(number):
            connection = sqlite3.connect(path_of(sqlite_ground), timeout=30)
            for turn in range(20):
                connection.execute("BEGIN IMMEDIATE")
                line.publish_in(connection, "/a", [number, turn, 0])
                line.publish_in(connection, "/a", [number, turn, 1])
                connection.commit()
            connection.close()

        async with asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(asyncio.to_thread(work, number))

        async def complete():
            return await line.last_id("/a") == 120

        await until(complete)
        found = [message.data for message in await line.backlog("/a")]
        assert all([*a[:2], 1] == b for a, b in zip(found[::2], found[1::2], strict=True))
        for number in range(3):
            assert [one[1] for one in found if one[0] == number and one[2]] == list(range(20))
