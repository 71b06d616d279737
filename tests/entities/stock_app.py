"""A server of entities for other processes' tests: who may see what is in the rows themselves."""

from __future__ import annotations

import asyncio
import os
import sqlite3

import asyncpg

from trunkline import Identity, Trunkline

TABLE = os.environ["STOCK_TABLE"]
BARE = os.environ["STOCK_DATABASE"]
COLUMNS = "kind, id, owner, public, number"

line = Trunkline()
pool = None


async def read(kind, ids):
    """Return rows by id."""
    global pool
    if BARE.startswith("sqlite"):
        return await asyncio.to_thread(read_file, kind, ids)
    if pool is None:
        pool = asyncio.ensure_future(asyncpg.create_pool(BARE, min_size=1, max_size=4))
    found = await (await asyncio.shield(pool)).fetch(
        f"SELECT {COLUMNS} FROM {TABLE} WHERE kind = $1 AND id = ANY($2)", kind, list(ids)
    )
    return {row["id"]: tuple(row) for row in found}


def read_file(kind, ids):
    connection = sqlite3.connect(BARE.removeprefix("sqlite:///"))
    try:
        marks = ",".join("?" * len(ids))
        found = connection.execute(
            f"SELECT {COLUMNS} FROM {TABLE} WHERE kind = ? AND id IN ({marks})", (kind, *ids)
        )
        return {row[1]: row for row in found}
    finally:
        connection.close()


def visible(row, viewer):
    if row is None:
        return None
    _, key_id, owner, public, number = row
    if not (public or owner == viewer.user_id or viewer.secret == "master"):
        return None
    return {"id": key_id, "owner": owner, "public": bool(public), "number": number}


@line.entity("items")
async def items(key, viewer):
    return visible((await read("items", [key.id])).get(key.id), viewer)


@line.entity("cards", batch=True, scope=lambda viewer: [viewer.user_id, viewer.secret])
async def cards(wanted):
    found = await read("cards", {one.key.id for one in wanted})
    return [visible(found.get(one.key.id), one.viewer) for one in wanted]


def identify(request):
    return Identity(user_id=request.query["user"][0])


app = line.gateway(identify=identify, access=lambda identity, channel: False)
