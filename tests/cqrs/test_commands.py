"""A command decides events, and all it comes to is stored together or not at all."""

from __future__ import annotations

import asyncio

import pytest

from tests.cqrs.shop import AddItem, Cart, CartOpened, ItemAdded, OpenCart, Shop
from trunkline.cqrs.command import Command, Event
from trunkline.cqrs.errors import (
    HandlerError,
    InvalidCommandError,
    NestingError,
    Refused,
    RefusedError,
    UnknownCommandError,
)
from trunkline.cqrs.result import Reply
from trunkline.errors import ConfigError, InvalidMessageError, KeyReusedError, VersionConflictError


@pytest.fixture
def shop(ground):
    return Shop(ground)


async def test_events_are_decided_on_what_was_decided_before(shop):
    async with shop as line:
        first = await line.send(OpenCart("a"), actor=7)
        second = await line.send(AddItem("a", "pen"))

        assert [one.event for one in first.events] == [CartOpened("a", "nobody")]
        assert first.events[0].headers.actor == 7
        assert second.events[0].event == ItemAdded("a", "pen", 1)
        assert second.events[0].name == "cart.a.added"
        assert second.events[0].stream_version == 2
        assert second.position.global_id == second.events[0].position == 2
        assert await shop.rows() == [("a", 1)]


async def test_a_refusal_reaches_the_sender_and_leaves_nothing(shop):
    async with shop as line:
        await line.send(OpenCart("a"))
        with pytest.raises(RefusedError) as caught:
            await line.send(OpenCart("a"))

        assert caught.value.code == "cart-open"
        assert caught.value.trace_id
        assert await shop.stored() == ["cart.a.opened"]


async def test_a_failing_projector_undoes_the_command(shop):
    @shop.line.projector(ItemAdded)
    async def fails(event: ItemAdded, tx):
        await tx.execute(shop.sql("UPDATE cart SET items = 99 WHERE cart_id = ?"), event.cart_id)
        raise ValueError("no")

    async with shop as line:
        await line.send(OpenCart("a"))
        with pytest.raises(HandlerError, match=r"projector 'main.fails' failed on cart.a.added"):
            await line.send(AddItem("a", "pen"))

        assert await shop.rows() == [("a", 0)]
        assert await shop.stored() == ["cart.a.opened"]


async def test_an_error_of_sql_in_a_handler_undoes_the_command(shop):
    @shop.line.projector(ItemAdded)
    async def fails(event: ItemAdded, tx):
        await tx.execute("UPDATE no_such_table SET x = 1")

    async with shop as line:
        await line.send(OpenCart("a"))
        with pytest.raises(HandlerError):
            await line.send(AddItem("a", "pen"))

        assert await shop.rows() == [("a", 0)]


async def test_a_write_that_was_left_fails_its_own_command_alone(shop):
    @shop.line.projector(ItemAdded)
    async def leaves(event: ItemAdded, tx):
        if event.item == "bad":
            await tx.write(shop.sql("INSERT INTO cart VALUES (?, 0)"), event.cart_id)

    async with shop as line:
        names = [f"c{n:02}" for n in range(40)]
        for name in names:
            await line.send(OpenCart(name))
        ended = await asyncio.gather(
            *(line.send(AddItem(name, "bad" if name == "c07" else "pen")) for name in names),
            return_exceptions=True,
        )

        failed = [
            name for name, one in zip(names, ended, strict=True) if isinstance(one, Exception)
        ]
        assert failed == ["c07"]
        assert await shop.rows() == [(name, int(name != "c07")) for name in names]


