"""What the doctor finds in a store, on both databases."""

from __future__ import annotations

import asyncio

from tests.channels.consuming import consuming, until
from trunkline.sql.opening import place_of
from trunkline.store import examination


async def look(ground):
    """Examine a store from beside, and return the findings by subject."""
    database = await place_of(ground.url).open()

    async def head() -> int:
        return 1_000_000

    try:
        found = [one async for one in examination.examine(database, head, asyncio.sleep)]
    finally:
        await database.close()
    return {one.subject: one for one in found}


async def test_a_store_without_tables_is_told_to_be_migrated(ground):
    found = await look(ground)
    assert list(found) == ["store"]
    assert found["store"].fix == "trunkline migrate"


async def test_a_consumer_at_work_is_found_at_work(ground):
    line = ground.line()

    @line.consumer("c", "/a")
    async def handle(message):
        del message

    async with consuming(line):
        await line.publish("/a", 1)

        async def is_held() -> bool:
            return any(one.holder for one in await line.consumers.list())

        await until(is_held)
        found = await look(ground)
    assert found["lease consumer:c"].level == "ok"
    assert "held by" in found["lease consumer:c"].detail
    assert found["consumer c"].level == "warn", "it is told to be far behind"
    assert found["outbox"].level == "ok"
    assert ("outbox, dead rows" in found) == (ground.dialect == "postgres")


async def test_dead_rows_are_pointed_out(postgres_ground, monkeypatch):
    ground = postgres_ground
    async with ground.line():
        pass
    monkeypatch.setattr(examination, "MANY_DEAD", 0)
    found = (await look(ground))["outbox, dead rows"]
    assert found.level == "warn"
    assert "VACUUM" in found.fix
