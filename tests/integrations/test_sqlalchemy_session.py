"""Handlers may write through SQLAlchemy, and what they write shares the command's fate."""

from __future__ import annotations

import contextlib

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tests.cqrs.shop import AddItem, ItemAdded, OpenCart, Shop
from tests.store.databases import (  # noqa: F401 - fixtures
    ground,
    postgres_ground,
    postgres_url,
    schema,
    sqlite_ground,
)
from trunkline.errors import UsageError
from trunkline.integrations.sqlalchemy_session import connection_on, session_on


class Base(DeclarativeBase): ...


class Row(Base):
    __tablename__ = "cart"
    cart_id: Mapped[str] = mapped_column(primary_key=True)
    items: Mapped[int]


@pytest.fixture
def shop(ground):  # noqa: F811
    return Shop(ground)


async def test_a_session_writes_in_the_commands_transaction(shop):
    @shop.line.projector(ItemAdded)
    async def keep(event: ItemAdded, tx):
        async with session_on(tx) as session:
            session.add(Row(cart_id=event.item, items=event.count))
            await session.commit()  # which is the command's to do
            found = await session.get(Row, event.cart_id)
            found.items += 10
        if event.item == "bad":
            raise ValueError("no")

    async with shop as line:
        await line.send(OpenCart("a"))
        await line.send(AddItem("a", "pen", 3))
        with pytest.raises(Exception, match="no"):
            await line.send(AddItem("a", "bad"))
        assert await shop.rows() == [("a", 11), ("pen", 3)]


async def test_core_writes_on_the_same_connection(shop):
    async with shop as line:
        async with line.transaction() as tx:
            async with connection_on(tx) as connection:
                await connection.execute(insert(Row), [{"cart_id": "x", "items": 1}])
                found = (await connection.execute(select(Row.items))).scalar_one()
            assert found == 1
            assert [tuple(row) for row in await tx.fetch("SELECT items FROM cart")] == [(1,)]

        async def undone():
            async with line.transaction() as tx, connection_on(tx) as connection:
                await connection.execute(insert(Row), [{"cart_id": "y", "items": 1}])
                raise RuntimeError

        with pytest.raises(RuntimeError):
            await undone()
        assert await shop.rows() == [("x", 1)]


async def test_a_part_that_fails_is_undone_alone(shop):
    async with shop as line:
        async with line.transaction() as tx, session_on(tx) as session:
            session.add(Row(cart_id="a", items=1))
            await session.flush()
            session.expunge_all()
            with contextlib.suppress(IntegrityError):
                async with session.begin_nested():
                    session.add(Row(cart_id="a", items=2))
                    await session.flush()
            session.add(Row(cart_id="b", items=3))
        assert await shop.rows() == [("a", 1), ("b", 3)]


async def test_a_rollback_that_would_undo_nothing_undoes_all(shop):
    async def rolled_back(line):
        async with line.transaction() as tx, session_on(tx) as session:
            session.add(Row(cart_id="a", items=1))
            await session.flush()
            await session.rollback()

    async with shop as line:
        with pytest.raises(UsageError, match="begin_nested"):
            await rolled_back(line)
        assert await shop.rows() == []
