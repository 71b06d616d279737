"""What the SQLite engine says when its file cannot be had, and that nothing is half stored."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
from pathlib import Path

import pytest

from tests.log.test_sqlite_processes import said, worker
from tests.log.workers import draft, log_at
from trunkline.errors import (
    ConfigError,
    LineClosedError,
    LogCorruptError,
    LogError,
    LogUnavailableError,
    SchemaTooNewError,
)
from trunkline.log.sqlite.location import parse_location
from trunkline.model.channel import ChannelKey
from trunkline.model.message import Limits
from trunkline.sql.turnstile import Turnstile

A = ChannelKey("/a")


async def opened(path, **options):
    log = log_at(path, **options)
    await log.open()
    return log


async def told(*words):
    """Run a worker to its end and return what it said."""
    async with worker(*words) as process:
        lines = await said(process)
        assert await process.wait() == 0
        return lines


async def test_full_disk_stores_nothing_by_halves(tmp_path):
    """When the file may not grow, the append says so, all before it is kept, and it recovers."""
    lines = await told("fill", tmp_path / "line.db", 3_000_000)
    assert lines[0][:2] == ["error", "LogUnavailableError"]
    assert "space" in lines[0][2]
    _, stored, kept = lines[1]
    assert stored > 5
    assert kept == stored
    assert lines[2] == ["again", stored + 1, 2 * stored]


async def test_file_held_by_another_program(tmp_path):
    """A foreign transaction makes appends wait, then fail clearly; reads go on; later all works."""
    path = tmp_path / "line.db"
    log = await opened(path, busy_timeout=0.2)
    await log.append([[draft("/a", 1)]])
    guest = sqlite3.connect(path, isolation_level=None)
    guest.execute("BEGIN IMMEDIATE")
    with pytest.raises(LogUnavailableError, match="another program"):
        await log.append([[draft("/a", 2)]])
    assert len((await log.read(A, 0)).records) == 1
    guest.execute("ROLLBACK")
    guest.close()
    (receipts,) = await log.append([[draft("/a", 3)]])
    assert receipts[0].message_id == 2
    await log.close()


async def test_short_foreign_transaction_only_delays(tmp_path):
    """An append that meets a guest's short transaction waits for its end."""
    path = tmp_path / "line.db"
    log = await opened(path)
    guest = sqlite3.connect(path, isolation_level=None)
    guest.execute("BEGIN IMMEDIATE")
    task = asyncio.create_task(log.append([[draft("/a", 1)]]))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    guest.execute("COMMIT")
    guest.close()
    (receipts,) = await task
    assert receipts[0].message_id == 1
    await log.close()


async def test_stopped_process_inside_the_turn(tmp_path):
    """When another process keeps the turn, appends fail after the timeout and work once it left."""
    path = tmp_path / "line.db"
    log = await opened(path, busy_timeout=0.2)
    rival = Turnstile(tmp_path / "line.db.turn")
    assert rival.try_enter()
    results = await asyncio.gather(
        *(log.append([[draft("/a", n)]]) for n in range(3)), return_exceptions=True
    )
    assert all(isinstance(one, LogUnavailableError) for one in results)
    with pytest.raises(LogUnavailableError):
        await log.trim(A, 1)
    rival.leave()
    (receipts,) = await log.append([[draft("/a", "now")]])
    assert receipts[0].global_id == 1, "what failed was not stored later"
    rival.close()
    await log.close()


async def test_line_is_read_while_another_process_keeps_the_turn(tmp_path):
    """A stuck publisher stops nobody from opening the line and reading it."""
    path = tmp_path / "line.db"
    log = await opened(path)
    await log.append([[draft("/a", 1)]])
    await log.close()
    rival = Turnstile(tmp_path / "line.db.turn")
    assert rival.try_enter()
    log = await opened(path, busy_timeout=0.2)
    assert len((await log.read_all(0)).records) == 1
    rival.close()
    await log.close()


async def test_close_while_another_process_keeps_the_turn(tmp_path):
    """Closing does not hang on a turn that never comes."""
    log = await opened(tmp_path / "line.db", busy_timeout=0.2)
    rival = Turnstile(tmp_path / "line.db.turn")
    assert rival.try_enter()
    task = asyncio.create_task(log.append([[draft("/a", 1)]]))
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await log.close()
        with pytest.raises(LogUnavailableError):
            await task
    rival.close()


async def test_file_that_is_no_database(tmp_path):
    """Foreign bytes are left alone and named."""
    path = tmp_path / "line.db"
    path.write_bytes(b"this is no database, but long enough to look like one " * 100)
    with pytest.raises(LogCorruptError, match="restore"):
        await opened(path)
    assert path.read_bytes().startswith(b"this is no database")


async def read_everything(path):
    log = await opened(path)
    try:
        await log.read_all(0)
    finally:
        await log.close()


