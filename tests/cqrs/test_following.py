"""What follows from an event inside the command's transaction: derived events, commands inside."""

from __future__ import annotations

import asyncio
import sqlite3
import time

import pytest

from tests.cqrs.shop import AddItem, CartOpened, ItemAdded, OpenCart, Shop
from trunkline.cqrs.command import Command, Event, Recorded
from trunkline.cqrs.errors import HandlerError, Refused, RefusedError
from trunkline.errors import UsageError


class Noted(Event, name="noted"):
    what: str


class Note(Command, name="note"):
    what: str


@pytest.fixture
def shop(ground):
    shop = Shop(ground)
    noting(shop)
    return shop


def noting(shop):
    """Declare a command that notes a text, and refuses some; what it wrote before is undone."""

    @shop.line.command(Note)
    async def note(command, tx) -> Noted:
        await tx.execute(shop.sql("INSERT INTO cart VALUES (?, 1)"), command.what)
        if command.what == "refused":
            raise Refused("not that")
        return Noted(command.what)


async def test_strong_handlers_run_by_priority_then_kind_then_registration(shop):
    order = []

    @shop.line.processor(ItemAdded)
    def processes(event):
        order.append("processor")

    @shop.line.dispatcher(ItemAdded)
    def dispatches(event):
        order.append("dispatcher")

    @shop.line.projector(ItemAdded)
    def projects(event):
        order.append("projector")

    @shop.line.processor(ItemAdded, priority=1)
    def urgent(event):
        order.append("urgent")

    @shop.line.projector("cart.**")
    def also(event: ItemAdded):
        order.append("also")

    async with shop as line:
        await line.send(OpenCart("a"))
        await line.send(AddItem("a", "pen"))
        assert order == ["urgent", "projector", "also", "dispatcher", "processor"]


async def test_a_dispatcher_derives_events_with_their_cause(shop):
    @shop.line.dispatcher(ItemAdded)
    def derive(event: ItemAdded) -> list[Noted]:
        return [Noted(event.item)]

    heard = []

    @shop.line.projector(Noted)
    def hears(event: Noted, recorded: Recorded, ctx):
        heard.append((recorded.headers.causation, ctx.event.id))

    async with shop as line:
        await line.send(OpenCart("a"))
        result = await line.send(AddItem("a", "pen"))
        added, noted = result.events
        assert noted.headers.causation == added.id
        assert noted.headers.correlation == added.headers.correlation
        assert (noted.stream, noted.stream_version) == (added.stream, 3)
        assert heard == [(added.id, noted.id)]
        assert (await line.send(AddItem("a", "pen"))).events[0].stream_version == 4


async def test_a_nested_command_sees_the_pending_events_of_its_aggregate(shop):
    @shop.line.processor(CartOpened)
    def fill(event: CartOpened):
        yield AddItem(event.cart_id, "first")
        yield AddItem(event.cart_id, "second")

    async with shop as line:
        result = await line.send(OpenCart("a"))
        assert [one.stream_version for one in result.events] == [1, 2, 3]
        opened, first, _ = result.events
        assert first.headers.causation == opened.id
        assert first.headers.command != opened.headers.command
        assert first.headers.correlation == opened.headers.command
        assert [one.name for one in result.nested] == ["add.item", "add.item"]
        assert await shop.rows() == [("a", 2)]


async def test_a_nested_command_that_fails_fails_all(shop):
    @shop.line.processor(CartOpened)
    def fill(event: CartOpened):
        return Note("refused")

    async with shop as line:
        with pytest.raises(RefusedError):
            await line.send(OpenCart("a"))
        assert await shop.rows() == []
        assert await shop.stored() == []


async def test_an_isolated_nested_command_fails_alone_and_is_told(shop):
    after = []

    @shop.line.processor(CartOpened, on_error="isolate")
    def fill(event: CartOpened):
        return [Note("refused"), Note("fine")]

    @shop.line.projector(Noted)
    async def notes(event: Noted, tx):
        await tx.publish("/noted", event.what)

        async def note():
            after.append(event.what)

        tx.after_commit(note)

    async with shop as line:
        result = await line.send(OpenCart("a"))
        assert [one.name for one in result.events] == ["cart.a.opened", "noted"]
        assert [str(one) for one in result.failures] == ["not that"]
        assert await shop.rows() == [("a", 0), ("fine", 1)]
        assert [one.data for one in await line.backlog("/noted")] == ["fine"]
        assert after == ["fine"]


async def test_what_was_to_happen_after_an_undone_part_does_not(shop):
    after = []

    @shop.line.processor(CartOpened)
    async def fill(event: CartOpened, ctx, tx):
        async def never():
            after.append("never")

        try:
            async with tx.savepoint():
                await ctx.send(AddItem(event.cart_id, "undone"))
                tx.after_commit(never)
                await tx.publish("/undone", 1)
                raise KeyError
        except KeyError:
            pass
        await ctx.send(AddItem(event.cart_id, "kept"))

    async with shop as line:
        result = await line.send(OpenCart("a"))
        assert [one.event.item for one in result.events[1:]] == ["kept"]
        assert result.events[1].stream_version == 2
        assert await shop.rows() == [("a", 1)]
        assert not after
        assert len(await line.backlog("/undone")) == 0


