"""A PostgreSQL for the tests of its engine: one server per run, a schema of its own per test."""

from __future__ import annotations

import contextlib
import secrets
from contextlib import AsyncExitStack

import asyncpg
import pytest

from trunkline.log.postgres import PostgresLog
from trunkline.log.retention import Retention
from trunkline.model.message import Limits
from trunkline.runtime.clock import SystemClock
from trunkline.testing.postgres_server import PostgresServer, given_url

KEEP_ALL = Limits(None, None)


@pytest.fixture(scope="session")
def postgres_url():
    """Return the URL of a running server: the one given by the environment, or our own."""
    given = given_url()
    if given is not None:
        yield given
        return
    with PostgresServer() as server:
        yield server.url


@pytest.fixture
async def schema(postgres_url):
    """Return the name of a schema that nobody uses, and drop it in the end."""
    name = f"trunkline_test_{secrets.token_hex(6)}"
    yield name
    connection = await asyncpg.connect(postgres_url)
    with contextlib.suppress(asyncpg.UndefinedObjectError):
        await connection.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')
    await connection.close()


def log_at(url, schema, *, retention=None, clock=None, **options):
    return PostgresLog.from_url(
        url,
        retention=retention or Retention(KEEP_ALL),
        clock=clock or SystemClock(),
        options={"schema": schema, **options},
    )


@contextlib.asynccontextmanager
async def opened(url, schema, **options):
    """Open logs on one schema; all are closed in the end."""
    async with AsyncExitStack() as stack:

        async def open_log(retention=None, clock=None, **more):
            log = log_at(
                url,
                schema,
                retention=retention or Retention(),
                clock=clock,
                **{**options, **more},
            )
            await log.open()
            stack.push_async_callback(log.close)
            return log

        yield open_log
