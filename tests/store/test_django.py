"""Django's connection as a guest: publishes in ``atomic`` blocks, from plain synchronous code."""

# ruff: noqa: PT012 - what is undone is a whole block

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import unquote, urlsplit

import django
import pytest
from django.conf import settings
from django.db import connections, transaction
from django.db.utils import ConnectionHandler

from tests.store.databases import arrived, notes, path_of


def database(ground):
    if ground.dialect == "sqlite":
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(path_of(ground)),
            "OPTIONS": {"transaction_mode": "IMMEDIATE"},
        }
    parts = urlsplit(ground.bare)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path[1:],
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname,
        "PORT": parts.port,
    }


@pytest.fixture
def site(ground, monkeypatch):
    """Configure Django for one test's database."""
    if not settings.configured:
        settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3"}})
        django.setup()
    handler = ConnectionHandler({"default": database(ground)})
    monkeypatch.setattr(connections, "_settings", handler.settings)
    monkeypatch.setattr(connections, "settings", handler.settings)
    _forget_connections()  # of the test before, to another database
    yield ground
    _forget_connections()


def _forget_connections():
    connections.close_all()
    with contextlib.suppress(AttributeError):
        del connections["default"]


def _view(line, connection):
    """Be what a view does, in a thread of its own."""
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("INSERT INTO note VALUES ('row')")
            line.publish_in(connection, "/a", 1)
            with pytest.raises(ZeroDivisionError), transaction.atomic():
                line.publish_in(connection, "/a", "undone")
                raise ZeroDivisionError
            with transaction.atomic():
                line.publish_in(connection, "/a", 2)
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            line.publish_in(connection, "/a", "undone")
            raise ZeroDivisionError
        line.publish_in(connection, "/a", 3)
    finally:
        _forget_connections()  # the thread will serve other tests too


async def test_a_view_publishes_if_its_transaction_commits(site):
    from django.db import connection

    async with site.line(services="on") as line:
        await asyncio.to_thread(_view, line, connection)
        assert await arrived(line, 3) == [1, 2, 3]
        assert await notes(site) == ["row"]


async def test_its_commit_pokes_the_relay(site):
    from django.db import connection

    poked = []
    async with site.line(services="off") as line:
        line._store._poke_from_anywhere = lambda: poked.append(1)

        def view():
            with transaction.atomic():
                line.publish_in(connection, "/a", 1)
                assert not poked
            _forget_connections()

        await asyncio.to_thread(view)
        assert poked == [1]
