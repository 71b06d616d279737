"""A command whose commit's answer is lost is looked up: it is stored, or it never will be."""

from __future__ import annotations

import pytest

from tests.cqrs.shop import AddItem, OpenCart, Shop
from trunkline.cqrs.command import Command
from trunkline.errors import LogUnavailableError
from trunkline.log.postgres import joint
from trunkline.sql.postgres import transactions


class Touch(Command, name="touch"):
    cart_id: str


@pytest.fixture
def shop(postgres_ground):
    shop = Shop(postgres_ground)

    @shop.line.command(Touch)
    async def touch(command, tx):
        await tx.execute("INSERT INTO cart VALUES ($1, 5)", command.cart_id)

    return shop


@pytest.fixture
def lose(monkeypatch):
    """Lose the answer of the next commit, after or before it happened."""
    commit = transactions.commit

    def lose(*, after):
        async def lost(connection, address):
            monkeypatch.setattr(joint, "commit", commit)
            if after:
                await commit(connection, address)
            connection.terminate()
            raise ConnectionError("the answer is lost")

        monkeypatch.setattr(joint, "commit", lost)

    return lose


async def test_one_that_happened_is_a_result(shop, lose):
    async with shop as line:
        lose(after=True)
        result = await line.send(OpenCart("a"))
        assert result.events[0].position == 1
        assert (await line.send(AddItem("a", "x"))).events[0].stream_version == 2


async def test_one_that_did_not_happen_is_an_error_and_never_will(shop, lose):
    async with shop as line:
        lose(after=False)
        with pytest.raises(LogUnavailableError, match="nothing was stored"):
            await line.send(OpenCart("a"), key="k")
        assert not (await line.send(OpenCart("a"), key="k")).is_repeat


async def test_one_without_events_is_settled_by_its_row(shop, lose):
    async with shop as line:
        lose(after=True)
        await line.send(Touch("kept"))
        lose(after=False)
        with pytest.raises(LogUnavailableError, match="nothing was stored"):
            await line.send(Touch("lost"))
        assert await shop.rows() == [("kept", 5)]
