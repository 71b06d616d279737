"""A commit whose answer is lost on PostgreSQL is looked up: it happened, or it never will."""

# ruff: noqa: PT012 - what is undone is a whole block

from __future__ import annotations

import pytest

from tests.store.databases import notes
from trunkline.errors import LogUnavailableError, OutcomeUnknownError
from trunkline.log.postgres import joint
from trunkline.sql.postgres import transactions
from trunkline.sql.postgres.faults import FAILURES


@pytest.fixture
def lose(monkeypatch):
    """Lose the answer of commits, after or before they happened."""
    commit = transactions.commit

    def lose(*, after):
        async def lost(connection, address):
            if after:
                await commit(connection, address)
            connection.terminate()
            raise ConnectionError("the answer is lost")

        monkeypatch.setattr(joint, "commit", lost)

    return lose


async def test_one_that_happened_counts(postgres_ground, lose):
    async with postgres_ground.line() as line:
        lose(after=True)
        async with line.transaction() as tx:
            await tx.execute("INSERT INTO note VALUES ('kept')")
            await tx.publish("/a", 1)
        assert [receipt.message_id for receipt in tx.receipts] == [1]
        assert await line.last_id("/a") == 1
        assert await notes(postgres_ground) == ["kept"]


async def test_one_that_did_not_happen_is_an_error_and_never_will(postgres_ground, lose):
    async with postgres_ground.line() as line:
        lose(after=False)
        with pytest.raises(LogUnavailableError, match="nothing was stored"):
            async with line.transaction() as tx:
                await tx.publish("/a", 1)
        assert (await line.publish("/a", 2)).message_id == 1


async def test_one_without_messages_is_not_known(postgres_ground, lose):
    async with postgres_ground.line() as line:
        lose(after=True)
        with pytest.raises(OutcomeUnknownError, match="is not known"):
            async with line.transaction() as tx:
                await tx.execute("INSERT INTO note VALUES ('kept')")
        assert await notes(postgres_ground) == ["kept"]


async def test_a_server_that_ends_an_idle_transaction_undoes_it(postgres_ground):
    async with postgres_ground.line() as line:
        with pytest.raises(FAILURES):
            async with line.transaction() as tx:
                await tx.publish("/a", 1)
                [row] = await tx.fetch("SELECT pg_backend_pid()")
                async with line.transaction() as other:
                    await other.fetch("SELECT pg_terminate_backend($1)", row[0])
                await tx.fetch("SELECT 1")
        async with line.transaction() as tx:
            await tx.publish("/a", 2)
        assert [message.data for message in await line.backlog("/a")] == [2]
