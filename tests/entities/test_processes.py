"""Two server processes on one log, killed again and again: all clients end at what is."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import sqlite3
from pathlib import Path

import asyncpg
import pytest
import websockets

from tests.entities.screen import GONE, Screen, is_older  # noqa: F401
from tests.store.databases import (  # noqa: F401 - fixtures
    ground,
    postgres_ground,
    postgres_url,
    schema,
    sqlite_ground,
)
from trunkline.testing.servers import trunkline_serve, uvicorn

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

CHANGES = 1_000
KEYS = [(kind, str(number)) for kind in ("items", "cards") for number in range(8)]
USERS = ("ann", "bob", "eve")


class Stock:
    """The application's data, changed at random together with the notice of it."""

    def __init__(self, ground, line, chance):  # noqa: F811
        self.ground = ground
        self.line = line
        self.chance = chance
        self.table = f"stock_{secrets.token_hex(4)}"
        self.rows = {}
        self.number = 0

    @property
    def environment(self):
        return {
            "TRUNKLINE_LOG": self.ground.url,
            "STOCK_TABLE": self.table,
            "STOCK_DATABASE": self.ground.bare,
        }

    async def create(self):
        columns = "kind TEXT, id TEXT, owner TEXT, public INTEGER, number INTEGER"
        async with self.line.transaction() as tx:
            await tx.execute(f"CREATE TABLE {self.table} ({columns}, PRIMARY KEY (kind, id))")

    def seen_by(self, user, key):
        row = self.rows.get(key)
        if row is None or not (row["public"] or row["owner"] == user):
            return GONE
        return [row]

    def next_row(self, key):
        self.number += 1
        row = self.rows.get(key)
        if row is not None and self.chance.random() < 0.1:
            return None
        return {
            "id": key[1],
            "owner": self.chance.choice(USERS),
            "public": self.chance.random() < 0.4,
            "number": self.number,
        }

    async def change(self):
        key = self.chance.choice(KEYS)
        row = self.next_row(key)
        statements = [(f"DELETE FROM {self.table} WHERE kind = ? AND id = ?", key)]
        if row is not None:
            values = (*key, row["owner"], int(row["public"]), row["number"])
            statements.append((f"INSERT INTO {self.table} VALUES (?, ?, ?, ?, ?)", values))
        ways = [self._in_the_lines_own, self._in_the_lines_own, self._in_a_guests]
        await self.chance.choice(ways)(key, statements)
        if row is None:
            self.rows.pop(key, None)
        else:
            self.rows[key] = row

    async def _in_the_lines_own(self, key, statements):
        async with self.line.transaction() as tx:
            for statement, values in statements:
                await tx.execute(self._marked(statement), *values)
            await self.line.changed(*key, tx=tx)

    async def _in_a_guests(self, key, statements):
        if self.ground.dialect == "sqlite":
            await asyncio.to_thread(self._in_a_file, key, statements)
            return
        connection = await asyncpg.connect(self.ground.bare)
        try:
            async with connection.transaction():
                for statement, values in statements:
                    await connection.execute(self._marked(statement), *values)
                await self.line.changed(*key, tx=connection)
        finally:
            await connection.close()

    def _in_a_file(self, key, statements):
        path = self.ground.bare.removeprefix("sqlite:///")
        with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as guest:
            guest.execute("BEGIN IMMEDIATE")
            for statement, values in statements:
                guest.execute(statement, values)
            self.line.changed_in(guest, *key)
            guest.execute("COMMIT")

    def _marked(self, statement):
        if self.ground.dialect == "sqlite":
            return statement
        for number in range(1, statement.count("?") + 1):
            statement = statement.replace("?", f"${number}", 1)
        return statement


class Guest(Screen):
    """A user's screen, which comes back on any server after it lost its own."""

    def __init__(self, servers, user, chance):
        super().__init__(0, query=f"?user={user}")
        self.servers = servers
        self.user = user
        self.chance = chance
        self.comebacks = 0

    async def live(self):
        """Stay connected, for ever."""
        while True:
            self.port = self.chance.choice(self.servers).port
            try:
                await self.connect()
                self.comebacks += 1
                await asyncio.wait([self._reader])
            except (OSError, TimeoutError, websockets.WebSocketException):
                pass
            await self.disconnect()
            await asyncio.sleep(0.02)

    def _admit(self, key, told, value):
        super()._admit(key, told, value)
        # What is pushed must have been this user's to see when it was fetched.
        assert value == GONE or value[0]["public"] or value[0]["owner"] == self.user, (self, value)


@pytest.mark.parametrize("seed", [6])
async def test_everybody_ends_at_what_is_and_sees_nothing_that_is_not_theirs(
    ground,  # noqa: F811
    seed,
):
    chance = random.Random(seed)
    line = ground.line(services="on")  # what guests leave is relayed by this process
    for kind in ("items", "cards"):
        line.entity(kind)(_fetched_elsewhere)
    stock = Stock(ground, line, chance)
    async with line:
        await stock.create()
        here = {"directory": Path(__file__).parent, "environment": stock.environment}
        servers = [trunkline_serve("stock_app:app", **here), uvicorn("stock_app:app", **here)]
        async with servers[0], servers[1]:
            await _run(stock, servers, chance)


async def _run(stock, servers, chance):
    guests = [Guest(servers, user, chance) for user in USERS for _ in range(3)]
    for guest in guests:
        guest.watched = dict.fromkeys(chance.sample(KEYS, 10))
    async with asyncio.TaskGroup() as tasks:
        living = [tasks.create_task(guest.live()) for guest in guests]
        for number in range(CHANGES):
            await stock.change()
            if number % 120 == 60:
                await _strike(servers, number // 120)
            elif number % 120 == 100:
                await _raise_up(servers)
        await _raise_up(servers)
        for guest in guests:
            for key in guest.watched:
                await guest.shows(key, stock.seen_by(guest.user, key), within=30)
        for one in living:
            one.cancel()
    assert stock.number >= CHANGES
    assert sum(guest.comebacks for guest in guests) > len(guests) * 3
    assert not any(guest.failures for guest in guests)


async def _strike(servers, number):
    """Kill one; two of three times it comes back at once."""
    victim = servers[number % 2]
    await victim.kill9()
    if number % 3:
        await victim.restart()


async def _raise_up(servers):
    for server in servers:
        if not server.is_running():
            await server.restart()


async def _fetched_elsewhere(key, viewer):
    raise AssertionError("nobody watches in this process")
