"""Models and events tell of changed entities by themselves, if and only if they are committed."""

# ruff: noqa: PT012 - what is undone is a whole block

from __future__ import annotations

import asyncio
import contextlib
import functools

import pytest
from sqlalchemy import ForeignKey, create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, sessionmaker

from tests.cqrs.shop import AddItem, OpenCart, Shop
from tests.entities.screen import GONE, Screen
from tests.gateway.serving import serving
from tests.store.databases import (  # noqa: F401 - fixtures
    ground,
    postgres_ground,
    postgres_url,
    schema,
    sqlite_ground,
    until,
)
from tests.store.test_django import _forget_connections, site  # noqa: F401 - a fixture
from trunkline import Trunkline
from trunkline.entities.notices import notice_channel
from trunkline.errors import ConfigError
from trunkline.integrations import events
from trunkline.integrations.sqlalchemy import tell_changes
from trunkline.model.channel import ChannelKey
from trunkline.wire.entity_sync import parse_notice


class Model(DeclarativeBase):
    pass


class Order(Model):
    __tablename__ = "told_order"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


class Line(Model):
    __tablename__ = "told_line"
    order_id: Mapped[int] = mapped_column(ForeignKey("told_order.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)


class Leaf(Model):
    __tablename__ = "told_leaf"
    id: Mapped[int] = mapped_column(primary_key=True)
    book_id: Mapped[int | None] = mapped_column(ForeignKey("told_book.id"))


class Book(Model):
    __tablename__ = "told_book"
    id: Mapped[int] = mapped_column(primary_key=True)
    leaves: Mapped[list[Leaf]] = relationship(cascade="all, delete-orphan")


async def nothing(key, viewer):
    return None


async def told(line, entity):
    """Return the ids of the notices so far."""
    key = ChannelKey(notice_channel(line.entity_prefix, entity))
    page = await line._log.read(key, 0)
    return [parse_notice(bytes(record.data)).id for record in page.records]


async def tells(line, entity, wanted):
    async def holds():
        return await told(line, entity) == wanted

    try:
        await until(holds)
    except AssertionError:
        assert await told(line, entity) == wanted


def alchemy(ground):  # noqa: F811
    driver = {"sqlite": "pysqlite", "postgres": "psycopg"}[ground.dialect]
    engine = create_engine(ground.alchemy_url(driver))
    Model.metadata.drop_all(engine)
    Model.metadata.create_all(engine)
    return engine


async def test_a_sessions_flushes_tell_what_they_changed_if_it_commits(ground):  # noqa: F811
    engine = alchemy(ground)
    sessions = sessionmaker(engine)
    async with ground.line(services="on") as line:
        line.entity("orders")(nothing)
        models = {Order: "orders", Line: ("orders", lambda one: one.order_id)}
        end = tell_changes(line, models, sessions=sessions)

        def work():
            with sessions.begin() as session:
                session.add(Order(id=1, text="a"))
            with pytest.raises(ZeroDivisionError), sessions.begin() as session:
                session.add(Order(id=2, text="undone"))
                session.flush()
                raise ZeroDivisionError
            with sessions.begin() as session:
                order = session.get(Order, 1)
                order.text = "b"
                order.text = "a"
                order.text = "c"
                session.add(Line(order_id=1, number=1))
            with sessions.begin() as session:
                session.get(Order, 1)
                session.add_all([Order(id=3, text="x"), Order(id=4, text="y")])
            with sessions.begin() as session:
                session.delete(session.get(Order, 3))
            end()
            with sessions.begin() as session:
                session.delete(session.get(Order, 4))

        await asyncio.to_thread(work)
        await tells(line, "orders", ["1", "1", "3", "4", "3"])
    engine.dispose()


async def test_an_orphan_that_a_flush_deletes_is_told(ground):  # noqa: F811
    engine = alchemy(ground)
    sessions = sessionmaker(engine)
    async with ground.line(services="on") as line:
        line.entity("pages")(nothing)
        end = tell_changes(line, {Leaf: "pages"}, sessions=sessions)

        def work():
            with sessions.begin() as session:
                session.add(Book(id=1, leaves=[Leaf(id=1), Leaf(id=2)]))
            with sessions.begin() as session:
                book = session.get(Book, 1)
                book.leaves.pop()

        await asyncio.to_thread(work)
        end()
        await tells(line, "pages", ["1", "2", "2"])
    engine.dispose()


async def test_asynchronous_sessions_tell_too(ground):  # noqa: F811
    alchemy(ground).dispose()
    driver = {"sqlite": "aiosqlite", "postgres": "asyncpg"}[ground.dialect]
    engine = create_async_engine(ground.alchemy_url(driver))
    async with ground.line(services="on") as line:
        line.entity("orders")(nothing)
        end = tell_changes(line, {Order: "orders"})
        async with AsyncSession(engine) as session, session.begin():
            session.add(Order(id=1, text="a"))
        with pytest.raises(ZeroDivisionError):
            async with AsyncSession(engine) as session, session.begin():
                session.add(Order(id=2, text="a"))
                await session.flush()
                raise ZeroDivisionError
        await tells(line, "orders", ["1"])
        end()
    await engine.dispose()


def test_what_has_no_single_key_must_be_told_how():
    line = Trunkline("memory://")
    with pytest.raises(ConfigError, match="several columns"):
        tell_changes(line, {Line: "lines"})
    with pytest.raises(ConfigError, match="no mapped class"):
        tell_changes(line, {str: "texts"})


@functools.cache
def _note():
    from django.db import models

    class Note(models.Model):
        text = models.TextField()

        class Meta:
            app_label = "told"

    return Note


async def test_djangos_models_tell_what_they_changed_if_it_commits(site):  # noqa: F811
    from django.db import connection, transaction

    from trunkline.integrations.django import tell_changes as tell_models

    note_model = _note()

    async with site.line(services="on") as line:
        line.entity("notes")(nothing)
        end = tell_models(line, {note_model: "notes"})

        def view():
            try:
                with contextlib.suppress(Exception), connection.schema_editor() as editor:
                    editor.delete_model(note_model)
                with connection.schema_editor() as editor:
                    editor.create_model(note_model)
                with transaction.atomic():
                    note = note_model.objects.create(id=1, text="a")
                    with pytest.raises(ZeroDivisionError), transaction.atomic():
                        note_model.objects.create(id=2, text="undone")
                        raise ZeroDivisionError
                note.text = "b"
                note.save()
                with transaction.atomic():
                    note.delete()
            finally:
                end()
                _forget_connections()

        await asyncio.to_thread(view)
        await tells(line, "notes", ["1", "1", "1"])


async def test_events_tell_by_pattern_with_the_command_that_made_them(ground):  # noqa: F811
    shop = Shop(ground)
    events.tell_changes(shop.line, {"cart.:cart_id.*": "carts"})

    @shop.line.entity("carts")
    async def carts(key, viewer):
        found = await shop.rows()
        return next((list(row) for row in found if row[0] == key.id), None)

    async with shop as line, serving(line.gateway(open=True)) as port, Screen(port) as screen:
        await screen.watch(("carts", "c1"))
        await screen.shows(("carts", "c1"), GONE)
        await line.send(OpenCart("c1"))
        await screen.until(lambda one: one.shown["carts", "c1"] == ["c1", 0])
        await line.send(AddItem("c1", "lamp"))
        await screen.until(lambda one: one.shown["carts", "c1"] == ["c1", 1])
        assert await told(line, "carts") == ["c1", "c1"]


def test_a_pattern_must_capture_one_id():
    line = Trunkline("memory://")
    for pattern, told_ in (("cart.*", "carts"), (":a.:b", "carts"), (":a.:b", "carts:c")):
        with pytest.raises(ConfigError, match="capture"):
            events.tell_changes(line, {pattern: told_})
