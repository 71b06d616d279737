"""Guests' messages are carried however late their outbox is opened, and wherever they commit."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading

import pytest
import sqlalchemy
from sqlalchemy import orm

from tests.store.databases import arrived
from trunkline import Trunkline
from trunkline.errors import SchemaTooNewError
from trunkline.store.relay import Relay


async def test_an_outbox_that_could_not_be_opened_is_opened_by_the_next_publish(tmp_path):
    line, guest = Trunkline(f"sqlite:///{tmp_path}/line.db"), tmp_path / "guest.db"
    async with Trunkline(f"sqlite:///{guest}"):
        pass  # its tables are there
    async with line:
        line.attach_outbox(f"sqlite:///{guest}")
        with contextlib.closing(sqlite3.connect(guest)) as connection:
            connection.execute("INSERT INTO trunkline_store_schema VALUES (999, 'later')")
            connection.commit()
            with pytest.raises(SchemaTooNewError):
                await line.publish("/a", 1, tx=connection)
            connection.execute("DELETE FROM trunkline_store_schema WHERE version = 999")
            connection.commit()
            await line.publish("/a", 2, tx=connection)
            connection.commit()
        assert await arrived(line, 1) == [2]


async def test_a_session_may_be_committed_in_another_thread(sqlite_ground, monkeypatch):
    pokes = []
    monkeypatch.setattr(Relay, "poke", lambda _: pokes.append(threading.get_ident()))
    engine = sqlalchemy.create_engine(
        sqlite_ground.alchemy_url("pysqlite"), connect_args={"check_same_thread": False}
    )
    async with sqlite_ground.line() as line:
        with orm.Session(engine) as session:
            await line.publish("/a", 1, tx=session)
            await asyncio.to_thread(session.commit)
        async with asyncio.timeout(10):
            while not pokes:
                await asyncio.sleep(0.001)
    engine.dispose()
    assert set(pokes) == {threading.get_ident()}
