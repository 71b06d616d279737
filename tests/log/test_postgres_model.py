"""PostgreSQL against memory: whatever is done to both, they answer the same."""

from __future__ import annotations

import asyncio
import secrets

import asyncpg
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from tests.log.postgres import log_at, postgres_url  # noqa: F401 - a fixture
from tests.log.test_sqlite_model import KEYS, SQLiteAgainstMemory, interests, told
from trunkline.errors import ChannelKindError, TrunklineError
from trunkline.log.admission import check_kind


def is_misplaced(draft):
    try:
        check_kind(draft)
    except ChannelKindError:
        return True
    return False


class PostgresAgainstMemory(SQLiteAgainstMemory):
    """Do everything to both logs, the database through two handles in turns."""

    url = schema = ""

    def handles(self, made):
        return [log_at(self.url, self.schema, **made) for _ in range(2)]

    @initialize()
    def open(self):
        super().open()
        self.loop.run_until_complete(self.files[0].reset())

    def append_to_both(self, groups):
        """Compare outcomes; a kind that a name forbids is told before all else, not in turn."""
        versions = dict(self.loop.run_until_complete(self.memory.last_ids(KEYS)).ids)
        groups = [[self.versioned(draft, versions) for draft in group] for group in groups]
        outcomes = self.both(lambda log: log.append(groups))
        for group, expected, found in zip(groups, *outcomes, strict=True):
            if isinstance(found, ChannelKindError) and isinstance(expected, TrunklineError):
                assert any(is_misplaced(draft) for draft in group)
            else:
                assert told(found) == told(expected)

    @rule(after=st.integers(0, 40), limit=st.integers(1, 5), interest=interests)
    def read_all(self, after, limit, interest):
        """Compare floors where they tell of a loss, which is what they are for."""

        async def whole(log):
            position, records, floors = after, [], set()
            while True:
                page = await log.read_all(position, limit, interest)
                records += page.records
                if position < page.floor:
                    floors.add(page.floor)
                floors.add(page.head)
                if page.upto >= page.head:
                    return records, floors
                assert page.upto > position
                position = page.upto

        expected, found = self.both(whole)
        assert found == expected


@pytest.mark.slow
def test_postgres_against_memory(postgres_url):  # noqa: F811
    """Any sequence of appends, trims, sweeps, resets and reads has the same answers."""
    PostgresAgainstMemory.url = postgres_url
    PostgresAgainstMemory.schema = f"trunkline_test_{secrets.token_hex(6)}"
    case = PostgresAgainstMemory.TestCase
    case.settings = settings(max_examples=min(20, settings().max_examples), stateful_step_count=30)
    try:
        case("runTest").runTest()
    finally:
        asyncio.run(drop(postgres_url, PostgresAgainstMemory.schema))


async def drop(url, schema):
    connection = await asyncpg.connect(url)
    await connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')
    await connection.close()