async def test_failing_commands_fail_none_that_share_their_commit(shop):
    @shop.line.projector(ItemAdded)
    async def fails(event: ItemAdded, tx):
        if event.item == "bad":
            raise ValueError("no")

    async with shop as line:
        names = [f"c{n:02}" for n in range(60)]
        await asyncio.gather(*(line.send(OpenCart(name)) for name in names))
        bad = set(names[::7])
        sent = [line.send(AddItem(name, "bad" if name in bad else "pen")) for name in names]
        refused = [line.send(OpenCart(name)) for name in names]
        ended = await asyncio.gather(*sent, *refused, return_exceptions=True)

        assert [isinstance(one, HandlerError) for one in ended[:60]] == [n in bad for n in names]
        assert all(isinstance(one, RefusedError) for one in ended[60:])
        assert await shop.rows() == [(name, int(name not in bad)) for name in names]


async def test_commands_on_one_aggregate_see_each_other_in_one_commit(shop):
    async with shop as line:
        await line.send(OpenCart("a"))
        sent = await asyncio.gather(*(line.send(AddItem("a", str(n))) for n in range(50)))

        versions = sorted(one.events[0].stream_version for one in sent)
        assert versions == list(range(2, 52))
        assert await shop.rows() == [("a", 50)]


async def test_two_lines_that_write_to_one_aggregate_decide_again(ground):
    ours, theirs = Shop(ground), Shop(ground)
    async with ours as line:
        await line.send(OpenCart("a"))
        await line.send(AddItem("a", "0"))  # so that it is remembered here
        await theirs.line.open()
        try:
            results = []
            for n in range(10):
                await theirs.line.send(AddItem("a", f"their {n}"))
                results.append(await line.send(AddItem("a", f"our {n}")))

            assert await ours.rows() == [("a", 21)]
            assert all(one.attempts <= 2 for one in results)
            if ground.dialect == "postgres":  # a lone command trusts what it remembers
                assert any(one.attempts == 2 for one in results)
        finally:
            await theirs.line.close()


async def test_a_refusal_on_a_remembered_state_is_looked_at_again(ground):
    ours, theirs = Shop(ground), Shop(ground)

    class CloseAt(Command, name="close.at"):
        cart_id: str
        count: int

    @ours.line.command(CloseAt)
    def close_at(command, cart: Cart | None):
        if len(cart.items) < command.count:
            raise Refused("too early")
        yield ItemAdded(command.cart_id, "last", 1)

    async with ours as line:
        await line.send(OpenCart("a"))
        await theirs.line.open()
        await theirs.line.send(AddItem("a", "theirs"))
        await line.send(CloseAt("a", 1))

        assert await ours.rows() == [("a", 2)]
        await theirs.line.close()


async def test_an_unknown_command_and_wrong_fields_are_told(shop):
    class Unheard(Command, name="un.heard"):
        pass

    async with shop as line:
        with pytest.raises(UnknownCommandError, match="Unheard"):
            await line.send(Unheard())
        with pytest.raises(InvalidCommandError, match="count") as caught:
            await line.send(AddItem("a", "pen", "many"))
        assert caught.value.trace_id


async def test_hooks_enrich_and_refuse_in_order(shop):
    order = []

    @shop.line.before("add.*", priority=20)
    async def doubled(command, ctx):
        order.append("doubled")
        return AddItem(command.cart_id, command.item, command.count * 2)

    @shop.line.before("**", priority=10)
    def first(command):
        order.append("first")

    @shop.line.after("add.item")
    def late(command: AddItem, ctx):
        order.append(f"late {command.count}")
        if command.item == "forbidden":
            raise Refused("not this")

    async with shop as line:
        await line.send(OpenCart("a"))
        order.clear()
        result = await line.send(AddItem("a", "pen", 3))
        assert order == ["first", "doubled", "late 6"]
        assert result.events[0].event.count == 6
        with pytest.raises(RefusedError):
            await line.send(AddItem("a", "forbidden"))


async def test_what_a_hook_changes_is_checked_again(shop):
    @shop.line.before("add.item")
    def spoils(command):
        return AddItem(command.cart_id, command.item, "many")

    async with shop as line:
        await line.send(OpenCart("a"))
        with pytest.raises(InvalidCommandError):
            await line.send(AddItem("a", "pen"))


