"""The table that consumers write to, a row for each message's effect; here without Trunkline."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from urllib.parse import urlsplit

import asyncpg

from trunkline.sql.database import Dialect

#: Nothing is unique here: what happens twice shall be seen twice.
TABLE = "faults_tally"
INSERT = {
    Dialect.SQLITE: f"INSERT INTO {TABLE} (channel, nonce) VALUES (?, ?)",
    Dialect.POSTGRES: f"INSERT INTO {TABLE} (channel, nonce) VALUES ($1, $2)",
}
SELECT = f"SELECT channel, nonce FROM {TABLE} ORDER BY seq"
COLUMNS = "channel text NOT NULL, nonce text NOT NULL"

#: A channel and what tells its messages apart.
Effect = tuple[str, str]


async def make_tally(url: str) -> None:
    """Make the table in a line's database."""
    if url.startswith("sqlite"):
        await asyncio.to_thread(
            _ask, url, f"CREATE TABLE {TABLE} (seq INTEGER PRIMARY KEY, {COLUMNS})"
        )
    else:
        number = "bigint GENERATED ALWAYS AS IDENTITY"
        await _ask_server(url, f"CREATE TABLE {TABLE} (seq {number}, {COLUMNS})")


async def effects_of(url: str) -> Sequence[Effect]:
    """Return all effects that are committed, in their order."""
    if url.startswith("sqlite"):
        return await asyncio.to_thread(_ask, url, SELECT)
    return await _ask_server(url, SELECT)


def _ask(url: str, statement: str) -> Sequence[Effect]:
    with closing(sqlite3.connect(urlsplit(url).path, timeout=60.0)) as connection, connection:
        return [(channel, nonce) for channel, nonce in connection.execute(statement)]


async def _ask_server(url: str, statement: str) -> Sequence[Effect]:
    connection = await asyncpg.connect(url.partition("?")[0])
    try:
        return [(row[0], row[1]) for row in await connection.fetch(statement)]
    finally:
        await connection.close()