async def test_a_command_sent_through_the_context_can_be_caught(shop):
    @shop.line.processor(CartOpened)
    async def tries(event: CartOpened, ctx):
        with pytest.raises(RefusedError):
            await ctx.send(Note("refused"))
        await ctx.send(Note("fine"))

    async with shop as line:
        await line.send(OpenCart("a"))
        assert await shop.rows() == [("a", 0), ("fine", 1)]


async def test_a_deferred_command_runs_after_the_commit(shop):
    @shop.line.processor(CartOpened, on_error="defer")
    def fill(event: CartOpened):
        return Note("later") if event.owner == "me" else None

    async with shop as line:
        result = await line.send(OpenCart("a", "me"))
        assert len(result.deferred) == 1
        assert await shop.rows() == [("a", 0)]
        line.start_services()
        await until(shop, [("a", 0), ("later", 1)])
        log = line._premises.log
        page = await log.read_all(0, 100)
        catalog = line.commands.plan.catalog
        events = [
            catalog.recorded(record)
            for record in page.records
            if record.channel.name.startswith("/stream/")
        ]
        assert events[1].headers.correlation == result.events[0].headers.correlation
        assert events[1].headers.causation == result.events[0].id


async def test_an_enqueued_command_runs_once_if_and_only_if_its_transaction_commits(shop):
    async with shop as line:

        async def undone():
            async with line.transaction() as tx:
                await line.enqueue(Note("never"), tx=tx)
                raise RuntimeError

        with pytest.raises(RuntimeError):
            await undone()
        async with line.transaction() as tx:
            await line.enqueue(Note("in"), tx=tx)
        await line.enqueue(Note("bare"), key="k")
        await line.enqueue(Note("bare"), key="k")
        line.start_services()
        await until(shop, [("bare", 1), ("in", 1)])
        assert (await line.send(Note("bare"), key="k")).is_repeat


async def test_an_enqueued_command_of_a_guest_follows_its_commit(sqlite_ground):
    shop = Shop(sqlite_ground)
    noting(shop)
    async with shop as line:
        guest = sqlite3.connect(sqlite_ground.bare.removeprefix("sqlite:///"), isolation_level=None)
        try:
            guest.execute("BEGIN IMMEDIATE")
            line.enqueue_in(guest, Note("guest"))
            guest.execute("COMMIT")
            guest.execute("BEGIN IMMEDIATE")
            line.enqueue_in(guest, Note("undone"))
            guest.execute("ROLLBACK")
        finally:
            guest.close()
        line.start_services()
        await until(shop, [("guest", 1)])


async def until(shop, rows) -> None:
    deadline = time.monotonic() + 15
    while (found := await shop.rows()) != rows:
        assert time.monotonic() < deadline, f"it did not come true in time: {found}"
        await asyncio.sleep(0.01)


async def test_a_projector_may_not_give_back_events(shop):
    @shop.line.projector(ItemAdded)
    def derive(event):
        return Noted("x")

    async with shop as line:
        await line.send(OpenCart("a"))
        with pytest.raises(UsageError, match="dispatchers events"):
            await line.send(AddItem("a", "pen"))


async def test_results_are_merged_named_and_joined(shop):
    @shop.line.projector(ItemAdded, merge=True)
    def total(event):
        return {"total": 3}

    @shop.line.projector(ItemAdded, merge="owner")
    def owner(event):
        return "me"

    @shop.line.projector(ItemAdded, merge={"zip": "id", "as": "lines"}, priority=1)
    def lines(event):
        return [{"id": 1, "item": event.item}, {"id": 2}]

    @shop.line.projector(ItemAdded, merge={"zip": "id", "as": "lines"}, priority=2)
    def prices(event):
        return [{"id": 1, "price": 5}]

    async with shop as line:
        await line.send(OpenCart("a"))
        result = await line.send(AddItem("a", "pen"), key="k")
        assert result.data == {
            "total": 3,
            "owner": "me",
            "lines": [{"id": 1, "item": "pen", "price": 5}, {"id": 2}],
        }
        assert result.values["main.owner"] == "me"
        assert result.events[0].event == ItemAdded("a", "pen", 1)
        assert (await line.send(AddItem("a", "pen"), key="k")).data == result.data


async def test_domains_hear_their_own_events_unless_they_say_otherwise(shop):
    heard = []
    other = shop.line.domain("other")
    audit = shop.line.domain("audit")

    @other.projector("cart.**")
    def own(event):
        heard.append("other")

    @audit.projector("cart.**", domains="main")
    def foreign(event):
        heard.append("audit")

    async with shop as line:
        await line.send(OpenCart("a"))
        assert heard == ["audit"]


async def test_settings_override_priority_and_enabled(ground):
    order = []
    shop = Shop(ground)
    second = shop.line.domain(
        "second", handlers={"late": {"priority": 1}, "off": {"enabled": False}}
    )

    @second.projector("cart.**", domains="*")
    def early(event):
        order.append("early")

    @second.projector("cart.**", domains="*")
    def late(event):
        order.append("late")

    @second.projector("cart.**", domains="*")
    def off(event):
        order.append("off")

    async with shop as line:
        await line.send(OpenCart("a"))
        assert order == ["late", "early"]


async def test_every_error_names_the_trace(shop):
    @shop.line.projector(ItemAdded)
    def fails(event):
        raise ValueError("no")

    async with shop as line:
        await line.send(OpenCart("a"))
        with pytest.raises(HandlerError) as caught:
            await line.send(AddItem("a", "pen"))
        assert len(caught.value.trace_id) == 32
        assert isinstance(caught.value.__cause__, ValueError)
