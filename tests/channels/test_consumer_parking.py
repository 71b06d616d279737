"""A message that fails waits with the others of its key, in order, while all else flows."""

from __future__ import annotations

import asyncio

import pytest

from tests.channels.consuming import (
    QUICK,
    caught_up,
    come_true,
    consuming,
    note,
    notes,
    status_of,
    until,
)
from trunkline.channels.consumer import Retry
from trunkline.store.parked_table import ParkedState

LATER = Retry(attempts=3, first=1000.0, limit=1000.0)


def poisoned(line, ground, *, takes_tx=True, batch=None, retry=QUICK, **options):
    """Declare a consumer that writes notes, and fails on what is in the returned set."""
    bad = set()

    async def write(given, tx):
        for message in given if batch else [given]:
            if message.data in bad:
                await tx.execute(note(ground), f"never {message.data}")
                raise ValueError(message.data)
            await tx.execute(note(ground), message.data)

    async def handle(given):
        async with line.transaction() as tx:
            await write(given, tx)

    line.consumer(
        "c", "/**", handler=write if takes_tx else handle, batch=batch, retry=retry, **options
    )
    return bad


async def parked_as(line, *states):
    """Wait until messages are parked in these states, and return them."""

    async def are_there() -> bool:
        if "c" not in {one.name for one in await line.consumers.list()}:
            return False
        found = await line.consumers.parked("c")
        return [one.state for one in found] == list(states)

    await until(are_there)
    return await line.consumers.parked("c")


@pytest.mark.parametrize("takes_tx", [True, False], ids=["tx", "free"])
@pytest.mark.parametrize("batch", [None, 10], ids=["each", "lists"])
async def test_others_flow_and_those_behind_follow_in_order(ground, takes_tx, batch):
    line = ground.line()
    bad = poisoned(line, ground, takes_tx=takes_tx, batch=batch)
    bad.add("a1")
    await line.publish_many([("/a", "a1"), ("/b", "b1"), ("/a", "a2"), ("/b", "b2"), ("/a", "a3")])
    async with consuming(line):
        await caught_up(line, "c")
        assert await notes(ground) == ["b1", "b2"]
        await line.publish_many([("/b", "b3"), ("/a", "a4")])
        found = await parked_as(line, ParkedState.PARKED, *[ParkedState.BEHIND] * 3)
        assert [one.record.data for one in found] == [b'"a1"', b'"a2"', b'"a3"', b'"a4"']
        assert found[0].attempts == 3
        assert found[0].error == "ValueError: a1"
        assert await notes(ground) == ["b1", "b2", "b3"]
        bad.clear()
        assert await line.consumers.retry("c", found[0].seq) == 1
        await parked_as(line)
        await line.publish("/a", "a5")
        await caught_up(line, "c")
        assert await notes(ground) == ["a1", "a2", "a3", "a4", "a5", "b1", "b2", "b3"]


async def test_order_within_a_key_holds_over_retries(sqlite_ground):
    line = sqlite_ground.line()
    seen, fails = [], {3, 7, 8}

    @line.consumer("c", "/**", retry=QUICK)
    async def handle(message):
        if message.data in fails:
            fails.discard(message.data)
            raise ValueError
        seen.append((message.channel, message.data))

    await line.publish_many((f"/{number % 3}", number) for number in range(30))
    async with consuming(line):
        await come_true(lambda: len(seen) == 30)
        await parked_as(line)
    for channel in range(3):
        mine = [data for name, data in seen if name == f"/{channel}"]
        assert mine == sorted(mine)
    assert seen != sorted(seen, key=lambda one: one[1])  # others didn't wait


async def test_a_key_may_be_finer_than_the_channel(sqlite_ground):
    line = sqlite_ground.line()
    seen = []

    @line.consumer("c", "/a", key=lambda message: message.data["who"], retry=LATER)
    async def handle(message):
        if message.data["n"] == 0:
            raise ValueError
        seen.append(message.data["who"])

    await line.publish_many(
        ("/a", {"who": who, "n": n}) for who, n in [("x", 0), ("y", 1), ("x", 1), ("y", 2)]
    )
    async with consuming(line):
        await caught_up(line, "c")
        found = await parked_as(line, ParkedState.RETRYING, ParkedState.BEHIND)
        assert [one.key for one in found] == ["x", "x"]
    assert seen == ["y", "y"]


