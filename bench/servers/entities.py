"""Entities as their users serve them, under ``trunkline serve``, with a way to change them."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from trunkline import Identity, Trunkline

line = Trunkline()
values: dict[str, Any] = {}
calls = {"shared": 0, "own": 0, "kept": 0}


@line.entity("shared", scope=lambda _: None)
async def shared(key: Any, _: Any) -> Any:
    """Fetch for everybody at once."""
    calls["shared"] += 1
    await asyncio.sleep(0)
    return values.get(key.id)


@line.entity("own", batch=True)
async def own(wanted: Any) -> Any:
    """Fetch for each viewer by itself."""
    calls["own"] += 1
    await asyncio.sleep(0.001)
    return [[values.get(one.key.id), one.viewer.user_id] for one in wanted]


@line.entity("kept", scope=lambda _: None)
async def kept(*_: Any) -> Any:
    """Fetch from the line's own database."""
    calls["kept"] += 1
    database = line._store.database  # noqa: SLF001 - a read of its own, as an application has
    assert database is not None
    rows = await database.fetch("SELECT stamp FROM bench_kept")
    return rows[0][0] if rows else None


async def set_up() -> None:
    """Make the table that is changed together with its notices."""
    async with line.transaction() as tx:
        await tx.execute("CREATE TABLE IF NOT EXISTS bench_kept (stamp BIGINT)")
        await tx.execute("DELETE FROM bench_kept")
        await tx.execute("INSERT INTO bench_kept VALUES (0)")


async def keep() -> None:
    """Change a row and tell of it in one transaction; the time is taken before its commit."""
    async with line.transaction() as tx:
        await tx.execute(f"UPDATE bench_kept SET stamp = {time.monotonic_ns()}")
        await line.changed("kept", "1", tx=tx)


async def change(query: dict[str, str]) -> None:
    """Change an entity so many times within so many seconds."""
    count, seconds = int(query.get("count", 1)), float(query.get("seconds", 0))
    began = time.monotonic()
    for number in range(count):
        await asyncio.sleep(max(0.0, began + seconds * number / count - time.monotonic()))
        if query["entity"] == "kept":
            await keep()
        else:
            values["1"] = {"number": number, "last": number == count - 1}
            await line.changed(query["entity"], "1")


async def site(scope: Any, receive: Any, send: Any) -> None:
    """Take commands."""
    while scope["type"] == "lifespan":
        event = await receive()
        if event["type"] == "lifespan.startup":
            await set_up()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return
    if scope["path"] == "/change":
        await change(dict(parse_qsl(scope["query_string"].decode())))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": msgspec.json.encode(calls)})


def identify(request: Any) -> Identity:
    """Take everybody for who they say."""
    return Identity(user_id=request.query.get("user", [""])[0])


app = line.gateway(identify=identify, access=lambda *_: False, wrapped=site)