async def test_a_hook_that_fails_ends_the_command(shop):
    @shop.line.after("add.item")
    def fails(command):
        raise KeyError("x")

    async with shop as line:
        await line.send(OpenCart("a"))
        with pytest.raises(HandlerError, match=r"after 'main.fails'"):
            await line.send(AddItem("a", "pen"))
        assert await shop.rows() == [("a", 0)]


async def test_the_same_key_brings_the_first_result(shop):
    async with shop as line:
        first = await line.send(OpenCart("a"), key="k")
        again = await line.send(OpenCart("a"), key="k")

        assert again.is_repeat
        assert again.command_id == first.command_id
        assert again.events == first.events
        assert again.position == first.position
        with pytest.raises(KeyReusedError):
            await line.send(OpenCart("b"), key="k")


async def test_the_same_key_at_once_runs_once(shop):
    async with shop as line:
        await line.send(OpenCart("a"))
        sent = await asyncio.gather(*(line.send(AddItem("a", "x"), key="k") for _ in range(20)))

        assert len({one.command_id for one in sent}) == 1
        assert sum(not one.is_repeat for one in sent) == 1
        assert await shop.rows() == [("a", 1)]


async def test_a_refused_command_leaves_its_key_free(shop):
    async with shop as line:
        with pytest.raises(RefusedError):
            await line.send(AddItem("a", "x"), key="k")
        await line.send(OpenCart("a"))
        result = await line.send(AddItem("a", "x"), key="k")
        assert not result.is_repeat


async def test_a_command_without_events_keeps_its_writes_and_reply(shop):
    class Touch(Command, name="touch"):
        pass

    @shop.line.command(Touch)
    async def touch(command, tx):
        await tx.execute("INSERT INTO cart VALUES ('t', 5)")
        return Reply({"touched": 1})

    async with shop as line:
        result = await line.send(Touch(), key="k")
        assert result.reply == {"touched": 1}
        assert (await line.send(Touch(), key="k")).reply == {"touched": 1}
        assert await shop.rows() == [("t", 5)]


async def test_optimism_has_an_end(postgres_ground):
    shop, other = Shop(postgres_ground), Shop(postgres_ground)

    class Slow(Command, name="slow"):
        cart_id: str

    @shop.line.command(Slow, max_attempts=2)
    async def slow(command, cart: Cart | None, ctx):
        await other.line.send(AddItem(command.cart_id, f"{ctx.attempt}"))
        yield ItemAdded(command.cart_id, "slow", 1)

    async with shop as line:
        await other.line.open()
        await line.send(OpenCart("a"))
        with pytest.raises(VersionConflictError):
            await line.send(Slow("a"))
        assert await shop.rows() == [("a", 2)]  # what the other line added, once per attempt
        await other.line.close()


async def test_an_event_that_nobody_could_read_again_is_refused(shop):
    class Odd(Event, name="odd"):
        pass

    class DoOdd(Command, name="do.odd"):
        pass

    @shop.line.command(DoOdd)
    def do_odd(command):
        yield Odd()

    async with shop as line:
        with pytest.raises(ConfigError, match=r"line.event\(Odd\)"):
            await line.send(DoOdd())


async def test_an_event_whose_fields_do_not_fit_is_refused(shop):
    class Misfit(Command, name="misfit"):
        cart_id: str

    @shop.line.command(Misfit, aggregate=Cart)
    def misfit(command):
        yield ItemAdded(command.cart_id, "pen", "many")

    async with shop as line:
        with pytest.raises(InvalidMessageError, match="count"):
            await line.send(Misfit("a"))
        assert await shop.stored() == []


async def test_events_that_lead_to_each_other_have_an_end(shop):
    class Ping(Event, name="ping"):
        pass

    class Start(Command, name="start"):
        pass

    @shop.line.command(Start)
    def start(command) -> Ping:
        return Ping()

    @shop.line.dispatcher(Ping)
    def again(event):
        return Ping()

    async with shop as line:
        with pytest.raises(NestingError, match=r"main\.again"):
            await line.send(Start())