async def test_a_key_that_cannot_be_found_is_the_channel(sqlite_ground):
    line = sqlite_ground.line()

    @line.consumer("c", "/a", key=lambda message: message.data["who"], retry=LATER)
    async def handle(message):
        raise ValueError

    await line.publish("/a", [])
    async with consuming(line):
        found = await parked_as(line, ParkedState.RETRYING)
        assert found[0].key == "/a"


async def test_skipped_ones_never_happen_and_those_behind_do(ground):
    line = ground.line()
    bad = poisoned(line, ground)
    bad.add("a1")
    await line.publish_many([("/a", "a1"), ("/a", "a2"), ("/a", "a3")])
    async with consuming(line):
        first, second, _ = await parked_as(line, ParkedState.PARKED, *[ParkedState.BEHIND] * 2)
        assert await line.consumers.retry("c", second.seq) == 0  # it waits behind the first
        assert await line.consumers.skip("c") == 1
        await parked_as(line)
        assert await line.consumers.skip("c", first.seq) == 0
        assert await notes(ground) == ["a2", "a3"]


async def test_what_is_parked_outlives_processes_and_trimming(ground):
    line = ground.line()
    bad = poisoned(line, ground)
    bad.add("a1")
    await line.publish_many([("/a", "a1"), ("/a", "a2"), ("/b", "b1")])
    async with consuming(line):
        await parked_as(line, ParkedState.PARKED, ParkedState.BEHIND)
        await line.trim("/a", 2)
    line = ground.line()
    poisoned(line, ground)
    await line.publish("/a", "a3")
    async with consuming(line):
        found = await parked_as(line, ParkedState.PARKED, *[ParkedState.BEHIND] * 2)
        assert await line.consumers.retry("c") == 1
        await parked_as(line)
    assert [one.record.message_id for one in found] == [1, 2, 3]
    assert await notes(ground) == ["a1", "a2", "a3", "b1"]


async def test_a_message_that_breaks_the_transaction_costs_only_itself(ground):
    """It swallows a statement's error (PostgreSQL), and publishes what can't be appended (both)."""
    line = ground.line()

    @line.consumer("c", "/**", retry=Retry(1))
    async def write(message, tx):
        await tx.execute(note(ground), message.data)
        if message.data == "swallow":
            with pytest.raises(Exception):  # noqa: B017 - whichever the driver has
                await tx.execute("INSERT INTO nowhere VALUES (1)")
            if ground.dialect == "sqlite":
                raise ValueError
        if message.data == "clash":
            await tx.publish("/x", 1, key="taken")

    await line.publish("/x", "other content", key="taken", site_id="elsewhere")
    line.consumer("nobody", "/x", site_id="elsewhere", handler=lambda message: None)
    await line.publish("/x", "key", key="taken")
    for data in ("1", "swallow", "2", "clash", "3"):
        await line.publish(f"/{data}", data)
    async with consuming(line):
        found = await parked_as(line, ParkedState.PARKED, ParkedState.PARKED)
        await caught_up(line, "c")
    assert [one.record.channel.name for one in found] == ["/swallow", "/clash"]
    assert await notes(ground) == ["1", "2", "3", "key"]


async def test_it_stops_when_too_many_are_parked(sqlite_ground):
    line = sqlite_ground.line()
    poisoned(line, sqlite_ground, max_parked=5).add("bad")
    async with consuming(line):
        for number in range(5):
            await line.publish(f"/{number}", "bad")
        state = await status_of(line, "c", "stopped")
        assert "5 messages are parked" in state.reason
        assert "max_parked is 5" in state.reason


async def test_a_message_that_is_parked_already_is_not_parked_twice(sqlite_ground):
    line = sqlite_ground.line()
    poisoned(line, sqlite_ground).add("bad")
    await line.publish_many([("/a", "bad"), ("/b", "good")])
    async with consuming(line):
        await parked_as(line, ParkedState.PARKED)
        await line.consumers.replay("c")
        await line.publish("/b", "late")
        await caught_up(line, "c")
        await parked_as(line, ParkedState.PARKED)
    assert await notes(sqlite_ground) == ["good", "good", "late"]


async def test_a_slow_retry_round_does_not_starve_others(sqlite_ground):
    line = sqlite_ground.line()
    fails, seen = asyncio.Event(), []

    @line.consumer("c", "/**", retry=Retry(attempts=10**6, first=0.001, limit=0.001))
    async def handle(message):
        if message.channel == "/bad":
            fails.set()
            raise ValueError
        seen.append(message.data)

    async with consuming(line):
        await line.publish("/bad", 0)
        await fails.wait()
        for number in range(20):
            await line.publish("/good", number)
        await come_true(lambda: seen == list(range(20)))