async def test_damaged_pages_are_corruption_not_data(tmp_path):
    """Pages overwritten with rubbish are reported on reading, never returned as messages."""
    path = tmp_path / "line.db"
    log = await opened(path)
    for number in range(40):
        await log.append([[draft("/a", [number, "x" * 2000])]])
    await log.close()
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        for page in range(8, size // 4096):
            file.seek(page * 4096)
            file.write(os.urandom(4096))
    with pytest.raises(LogCorruptError):
        await read_everything(path)


async def test_file_of_a_newer_release(tmp_path):
    """A newer schema is refused with both versions, and nothing is changed."""
    path = tmp_path / "line.db"
    await (await opened(path)).close()
    guest = sqlite3.connect(path)
    with guest:
        guest.execute("INSERT INTO trunkline_schema VALUES (999, 'future')")
    guest.close()
    with pytest.raises(SchemaTooNewError, match="999"):
        await opened(path)


async def test_place_that_cannot_be(tmp_path):
    """A missing directory, and a directory for a file, are said in words."""
    with pytest.raises(LogError, match="create it first"):
        await opened(tmp_path / "missing" / "line.db")
    with pytest.raises(LogError, match="is a directory"):
        await opened(tmp_path)


async def test_file_that_cannot_be_written():
    """A read-only place is an error that says which permission is missing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "line.db"
        await (await opened(path)).close()
        await asyncio.to_thread(path.chmod, 0o444)
        await asyncio.to_thread(path.parent.chmod, 0o555)
        lines = await told("forbidden", path)
        await asyncio.to_thread(path.parent.chmod, 0o755)
    ((kind, text),) = lines
    assert kind == "LogError"
    assert "permission" in text


async def test_failed_open_can_be_tried_again(tmp_path):
    """After the cause is gone the same object opens."""
    folder = tmp_path / "later"
    log = log_at(folder / "line.db")
    with pytest.raises(LogError):
        await log.open()
    folder.mkdir()
    await log.open()
    await log.append([[draft("/a", 1)]])
    await log.close()


async def test_everything_outlives_a_close(tmp_path):
    """Ids, floors, kinds, keys and epoch are the same after opening again."""
    path = tmp_path / "line.db"
    log = await opened(path)
    await log.append([[draft("/a", 1, key="k")], [draft("/a", 2)], [draft("/b", 3)]])
    await log.trim(A, 1)
    before = await log.read_all(0)
    await log.close()
    log = await opened(path)
    assert await log.read_all(0) == before
    (again,) = await log.append([[draft("/a", 1, key="k")]])
    assert again[0].is_repeat
    (receipts,) = await log.append([[draft("/a", 4)]])
    assert (receipts[0].message_id, receipts[0].global_id) == (3, 4)
    await log.close()


async def test_file_does_not_grow_with_what_is_trimmed(tmp_path):
    """Under a size limit alone, without a sweep, the file stays near what is kept."""
    path = tmp_path / "line.db"
    log = await opened(path, limits=Limits(100, None))
    sizes = []
    for _ in range(12):
        for _ in range(5):
            await log.append([[draft("/a", "x" * 500)] for _ in range(400)])
        sizes.append(path.stat().st_size)
    assert sizes[-1] < 3_000_000, "24000 messages of 500 bytes were published, 100 are kept"
    await log.close()


@pytest.mark.parametrize(
    ("url", "options", "hint"),
    [
        ("sqlite:///:memory:", {}, "memory://"),
        ("sqlite://", {}, "memory://"),
        ("sqlite:///", {}, "memory://"),
        ("sqlite://line.db", {}, "sqlite:///relative.db"),
        ("sqlite:line.db", {}, "sqlite:///relative.db"),
        ("sqlite:///line.db?color=red", {}, "busy_timeout, readers"),
        ("sqlite:///line.db?path=x", {}, "busy_timeout, readers"),
        ("sqlite:///line.db", {"timeout": 1}, "busy_timeout, readers"),
        ("sqlite:///line.db?busy_timeout=soon", {}, "busy_timeout"),
        ("sqlite:///line.db?busy_timeout=0", {}, "busy_timeout=0"),
        ("sqlite:///line.db?busy_timeout=nan", {}, "busy_timeout"),
        ("sqlite:///line.db?readers=0", {}, "readers=0"),
    ],
)
def test_url_that_makes_no_sense_is_refused(url, options, hint):
    """Each mistake in a URL is answered with how to write it, or with the known options."""
    with pytest.raises(ConfigError, match=hint):
        parse_location(url, options)


def test_url_names_a_relative_or_an_absolute_file():
    """Three slashes are relative, four absolute; escapes are undone; arguments beat the query."""
    assert str(parse_location("sqlite:///line.db", {}).path) == "line.db"
    assert str(parse_location("sqlite:////var/a%20b.db", {}).path) == "/var/a b.db"
    found = parse_location("sqlite:///x.db?busy_timeout=2.5&readers=2", {"readers": 3})
    assert (found.busy_timeout, found.readers) == (2.5, 3)


async def test_more_than_may_wait_waits_and_is_stored(tmp_path, monkeypatch):
    """Callers beyond the bound of the queue get their turn later; none is lost or refused."""
    monkeypatch.setattr("trunkline.log.sqlite.appends.QUEUED_DRAFTS", 10)
    log = await opened(tmp_path / "line.db")
    results = await asyncio.gather(*(log.append([[draft("/a", n)] * 3]) for n in range(50)))
    ids = sorted(receipt.message_id for (receipts,) in results for receipt in receipts)
    assert ids == list(range(1, 151))
    await log.close()


async def test_close_refuses_those_that_found_no_room(tmp_path, monkeypatch):
    """At a close, what is queued is stored, and whoever still waited for room is told."""
    monkeypatch.setattr("trunkline.log.sqlite.appends.QUEUED_DRAFTS", 2)
    log = await opened(tmp_path / "line.db")
    tasks = [asyncio.create_task(log.append([[draft("/a", n)]])) for n in range(5)]
    await asyncio.sleep(0)
    await log.close()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one) for one in results] == [list, list] + [LineClosedError] * 3
