"""The two databases that a store may be in, alike for the tests."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest

from tests.log.postgres import postgres_url, schema  # noqa: F401 - fixtures
from trunkline import Trunkline
from trunkline.runtime.clock import SystemClock
from trunkline.sql.opening import place_of

SECONDS = 15.0


class Ground(NamedTuple):
    """Be a database with a table ``note (text)``, and how to reach it."""

    dialect: str
    url: str  # of the line
    bare: str  # of the database, for other libraries
    mark: str  # the first placeholder

    def line(self, **settings: Any) -> Trunkline:
        return Trunkline(self.url, **settings)

    def alchemy_url(self, driver: str) -> str:
        return self.bare.replace("://", f"+{driver}://", 1).replace("postgres+", "postgresql+")


@pytest.fixture(params=["sqlite", "postgres"])
def ground(request, tmp_path):
    return request.getfixturevalue(f"{request.param}_ground")


@pytest.fixture
def sqlite_ground(tmp_path):
    path = tmp_path / "line.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE note (text TEXT)")
    return Ground("sqlite", f"sqlite:///{path}", f"sqlite:///{path}", "?")


@pytest.fixture
async def postgres_ground(postgres_url, schema):  # noqa: F811
    """Return a database whose line has a schema of its own; guests' table is in the public one."""
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("DROP TABLE IF EXISTS note")
    await connection.execute("CREATE TABLE note (text text)")
    await connection.close()
    mark = "&" if "?" in postgres_url else "?"
    return Ground("postgres", f"{postgres_url}{mark}schema={schema}", postgres_url, "$1")


async def notes(ground: Ground) -> list[str]:
    database = await place_of(ground.bare).open()
    try:
        return [row[0] for row in await database.fetch("SELECT text FROM note ORDER BY text")]
    finally:
        await database.close()


async def arrived(line: Trunkline, count: int, channel: str = "/a") -> list[Any]:
    """Wait until a channel has so many messages, and return their data."""
    deadline = SystemClock().monotonic() + SECONDS
    while True:
        found = [message.data for message in await line.backlog(channel)]
        if len(found) >= count or time.monotonic() > deadline:
            return found
        await _pause()


async def until(holds) -> None:
    """Wait until an asynchronous condition holds."""
    deadline = time.monotonic() + SECONDS
    while not await holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        await _pause()


async def _pause() -> None:
    import asyncio

    await asyncio.sleep(0.002)


def path_of(ground: Ground) -> Path:
    return Path(ground.bare.removeprefix("sqlite:///"))
