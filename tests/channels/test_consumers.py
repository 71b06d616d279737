"""Operators see where consumers stand, and pause, resume, seek and replay them from anywhere."""

from __future__ import annotations

import asyncio

import pytest

from tests.channels.consuming import (
    caught_up,
    come_true,
    consuming,
    note,
    notes,
    status_of,
    until,
)
from trunkline.errors import UsageError
from trunkline.model.position import Position


def collecting(line, **options):
    seen = []
    line.consumer("c", "/a", handler=lambda message: seen.append(message.data), **options)
    return seen


async def test_a_paused_one_waits_and_a_resumed_one_goes_on(ground):
    line = ground.line()
    seen = collecting(line)
    async with consuming(line), ground.line() as elsewhere:
        await line.publish("/a", 1)
        await come_true(lambda: seen == [1])
        await elsewhere.consumers.pause("c", "at night")
        assert (await status_of(line, "c", "paused")).reason == "at night"
        number = 1
        while number == len(seen):  # it may take a moment until it looks
            number += 1
            await line.publish("/a", number)
            await caught_up_reading(line)
        await elsewhere.consumers.resume("c")
        await come_true(lambda: seen == list(range(1, number + 1)))


async def caught_up_reading(line):
    """Let the hub dispatch everything, so that a consumer that runs would have it."""
    async with asyncio.timeout(10):
        last = (await line.position()).global_id
        async for message in line.subscribe("/a", position=0):
            if message.global_id == last:
                return


async def test_a_pause_survives_a_restart(sqlite_ground):
    line = sqlite_ground.line()
    collecting(line)
    async with consuming(line):
        await caught_up(line, "c")
        await line.consumers.pause("c")
    line = sqlite_ground.line()
    seen = collecting(line)
    await line.publish("/a", 1)
    async with consuming(line):
        await caught_up_reading(line)
        assert seen == []
        await line.consumers.resume("c")
        await come_true(lambda: seen == [1])


async def test_a_pause_lets_the_page_under_way_finish(ground):
    line = ground.line()
    begun, hold, seen = asyncio.Event(), asyncio.Event(), []

    @line.consumer("c", "/a")
    async def write(message):
        begun.set()
        await hold.wait()
        seen.append(message.data)

    await line.publish("/a", "x")
    async with consuming(line):
        await begun.wait()
        await line.consumers.pause("c")
        await line.publish("/a", "y")
        hold.set()
        await caught_up_to(line, 1)
        assert (await line.consumers.show("c")).status == "paused"
        assert seen == ["x"]
        await line.consumers.resume("c")
        await come_true(lambda: seen == ["x", "y"])


async def caught_up_to(line, number):
    async def is_there() -> bool:
        return (await line.consumers.show("c")).position.global_id == number

    await until(is_there)


async def test_a_seek_undoes_the_page_under_way(postgres_ground):
    """What was begun before the decision can't be committed after it."""
    ground = postgres_ground  # on SQLite the decision waits for the one writer
    line = ground.line()
    begun, hold = asyncio.Event(), asyncio.Event()

    @line.consumer("c", "/a")
    async def write(message, tx):
        await tx.execute(note(ground), message.data)
        begun.set()
        await hold.wait()

    await line.publish("/a", "x")
    async with consuming(line):
        await begun.wait()
        await line.consumers.pause("c")
        await line.consumers.seek("c", "now")
        hold.set()
        await line.consumers.resume("c")
        await line.publish("/a", "y")
        await caught_up_to(line, 2)
    assert await notes(ground) == ["y"]


async def test_a_seek_takes_hold_while_it_runs(ground):
    line = ground.line()
    seen = collecting(line)
    first = await line.publish("/a", 1)
    await line.publish_many([("/a", 2), ("/a", 3)])
    async with consuming(line), ground.line() as elsewhere:
        await come_true(lambda: seen == [1, 2, 3])
        assert await elsewhere.consumers.seek("c", first.position) == first.position
        await come_true(lambda: seen == [1, 2, 3, 2, 3])
        await elsewhere.consumers.replay("c")
        await come_true(lambda: seen == [1, 2, 3, 2, 3, 1, 2, 3])


