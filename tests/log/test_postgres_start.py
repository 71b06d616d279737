"""Opening a PostgreSQL line: wrong URLs, logins and servers, newer schemas, many at once."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import asyncpg
import pytest

from tests.log.postgres import log_at, opened, postgres_url, schema  # noqa: F401 - fixtures
from trunkline.errors import (
    ConfigError,
    LogError,
    LogUnavailableError,
    MissingExtraError,
    SchemaTooNewError,
)
from trunkline.log.postgres import PostgresLog
from trunkline.log.registry import engine_for
from trunkline.model import codec
from trunkline.sql.postgres.address import parse_address
from trunkline.testing.contracts.support import append, plain, values, whole_line
from trunkline.testing.servers import free_port

ROOT = Path(__file__).parents[2]


async def refusal(url, schema, **options):  # noqa: F811
    """Return why a line cannot be opened."""
    log = log_at(url, schema, **options)
    with pytest.raises(LogError) as caught:
        await log.open()
    assert "secret" not in str(caught.value)
    return caught.value


def as_user(url, user, password="secret"):
    """Return a URL with another user."""
    return f"postgresql://{user}:{password}@{url.rpartition('@')[2]}"


def test_both_schemes_are_registered():
    """The registry finds the engine under either scheme."""
    assert engine_for("postgresql://x/y") is engine_for("postgres://x/y") is PostgresLog


async def test_server_that_is_not_there(schema):  # noqa: F811
    """Nobody listens: the error says so and names the place, without the password."""
    url = f"postgresql://me:secret@127.0.0.1:{free_port()}/db"
    error = await refusal(url, schema)
    assert isinstance(error, LogUnavailableError)
    assert "me@127.0.0.1" in str(error)
    assert "see that it runs" in str(error)


async def test_login_that_is_refused(postgres_url, schema):  # noqa: F811
    """An unknown user is named, with where to look."""
    assert "refused the login" in str(await refusal(as_user(postgres_url, "nobody_here"), schema))


async def test_database_that_does_not_exist(postgres_url, schema):  # noqa: F811
    """A wrong database name is named."""
    url = postgres_url.rpartition("/")[0] + "/no_such_database"
    assert "createdb" in str(await refusal(url, schema))


async def test_user_who_may_not_create_the_schema(postgres_url, schema):  # noqa: F811
    """Without the privilege the error names the grant; with a schema of its own it works."""
    user = schema.replace("test", "user")
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'secret'")
    try:
        url = as_user(postgres_url, user)
        assert "GRANT CREATE ON DATABASE" in str(await refusal(url, schema))
        await connection.execute(f"CREATE SCHEMA {schema} AUTHORIZATION {user}")
        async with opened(url, schema) as open_log:
            log = await open_log()
            await append(log, [plain("/a", 1)])
    finally:
        await connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE; DROP ROLE {user}")
        await connection.close()


async def test_server_that_is_too_old(postgres_url, schema, monkeypatch):  # noqa: F811
    """An old server is told by its version and the oldest that will do."""
    monkeypatch.setattr("trunkline.sql.postgres.database.OLDEST_SERVER", 990000)
    assert "upgrade it to 99 or newer" in str(await refusal(postgres_url, schema))


async def test_option_the_server_does_not_know(postgres_url, schema):  # noqa: F811
    """A misspelt option in the URL is found when it is opened."""
    error = await refusal(postgres_url + "?lock_timeot=3", schema)
    assert "lock_timeot" in str(error)
    assert "does not know an option" in str(error)


async def test_schema_of_a_newer_release(postgres_url, schema):  # noqa: F811
    """A line written by a newer release is left alone."""
    async with opened(postgres_url, schema) as open_log:
        await open_log()
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(f"INSERT INTO {schema}.schema_version VALUES (999, 'later')")
    await connection.close()
    error = await refusal(postgres_url, schema)
    assert isinstance(error, SchemaTooNewError)
    assert "version 999" in str(error)
    findings = await asyncio.to_thread(PostgresLog.examine, postgres_url, {"schema": schema})
    assert ("fail", "line") in {(one.level, one.subject) for one in findings}


async def test_functions_that_are_gone_are_named(postgres_url, schema):  # noqa: F811
    """Whoever dropped a part of the schema is told to run the migrations."""
    async with opened(postgres_url, schema) as open_log:
        log = await open_log()
        connection = await asyncpg.connect(postgres_url)
        await connection.execute(f"DROP SCHEMA {schema} CASCADE")
        await connection.close()
        with pytest.raises(LogError, match="run the migrations"):
            await append(log, [plain("/a", 1)])
        with pytest.raises(LogError, match="run the migrations"):
            await log.read_all(0)


async def test_missing_driver_names_the_extra(monkeypatch):
    """Without asyncpg the scheme's error says what to install."""
    for name in [name for name in sys.modules if name.startswith("trunkline.log.postgres")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.startswith("trunkline.sql.postgres")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(MissingExtraError, match=r"trunkline\[postgres\]"):
        engine_for("postgresql://x/y")


@pytest.mark.parametrize(
    ("url", "options", "hint"),
    [
        ("mysql://host/db", {}, "postgresql://"),
        ("postgresql://host/db?schema=pg_own", {}, "schema="),
        ("postgresql://host/db?schema=a%22b", {}, "schema="),
        ("postgresql://host/db?pooler=statement", {}, "pooler"),
        ("postgresql://host/db?readers=0", {}, "readers=0"),
        ("postgresql://host/db?readers=many", {}, "readers"),
        ("postgresql://host/db?lock_timeout=0", {}, "lock_timeout=0"),
        ("postgresql://host/db?patience=nan", {}, "patience=nan"),
        ("postgresql://host/db?lock_key=99999999999", {}, "lock_key"),
        ("postgresql://host/db?command_timeout=soon", {}, "command_timeout"),
        ("postgresql://host/db", {"colour": "red"}, "no option 'colour'"),
        ("postgresql://host/db", {"pool": "mine"}, "asyncpg.Pool"),
    ],
)
def test_url_that_makes_no_sense_is_refused(url, options, hint):
    """Each mistake in a URL is answered with how to write it, or with the known options."""
    with pytest.raises(ConfigError, match=hint):
        parse_address(url, options)


def test_options_go_where_they_belong():
    """Ours are taken out of the URL, the driver's become arguments, the rest stays."""
    found = parse_address(
        "postgres://u:p@h/d?schema=x&timeout=3&sslmode=require&pooler=transaction",
        {"command_timeout": 4, "readers": 7},
    )
    assert found.dsn == "postgres://u:p@h/d?sslmode=require"
    assert found.driver == {"timeout": 3.0, "command_timeout": 4}
    assert (found.schema, found.pooler, found.readers) == ("x", "transaction", 7)
    assert "p@" not in found.place.replace("u@h", "")


async def test_examination_of_a_sound_server(postgres_url, schema):  # noqa: F811
    """Doctor looks at server, durability, connections, distance, transactions and the line."""
    options = {"schema": schema}
    before = await asyncio.to_thread(PostgresLog.examine, postgres_url, options)
    assert {one.level for one in before} <= {"ok", "warn"}
    assert before[-1].fix == "the first use makes one"
    async with opened(postgres_url, schema) as open_log:
        await append(await open_log(), [plain("/a", 1)])
    after = await asyncio.to_thread(PostgresLog.examine, postgres_url, options)
    assert "1 messages" in after[-1].detail
    gone = f"postgresql://u:secret@127.0.0.1:{free_port()}/db"
    (finding,) = await asyncio.to_thread(PostgresLog.examine, gone, {})
    assert finding.level == "fail"
    assert "secret" not in finding.detail


async def test_process_wide_settings_of_the_server_do_not_weaken_durability(postgres_url, schema):  # noqa: F811
    """With synchronous_commit off by default, an append still waits for the disk."""
    async with opened(
        postgres_url, schema, server_settings={"synchronous_commit": "off"}
    ) as open_log:
        log = await open_log()
        connection = log._parts.tail._connection
        async with connection.transaction():
            await connection.fetchval(
                f'SELECT "{schema}".take_tail_v1($1, $2)', *log._parts.tail.lock
            )
            assert await connection.fetchval("SHOW synchronous_commit") == "on"


async def test_many_open_a_new_line_at_once(postgres_url, schema):  # noqa: F811
    """Eight processes and eight handles race to make the tables: all are let in, once."""
    workers = [await spawn("publish", postgres_url, schema, who, 2, 3) for who in range(3)]
    async with opened(postgres_url, schema) as open_log:
        logs = await asyncio.gather(*(open_log() for _ in range(8)))
        await asyncio.gather(*(one.communicate() for one in workers))
        assert [one.returncode for one in workers] == [0, 0, 0]
        assert len(await whole_line(logs[0])) == 3 * 2 * 3


async def spawn(*words):
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.log.postgres_worker",
        *map(str, words),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )


