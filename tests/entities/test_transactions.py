"""A change is told with the transaction that makes it, whoever's that is."""

# ruff: noqa: PT012 - what is undone is a whole block

from __future__ import annotations

import asyncio
import contextlib
import sqlite3

import asyncpg
import pytest

from tests.entities.screen import Screen
from tests.entities.shelves import Shelf
from tests.gateway.serving import serving
from tests.store.databases import (  # noqa: F401 - fixtures
    ground,
    postgres_ground,
    postgres_url,
    schema,
    sqlite_ground,
)
from trunkline import Trunkline
from trunkline.errors import UsageError

ITEM = ("items", "1")


@contextlib.asynccontextmanager
async def served(ground):  # noqa: F811
    line, shelf = ground.line(services="on"), Shelf()
    line.entity("items")(shelf.fetch)
    async with line, serving(line.gateway(open=True)) as port, Screen(port) as screen:
        await screen.watch(ITEM)
        await screen.until(lambda one: one.shown)
        yield line, shelf, screen


async def test_in_the_lines_own_transaction(ground):  # noqa: F811
    async with served(ground) as (line, shelf, screen):
        with pytest.raises(ZeroDivisionError):
            async with line.transaction() as tx:
                shelf.things[ITEM] = "undone"
                await line.changed(*ITEM, tx=tx)
                raise ZeroDivisionError
        async with line.transaction() as tx:
            with contextlib.suppress(ZeroDivisionError):
                async with tx.savepoint():
                    await line.changed("items", "undone", tx=tx)
                    raise ZeroDivisionError
            shelf.things[ITEM] = "committed"
            await line.changed("items", 1, "2", "2", tx=tx)
            assert [one.data for one in tx.events] == [
                {"entity": "items", "id": "1"},
                {"entity": "items", "id": "2"},
            ]
        await screen.shows(ITEM, "committed")
        assert [value for _, value in screen.pushes][1:] == [["committed"]]


async def test_in_a_guests_transaction(ground):  # noqa: F811
    async with served(ground) as (line, shelf, screen):
        if ground.dialect == "postgres":
            connection = await asyncpg.connect(ground.bare)
            with pytest.raises(ZeroDivisionError):
                async with connection.transaction():
                    await line.changed(*ITEM, tx=connection)
                    raise ZeroDivisionError
            async with connection.transaction():
                shelf.things[ITEM] = "guest"
                await line.changed(*ITEM, tx=connection)
            await connection.close()
        else:
            # A guest that waits for the file waits in a thread of its own.
            await asyncio.to_thread(change_as_guest, line, shelf, ground)
        await screen.shows(ITEM, "guest")
        assert len(shelf.asked) == 2


def change_as_guest(line, shelf, ground):  # noqa: F811
    path = ground.bare.removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as guest:
        guest.execute("BEGIN IMMEDIATE")
        line.changed_in(guest, *ITEM)
        guest.execute("ROLLBACK")
        guest.execute("BEGIN IMMEDIATE")
        shelf.things[ITEM] = "guest"
        line.changed_in(guest, *ITEM)
        guest.execute("COMMIT")


async def test_what_is_no_transaction_is_refused(ground):  # noqa: F811
    async with served(ground) as (line, _, _):
        with pytest.raises(UsageError, match="tx="):
            await line.changed(*ITEM, tx=object())
        with pytest.raises(UsageError):
            line.changed_in(object(), *ITEM)
        with pytest.raises(UsageError):
            line.changed_in(None, "nothing", "1")


async def test_a_line_that_is_off_tells_nothing():
    line = Trunkline("memory://", off=True)
    line.entity("items")(Shelf().fetch)
    await line.changed(*ITEM)
