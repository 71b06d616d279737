"""The PostgreSQL engine: the contract, straight, behind a pooler, and on a pool given to it."""

from __future__ import annotations

import asyncpg
import pytest

from tests.log.postgres import opened, postgres_url, schema  # noqa: F401 - fixtures
from trunkline.testing.contracts import LogContract


class TestPostgresLog(LogContract):
    """The engine keeps the contract; every handle has connections of its own."""

    @pytest.fixture
    async def open_log(self, postgres_url, schema):  # noqa: F811
        async with opened(postgres_url, schema) as open_log:
            yield open_log


class TestPostgresLogBehindPooler(LogContract):
    """The engine keeps the contract without LISTEN, session state or prepared statements."""

    @pytest.fixture
    async def open_log(self, postgres_url, schema):  # noqa: F811
        async with opened(postgres_url, schema, pooler="transaction") as open_log:
            yield open_log


class TestPostgresLogOnPool(LogContract):
    """The engine keeps the contract on a pool that the application made."""

    @pytest.fixture
    async def open_log(self, postgres_url, schema):  # noqa: F811
        async with (
            asyncpg.create_pool(postgres_url, min_size=0, max_size=30) as pool,
            opened("postgresql://", schema, pool=pool) as open_log,
        ):
            yield open_log