async def test_processes_share_one_line(postgres_url, schema):  # noqa: F811
    """Two processes publish at once: dense ids, each one's receipts and order kept."""
    count = 60
    async with opened(postgres_url, schema) as open_log:
        log = await open_log()
        workers = [await spawn("publish", postgres_url, schema, who, 8, count) for who in "ab"]
        outputs = await asyncio.gather(*(one.communicate() for one in workers))
        assert [one.returncode for one in workers] == [0, 0]
        records = await whole_line(log)
    assert [one.global_id for one in records] == list(range(1, 2 * 8 * count + 1))
    found = [codec.decode(one.data) for one in records]
    for who, (text, _) in zip("ab", outputs, strict=True):
        for number, turn, global_id in map(json.loads, text.splitlines()):
            assert found[global_id - 1] == [who, number, turn]
        for number in range(8):
            turns = [value[2] for value in found if value[:2] == [who, number]]
            assert turns == list(range(count))


@pytest.mark.slow
async def test_killed_process_leaves_every_acknowledged_message(postgres_url, schema):  # noqa: F811
    """A publisher killed with -9: what it was told is stored, the line goes on without a hole."""
    async with opened(postgres_url, schema) as open_log:
        log = await open_log()
        told = []
        for round_ in range(4):
            process = await spawn("publish", postgres_url, schema, round_, 4, 100_000)
            lines = [await process.stdout.readline() for _ in range(40)]
            process.kill()
            lines += (await process.stdout.read()).splitlines(keepends=True)
            await process.wait()
            told += [(round_, *json.loads(line)) for line in lines if line.endswith(b"\n")]
            async with asyncio.timeout(20):
                await append(log, [plain("/own", round_)])
        records = await whole_line(log)
        assert [one.global_id for one in records] == list(range(1, len(records) + 1))
        found = values(records)
        for who, number, turn, global_id in told:
            assert found[global_id - 1] == [str(who), number, turn]
