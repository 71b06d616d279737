"""Looking at a PostgreSQL line from outside: the server, its settings, the line's tables."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, Final

from trunkline.errors import LogError
from trunkline.log.finding import Finding
from trunkline.sql.migrator import migrations
from trunkline.sql.postgres.address import Address
from trunkline.sql.postgres.database import (
    OLDEST_SERVER,
    Connection,
    Database,
    check_server,
)
from trunkline.sql.postgres.faults import FAILURES, fault_of
from trunkline.sql.postgres.migrator import version_of

ASKED: Final = 20
SLOW_ANSWER: Final = 0.005
OLD_TRANSACTION: Final = 60
SPARE_CONNECTIONS: Final = 10

_SETTINGS: Final = (
    "SELECT name, setting FROM pg_settings WHERE name = ANY("
    "'{fsync,full_page_writes,synchronous_commit,max_connections,default_transaction_isolation}')"
)
_IN_USE: Final = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
_OLDEST: Final = (
    "SELECT coalesce(max(extract(epoch FROM now() - xact_start)), 0)::float8 "
    "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
_MAY_CREATE: Final = "SELECT has_database_privilege(current_database(), 'CREATE')"
_LINE: Final = (
    "SELECT head, (SELECT count(*) FROM {schema}.channel), "
    "pg_total_relation_size('{schema}.message') FROM {schema}.line"
)


def examine(address: Address) -> list[Finding]:
    """Look at everything that guarantees or speed rest on; changes nothing. Blocks.

    Args:
        address: Where the line is, or shall be.
    """
    return asyncio.run(_examine(address))


async def _examine(address: Address) -> list[Finding]:
    if address.pool is not None:
        return [Finding("warn", "server", "not looked at: a pool was given", "give its URL")]
    database = Database(address)
    found: list[Finding] = []
    try:
        connection = await database.connect()
    except LogError as error:
        return [Finding("fail", "server", str(error), "correct the URL, or start the server")]
    try:
        found.extend([finding async for finding in _findings(connection, address)])
    except FAILURES as error:
        fault = fault_of(error, address)
        found.append(Finding("fail", "server", str(fault), "see the server's log"))
    finally:
        await database.give_back(connection)
    return found


async def _findings(connection: Connection, address: Address) -> AsyncIterator[Finding]:
    version = await connection.fetchval("SHOW server_version")
    try:
        await check_server(connection, address)
    except LogError as error:
        fix = f"use a primary of PostgreSQL {OLDEST_SERVER // 10000} or newer, in UTF-8"
        yield Finding("fail", "server", str(error), fix)
        return
    yield Finding("ok", "server", f"PostgreSQL {version} at {address.place}")
    settings = {row["name"]: row["setting"] for row in await connection.fetch(_SETTINGS)}
    yield _durability(settings)
    yield await _connections(connection, address, settings)
    yield await _latency(connection)
    yield await _transactions(connection)
    yield _pooler(address)
    yield await _schema(connection, address)


def _durability(settings: dict[str, str]) -> Finding:
    off = [name for name in ("fsync", "full_page_writes") if settings[name] == "off"]
    if off:
        detail = f"{' and '.join(off)} off: a crash of the server's machine loses messages"
        fix = f"ALTER SYSTEM SET {off[0]} = on; SELECT pg_reload_conf()"
        return Finding("fail", "durability", detail, fix)
    if settings["synchronous_commit"] == "off":
        return Finding(
            "ok", "durability", "synchronous_commit is off, and set on for each append of ours"
        )
    detail = f"fsync on, synchronous_commit {settings['synchronous_commit']}"
    return Finding("ok", "durability", detail)


async def _connections(
    connection: Connection, address: Address, settings: dict[str, str]
) -> Finding:
    used, most = await connection.fetchval(_IN_USE), int(settings["max_connections"])
    detail = f"{used} of {most} in use; a process of ours takes up to {address.readers + 2}"
    if most - used < SPARE_CONNECTIONS:
        fix = "raise max_connections, or put PgBouncer before it and say ?pooler=transaction"
        return Finding("warn", "connections", detail, fix)
    return Finding("ok", "connections", detail)


async def _latency(connection: Connection) -> Finding:
    times = []
    for _ in range(ASKED):
        started = time.perf_counter()
        await connection.fetchval("SELECT 1")
        times.append(time.perf_counter() - started)
    middle = sorted(times)[ASKED // 2]
    detail = f"a question takes {middle * 1000:.2f} ms (median of {ASKED})"
    if middle > SLOW_ANSWER:
        fix = "put the server nearer: an append holds the line's tail for about a commit"
        return Finding("warn", "distance", detail, fix)
    return Finding("ok", "distance", detail)


async def _transactions(connection: Connection) -> Finding:
    oldest = await connection.fetchval(_OLDEST)
    detail = f"the oldest in this database is {oldest:.0f} s old"
    if oldest > OLD_TRANSACTION:
        fix = "end it: while it lasts, deleted messages keep their space and scans slow down"
        return Finding("warn", "transactions", detail, fix)
    return Finding("ok", "transactions", detail)


def _pooler(address: Address) -> Finding:
    if address.is_pooled:
        return Finding(
            "ok", "wake-up", "pooler=transaction: news is asked for, up to 50 ms late when idle"
        )
    return Finding("ok", "wake-up", "LISTEN; behind PgBouncer say ?pooler=transaction")


async def _schema(connection: Connection, address: Address) -> Finding:
    known, found = migrations("postgres")[-1].version, await version_of(connection, address)
    name = f"schema {address.schema!r}"
    if found > known:
        detail = f"{name} has version {found}, this release knows {known}"
        return Finding("fail", "line", detail, "upgrade trunkline")
    if found == 0:
        return await _missing(connection, address, name)
    row: Any = await connection.fetchrow(address.sql(_LINE))
    head, channels, size = row
    detail = f"{name}, version {found}: {head} messages so far on {channels} channels, "
    return Finding("ok", "line", f"{detail}{size / 1024**2:.1f} MiB kept")


async def _missing(connection: Connection, address: Address, name: str) -> Finding:
    exists = await connection.fetchval("SELECT to_regnamespace($1)", address.quoted_schema)
    if exists is None and not await connection.fetchval(_MAY_CREATE):
        return Finding(
            "fail",
            "line",
            f"{name} is not there, and this user may not create it",
            f"as the owner: CREATE SCHEMA {address.quoted_schema} AUTHORIZATION this_user",
        )
    return Finding("warn", "line", f"{name} holds no line yet", "the first use makes one")
