"""A durable consumer handles every message of its channels, and goes on where it stood."""

from __future__ import annotations

import asyncio

import pytest

from tests.channels.consuming import caught_up, come_true, consuming, note, notes
from trunkline import Trunkline
from trunkline.errors import ConfigError, UsageError


async def test_it_handles_what_is_kept_and_what_comes(ground):
    line = ground.line()
    seen = []
    line.consumer("all", "/orders/*", handler=lambda message: seen.append(message.data))
    await line.publish("/orders/1", "early")
    await line.publish("/other", "no")
    async with consuming(line):
        await come_true(lambda: seen == ["early"])
        await line.publish("/orders/2", "late")
        await line.publish("/orders/a/b", "no")
        await come_true(lambda: seen == ["early", "late"])


async def test_what_it_writes_and_its_checkpoint_are_one(ground):
    line = ground.line()

    @line.consumer("notes", "/a")
    async def write(message, tx):
        await tx.execute(note(ground), message.data)
        await tx.publish("/copies", message.data)

    await line.publish_many(("/a", f"{number:03}") for number in range(300))
    async with consuming(line):
        await caught_up(line, "notes")
        assert await notes(ground) == [f"{number:03}" for number in range(300)]
        assert [one.data for one in await line.backlog("/copies")] == await notes(ground)


async def test_it_goes_on_where_it_stood(ground):
    seen = []
    for number in range(3):
        line = ground.line()
        line.consumer("all", "/a", handler=lambda message: seen.append(message.data))
        await line.publish("/a", number)
        async with consuming(line):
            await caught_up(line, "all")
    assert seen == [0, 1, 2]


async def test_lists_are_never_longer_than_asked(ground):
    line = ground.line()
    lists = []

    @line.consumer("lists", "/a", batch=40)
    async def write(messages, tx):
        lists.append([message.data for message in messages])
        await tx.execute_many(note(ground), [[message.data] for message in messages])

    await line.publish_many(("/a", f"{number:03}") for number in range(100))
    async with consuming(line):
        await caught_up(line, "lists")
    assert max(map(len, lists)) == 40
    assert [data for one in lists for data in one] == await notes(ground)


@pytest.mark.parametrize(("start", "expected"), [("oldest", [1, 2, 3]), ("now", [3])])
async def test_it_begins_where_it_is_told_to(sqlite_ground, start, expected):
    line = sqlite_ground.line()
    seen = []
    line.consumer("all", "/a", handler=lambda message: seen.append(message.data), start=start)
    await line.publish_many([("/a", 1), ("/a", 2)])
    async with consuming(line):
        await caught_up(line, "all")
        await line.publish("/a", 3)
        await come_true(lambda: seen[-1:] == [3])
    assert seen == expected


async def test_it_begins_at_a_position(sqlite_ground):
    line = sqlite_ground.line()
    seen = []
    first = await line.publish("/a", 1)
    await line.publish("/a", 2)
    line.consumer(
        "all", "/a", handler=lambda message: seen.append(message.data), start=str(first.position)
    )
    async with consuming(line):
        await caught_up(line, "all")
    assert seen == [2]


async def test_nothing_runs_unless_asked(sqlite_ground):
    line = sqlite_ground.line()
    line.consumer("all", "/a", handler=print)
    async with line:
        assert await line.consumers.list() == []
        assert [one.name for one in line.services()] == ["relay", "consumer:all"]


async def test_a_profile_chooses_consumers(sqlite_ground):
    line = sqlite_ground.line(profile="some", profiles={"some": ["consumer:a*"]})
    for name in ("a1", "a2", "b"):
        line.consumer(name, "/a", handler=print)
    async with line:
        assert [one.name for one in line.services()] == ["consumer:a1", "consumer:a2"]


async def test_without_a_database_the_line_does_not_open():
    line = Trunkline("memory://")
    line.consumer("all", "/a", handler=print)
    with pytest.raises(ConfigError, match=r"\(all\).*SQLite or PostgreSQL, or set store="):
        await line.open()
    assert not line.is_open


async def test_a_store_beside_the_log_will_do(tmp_path):
    line = Trunkline("memory://", store=f"sqlite:///{tmp_path / 'store.db'}")
    seen = []

    @line.consumer("all", "/a")
    async def handle(message, tx):
        await tx.publish("/b", message.data)
        seen.append(message.data)

    line.consumer("copies", "/b", handler=lambda message: seen.append((message.data,)))
    async with consuming(line):
        line.start_services()
        await line.publish("/a", 1)
        await come_true(lambda: seen == [1, (1,)])


async def test_consumers_share_a_process_and_not_their_fate(sqlite_ground):
    line = sqlite_ground.line()
    seen, hold = [], asyncio.Event()

    @line.consumer("stuck", "/a")
    async def wait(message):
        await hold.wait()

    line.consumer("free", "/a", handler=lambda message: seen.append(message.data))
    await line.publish_many([("/a", 1), ("/a", 2)])
    async with consuming(line):
        await come_true(lambda: seen == [1, 2])
        assert (await line.consumers.lag("stuck")).messages == 2
        hold.set()


async def test_closing_finishes_the_message_in_hand(sqlite_ground):
    line = sqlite_ground.line()
    seen, begun, hold = [], asyncio.Event(), asyncio.Event()

    @line.consumer("slow", "/a")
    async def wait(message):
        begun.set()
        await hold.wait()
        seen.append(message.data)

    await line.publish_many([("/a", 1), ("/a", 2)])
    await line.open(run_consumers=True)
    await begun.wait()
    closing = asyncio.create_task(line.close())
    await asyncio.sleep(0)
    hold.set()
    await closing
    assert seen == [1]
    async with line:
        assert (await line.consumers.lag("slow")).messages == 1


async def test_one_site_or_all_of_them(sqlite_ground):
    from trunkline import ANY_SITE

    line = sqlite_ground.line()
    one, every = [], []
    line.consumer("one", "/a", site_id="s1", handler=lambda message: one.append(message.data))
    line.consumer(
        "every", "/a", site_id=ANY_SITE, handler=lambda message: every.append(message.data)
    )
    for site in ("s1", "s2", None):
        await line.publish("/a", site, site_id=site)
    async with consuming(line):
        await caught_up(line, "every")
        await caught_up(line, "one")
    assert one == ["s1"]
    assert every == ["s1", "s2", None]


async def test_a_name_is_declared_once(sqlite_ground):
    line = sqlite_ground.line()
    line.consumer("all", "/a", handler=print)
    with pytest.raises(ConfigError, match="already"):
        line.consumer("all", "/b", handler=print)


async def test_operators_must_name_a_consumer_that_ran(sqlite_ground):
    async with sqlite_ground.line() as line:
        with pytest.raises(UsageError, match="no consumer 'x'"):
            await line.consumers.pause("x")