async def test_a_paused_one_may_be_moved_and_stays_paused(sqlite_ground):
    line = sqlite_ground.line()
    seen = collecting(line)
    await line.publish_many([("/a", 1), ("/a", 2)])
    async with consuming(line):
        await come_true(lambda: seen == [1, 2])
        await line.consumers.pause("c")
        await line.consumers.seek("c", "oldest")
        assert (await line.consumers.show("c")).status == "paused"
        assert (await line.consumers.lag("c")).messages == 2
        await line.consumers.seek("c", "now")
        assert (await line.consumers.lag("c")).messages == 0
        await line.consumers.resume("c")
        await line.publish("/a", 3)
        await come_true(lambda: seen == [1, 2, 3])


async def test_a_seek_behind_the_end_is_refused(sqlite_ground):
    line = sqlite_ground.line()
    collecting(line)
    async with consuming(line):
        await caught_up(line, "c")
        end = await line.position()
        for wrong in (Position(end.epoch, end.global_id + 1), Position("other", 0)):
            with pytest.raises(UsageError, match="is no position of this line"):
                await line.consumers.seek("c", wrong)


async def test_the_lag_counts_what_it_wants_and_knows_its_age(ground):
    line = ground.line()
    collecting(line)
    async with consuming(line):
        await caught_up(line, "c")
        lag = await line.consumers.lag("c")
        assert (lag.messages, lag.seconds, lag.is_more, lag.is_broken) == (0, 0.0, False, False)
        await line.consumers.pause("c")
        await line.publish_many([("/a", 1), ("/b", 2), ("/a", 3)])
        lag = await line.consumers.lag("c")
        assert (lag.messages, lag.is_more, lag.is_broken) == (2, False, False)
        assert 0.0 <= lag.seconds < 60.0
        await line.trim("/a", 1)
        lag = await line.consumers.lag("c")
        assert (lag.messages, lag.is_broken) == (1, True)


async def test_the_list_tells_what_there_is(ground):
    line = ground.line()
    line.consumer("b", ["/x", "/orders/*"], handler=lambda message: None, keep="consumed")
    line.consumer("a", "/a", handler=lambda message: None)
    async with consuming(line):
        await caught_up(line, "a")
        await caught_up(line, "b")
        await line.publish("/x", 1)
        await caught_up(line, "b")
        first, second = await line.consumers.list()
        assert (first.name, second.name) == ("a", "b")
        assert second.channels == ("/orders/*", "/x")
        assert second.keep is not None
        assert first.keep is None
        assert first.holder
        assert (second.status, second.behind, second.parked) == ("running", 0, 0)


async def test_unwanted_messages_move_it_too_when_it_ends(sqlite_ground):
    line = sqlite_ground.line()
    seen = collecting(line)
    async with consuming(line):
        await line.publish("/a", 1)
        await come_true(lambda: seen == [1])
        for number in range(5):
            await line.publish("/b", number)
        last = await line.position()
        async with asyncio.timeout(10):
            async for message in line.subscribe("/b", position=0):
                if message.global_id == last.global_id:
                    break
    async with line:
        assert (await line.consumers.show("c")).position == last


async def test_a_forgotten_one_begins_anew(sqlite_ground):
    line = sqlite_ground.line()
    seen = collecting(line)
    await line.publish("/a", 1)
    async with consuming(line):
        await come_true(lambda: seen == [1])
        await caught_up(line, "c")
        await line.consumers.forget("c")
        assert await line.consumers.list() == []
    line = sqlite_ground.line()
    seen = collecting(line)
    async with consuming(line):
        await come_true(lambda: seen == [1])


async def test_retrying_or_skipping_nothing_is_nothing(sqlite_ground):
    line = sqlite_ground.line()
    collecting(line)
    async with consuming(line):
        await caught_up(line, "c")
        assert await line.consumers.retry("c") == 0
        assert await line.consumers.skip("c", 99) == 0
        assert list(await line.consumers.parked("c")) == []


async def test_the_holder_is_nobody_when_nothing_runs(sqlite_ground):
    line = sqlite_ground.line()
    collecting(line)
    async with consuming(line):
        await caught_up(line, "c")
    async with line:

        async def is_free() -> bool:
            return (await line.consumers.show("c")).holder == ""

        await until(is_free)
