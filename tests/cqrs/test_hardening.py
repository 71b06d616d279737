"""What goes wrong around commands, not in them: resets, deadlocks, a line that is closed."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from tests.cqrs.shop import AddItem, CartOpened, ItemAdded, OpenCart, Shop
from trunkline.cqrs.command import Command, Event
from trunkline.errors import LineClosedError, LogUnavailableError


@pytest.mark.parametrize("callers", [1, 5])
async def test_a_state_from_before_a_reset_decides_nothing(ground, callers):
    seen = []

    shop = Shop(ground)

    class Tally(msgspec.Struct, frozen=True):
        owners: tuple[str, ...] = ()

    class Opened(Event, name="tally.opened"):
        cart_id: str
        owner: str

    class Open(Command, name="open.tally"):
        cart_id: str
        owner: str

    def declare(line):
        line.aggregate(id="cart_id")(Tally)

        @line.evolve
        def opened(tally: Tally | None, event: Opened) -> Tally:
            return Tally((*(tally.owners if tally else ()), event.owner))

        @line.command(Open)
        def open_tally(command, tally: Tally | None):
            seen.append((command.owner, tally))
            yield Opened(command.cart_id, command.owner)

    declare(shop.line)
    other = ground.line()
    declare(other)
    async with shop as line, other:
        for _ in range(2):
            await line.send(Open("a", "old"))
        await other._premises.log.reset()
        for _ in range(2):
            await other.send(Open("a", "new"))
        seen.clear()

        await asyncio.gather(
            line.send(Open("a", "mine")),
            *(line.send(Open(f"b{n}", "x")) for n in range(1, callers)),
        )

        decided = [state for owner, state in seen if owner == "mine"]
        assert decided[-1] == Tally(("new", "new"))


async def test_two_groups_that_deadlock_are_run_again_and_nobody_fails(postgres_ground):
    shop = Shop(postgres_ground)
    met = {"first": asyncio.Event(), "second": asyncio.Event()}
    tries = []

    @shop.line.projector(ItemAdded)
    async def crosswise(event: ItemAdded, tx):
        mine = {"first": "second", "second": "first"}.get(event.item)
        if mine is None:
            return
        statement = "UPDATE cart SET items = items + 1 WHERE cart_id = $1"
        tries.append(event.item)
        await tx.execute(statement, f"row {event.item}")
        met[event.item].set()
        if len(tries) <= 2:
            await met[mine].wait()
        await tx.execute(statement, f"row {mine}")

    async with shop as line:
        names = [f"c{n}" for n in range(80)]
        for name in ("row first", "row second", *names):
            await line.send(OpenCart(name))
        # One leads a commit of its own; behind it wait enough for a second group beside it.
        first = asyncio.create_task(line.send(AddItem("c0", "first")))
        async with asyncio.timeout(20):
            await met["first"].wait()
            rest = [line.send(AddItem("c1", "second"))]
            rest += [line.send(AddItem(name, "other")) for name in names[2:]]
            await asyncio.gather(first, *rest)

        assert len(tries) > 2
        assert await shop.rows("SELECT items FROM cart WHERE cart_id LIKE 'row %'") == [(2,), (2,)]


async def test_closing_during_a_commit_says_what_is_true(ground):
    shop = Shop(ground)
    inside = asyncio.Event()

    @shop.line.projector(CartOpened)
    async def slow(event: CartOpened, tx):
        inside.set()
        for _ in range(3):
            await asyncio.sleep(0)

    async with shop as line:
        sending = [asyncio.create_task(line.send(OpenCart(f"c{n}"))) for n in range(5)]
        await inside.wait()
        await line.close()
        ends = await asyncio.gather(*sending, return_exceptions=True)
        failed = [one for one in ends if isinstance(one, BaseException)]
        wrong = [
            one for one in failed if not isinstance(one, LineClosedError | LogUnavailableError)
        ]
        assert wrong == []
    async with shop.line:
        there = {name for name, _ in await shop.rows()}
        told = {f"c{n}" for n, end in enumerate(ends) if not isinstance(end, BaseException)}
        assert there == told


async def test_snapshots_are_kept_in_a_transaction_that_is_open(ground):
    class Count(msgspec.Struct, frozen=True):
        total: int = 0

    class Counted(Event, name="counted"):
        count_id: str

    class Add(Command, name="add"):
        count_id: str

    folded = []

    def line_of():
        line = ground.line()
        line.aggregate(id="count_id", snapshot_every=3)(Count)

        @line.evolve
        def counted(count: Count | None, event: Counted) -> Count:
            folded.append(event)
            return Count((count.total if count else 0) + 1)

        @line.command(Add)
        def add(command, count: Count | None):
            yield Counted(command.count_id)

        return line

    async with line_of() as line:
        async with line.transaction() as tx:
            for _ in range(4):
                await line.send(Add("a"), tx=tx)

        async def undone():
            async with line.transaction() as tx:
                for _ in range(4):
                    await line.send(Add("a"), tx=tx)
                raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            await undone()
    folded.clear()
    async with line_of() as line:
        result = await line.send(Add("a"))
        assert result.events[0].stream_version == 5
        assert len(folded) < 4
