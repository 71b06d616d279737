"""Commands together, inside transactions, and cancelled: each keeps to its own borders."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests.cqrs.shop import AddItem, Cart, ItemAdded, OpenCart, Shop
from trunkline.cqrs.command import Command
from trunkline.cqrs.errors import RefusedError
from trunkline.cqrs.result import On
from trunkline.errors import UsageError


@pytest.fixture
def shop(ground):
    return Shop(ground)


async def test_an_event_can_go_to_another_aggregate(shop):
    class Move(Command, name="move"):
        source: str
        target: str

    @shop.line.command(Move)
    def move(command):
        yield On(Cart, command.source, ItemAdded(command.source, "moved out", 1))
        yield On(Cart, command.target, ItemAdded(command.target, "moved in", 1))

    async with shop as line:
        await line.send(OpenCart("a"))
        await line.send(OpenCart("b"))
        result = await line.send(Move("a", "b"))
        assert [one.stream for one in result.events] == ["/stream/cart/a", "/stream/cart/b"]
        assert await shop.rows() == [("a", 1), ("b", 1)]


async def test_a_batch_is_stored_whole_or_not_at_all(shop):
    async with shop as line:
        await line.send_many([OpenCart("a"), AddItem("a", "1"), AddItem("a", "2")], key="b")
        assert await shop.rows() == [("a", 2)]
        with pytest.raises(RefusedError):
            await line.send_many([OpenCart("b"), OpenCart("a")])
        assert await shop.rows() == [("a", 2)]
        again = await line.send_many([OpenCart("a"), AddItem("a", "1"), AddItem("a", "2")], key="b")
        assert again.is_repeat
        assert len(again.events) == 3


async def test_a_function_that_takes_a_list_decides_a_batch(shop):
    class Fill(Command, name="fill"):
        cart_id: str
        item: str

    calls = []

    @shop.line.command(Fill, aggregate=Cart)
    def fill(commands: list[Fill], state):
        calls.append([None if one is None else one.cart_id for one in state])
        for one in commands:
            yield ItemAdded(one.cart_id, one.item, 1)

    async with shop as line:
        await line.send_many([OpenCart("a"), OpenCart("b")])
        await line.send_many([Fill("a", "x"), Fill("b", "y"), Fill("a", "z")])
        assert calls == [["a", "b", "a"]]
        assert await shop.rows() == [("a", 2), ("b", 1)]


async def test_a_command_inside_a_transaction_shares_its_fate(shop):
    async with shop as line:
        async with line.transaction() as tx:
            result = await line.send(OpenCart("a"), tx=tx)
            await line.send(AddItem("a", "pen"), tx=tx)
            assert [tuple(row) for row in await tx.fetch("SELECT items FROM cart")] == [(1,)]
        assert result.events[0].position == 1

        async def undone():
            async with line.transaction() as tx:
                await line.send(AddItem("a", "pen"), tx=tx)
                raise RuntimeError

        with pytest.raises(RuntimeError):
            await undone()
        assert await shop.rows() == [("a", 1)]


async def test_a_failed_command_inside_a_transaction_leaves_the_rest(shop):
    async with shop as line:
        async with line.transaction() as tx:
            await line.send(OpenCart("a"), tx=tx, key="1")
            with pytest.raises(RefusedError):
                await line.send(OpenCart("a"), tx=tx)
            with contextlib.suppress(RuntimeError):
                async with tx.savepoint():
                    await line.send(AddItem("a", "undone"), tx=tx)
                    raise RuntimeError
            await line.send(AddItem("a", "pen"), tx=tx)
        assert await shop.stored() == ["cart.a.opened", "cart.a.added"]
        assert (await line.send(OpenCart("a"), key="1")).is_repeat


async def test_sending_from_inside_a_handler_is_refused_before_it_waits_for_itself(shop):
    @shop.line.projector(ItemAdded)
    async def sends(event: ItemAdded):
        await shop.line.send(OpenCart("inner"))

    async with shop as line:
        await line.send(OpenCart("a"))
        with pytest.raises(UsageError, match=r"ctx\.send"):
            await line.send(AddItem("a", "pen"))


async def test_a_cancelled_sender_leaves_nothing_and_holds_nobody_up(shop):
    waiting, going = asyncio.Event(), asyncio.Event()

    @shop.line.projector(ItemAdded)
    async def waits(event: ItemAdded, tx):
        if event.item == "slow":
            await tx.execute(shop.sql("UPDATE cart SET items = 7 WHERE cart_id = ?"), "a")
            waiting.set()
            await going.wait()

    async with shop as line:
        await line.send(OpenCart("a"))
        await line.send(OpenCart("b"))
        slow = asyncio.ensure_future(line.send(AddItem("a", "slow")))
        await waiting.wait()
        other = asyncio.ensure_future(line.send(AddItem("b", "x")))
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        await other
        assert await shop.rows() == [("a", 0), ("b", 1)]
