"""What is trimmed before a consumer comes to it stops it, or is noted; or trimming waits for it."""

from __future__ import annotations

import asyncio

import pytest

from tests.channels.consuming import caught_up, come_true, consuming, status_of, until
from trunkline import Limits
from trunkline.channels import consumer_runner
from trunkline.channels.consumer_keeper import Keeper
from trunkline.log.memory import MemoryLog
from trunkline.log.retention import Retention
from trunkline.model.channel import ChannelKey
from trunkline.model.interest import EVERYTHING, Interest
from trunkline.model.message import Draft
from trunkline.model.position import Position
from trunkline.sql.sqlite import SQLiteDatabase
from trunkline.store.consumer_table import ConsumerTable, Definition, Standing
from trunkline.store.schema import migrate
from trunkline.testing.clock import ManualClock


async def stand_somewhere(line, seen, **options):
    """Consume one message, so that whatever is trimmed afterwards is a gap."""
    line.consumer("c", "/a", handler=lambda message: seen.append(message.data), **options)
    await line.publish("/a", 1)
    async with consuming(line):
        await caught_up(line, "c")
    assert seen == [1]


def again(ground, seen, **options):
    line = ground.line()
    line.consumer("c", "/a", handler=lambda message: seen.append(message.data), **options)
    return line


async def test_a_gap_stops_it_until_an_operator_resumes(ground):
    seen = []
    await stand_somewhere(ground.line(), seen)
    line = again(ground, seen)
    await line.publish_many([("/a", 2), ("/a", 3), ("/a", 4)])
    await line.trim("/a", 3)
    async with consuming(line):
        state = await status_of(line, "c", "stopped")
        assert "up to 3 are gone (trimmed)" in state.reason
        assert (await line.consumers.gaps("c"))[0].floor == 3
        assert seen == [1]
        await line.consumers.resume("c")
        await come_true(lambda: seen == [1, 4])
        await line.publish("/a", 5)
        await come_true(lambda: seen == [1, 4, 5])
        assert (await line.consumers.show("c")).reason == ""


async def test_it_stays_stopped_over_a_restart(sqlite_ground):
    seen = []
    await stand_somewhere(sqlite_ground.line(), seen)
    line = again(sqlite_ground, seen)
    await line.publish_many([("/a", 2), ("/a", 3)])
    await line.trim("/a", 2)
    async with consuming(line):
        await status_of(line, "c", "stopped")
    async with consuming(again(sqlite_ground, seen)) as line:
        await line.consumers.resume("c")
        await come_true(lambda: seen == [1, 3])


async def test_a_skipped_gap_is_noted(ground):
    seen = []
    await stand_somewhere(ground.line(), seen, on_gap="skip")
    line = again(ground, seen, on_gap="skip")
    await line.publish_many([("/a", 2), ("/a", 3), ("/a", 4)])
    await line.trim("/a", 3)
    async with consuming(line):
        await come_true(lambda: seen == [1, 4])
        (gap,) = await line.consumers.gaps("c")
        assert (gap.reason, gap.floor) == ("trimmed", 3)
        assert (await line.consumers.show("c")).status == "running"


async def test_what_was_gone_before_it_began_is_no_gap(sqlite_ground):
    line = sqlite_ground.line()
    seen = []
    await line.publish_many([("/a", 1), ("/a", 2)])
    await line.trim("/a", 1)
    line.consumer("c", "/a", handler=lambda message: seen.append(message.data))
    async with consuming(line):
        await come_true(lambda: seen == [2])
        assert await line.consumers.gaps("c") == []


async def test_another_channels_trimming_is_no_gap(sqlite_ground):
    seen = []
    await stand_somewhere(sqlite_ground.line(), seen)
    line = again(sqlite_ground, seen)
    await line.publish_many([("/b", 2), ("/a", 3)])
    await line.trim("/b", 1)
    async with consuming(line):
        await come_true(lambda: seen == [1, 3])


@pytest.mark.parametrize(("on_gap", "expected"), [("stop", [1]), ("skip", [1, "new"])])
async def test_a_reset_is_a_gap(ground, on_gap, expected):
    seen = []
    await stand_somewhere(ground.line(), seen, on_gap=on_gap)
    line = again(ground, seen, on_gap=on_gap)
    await line.reset()
    await line.publish("/a", "new")
    async with consuming(line):

        async def has_met() -> bool:
            return [one.reason for one in await line.consumers.gaps("c")] == ["reset"]

        await until(has_met)
        if on_gap == "stop":
            await status_of(line, "c", "stopped")
            assert seen == expected
            await line.consumers.resume("c")
        await come_true(lambda: seen == [1, "new"])


async def test_a_reset_while_it_waits_at_the_end_is_told_too(sqlite_ground):
    line = sqlite_ground.line()
    seen = []
    line.consumer("c", "/a", handler=lambda message: seen.append(message.data), on_gap="skip")
    await line.publish("/a", 1)
    async with consuming(line):
        await come_true(lambda: seen == [1])
        await line.reset()
        await line.publish("/a", 2)
        await come_true(lambda: seen == [1, 2])
        assert [one.reason for one in await line.consumers.gaps("c")] == ["reset"]


# -- keep ------------------------------------------------------------------------------------


async def kept(line):
    return [message.data for message in await line.backlog("/a")]


async def test_trimming_waits_for_the_slowest_that_keeps(ground):
    line = ground.line(max_backlog_size=2, sweep_interval=0.05)
    hold = asyncio.Event()

    @line.consumer("slow", "/a", keep="consumed")
    async def wait(message):
        await hold.wait()

    line.consumer("fast", "/a", keep="consumed", handler=lambda message: None)
    line.consumer("whatever", "/a", handler=lambda message: None)
    async with consuming(line):
        for number in range(10):
            await line.publish("/a", number)
        await caught_up(line, "fast")
        await line._roster.sweep()
        assert await kept(line) == list(range(10))
        hold.set()

        async def is_trimmed() -> bool:
            return await kept(line) == [8, 9]

        await until(is_trimmed)
        await line.publish("/a", 10)
        await until(lambda: has_kept(line, [9, 10]))


async def has_kept(line, wanted):
    return await kept(line) == wanted


async def test_trimming_waits_no_longer_than_the_cap(ground):
    line = ground.line(max_backlog_size=2)
    line.consumer("dead", "/*", keep=Limits(5, None), handler=lambda message: None)
    async with line:
        for number in range(10):
            await line.publish("/a", number, max_backlog_size=1)
        assert await kept(line) == [5, 6, 7, 8, 9]


async def test_processes_that_only_publish_wait_too(ground):
    """They learn whom trimming waits for when they open, and when it is forgotten."""
    line = ground.line(max_backlog_size=2)
    line.consumer("elsewhere", "/a", keep="consumed", handler=lambda message: None)
    async with consuming(line):
        await caught_up(line, "elsewhere")
    async with ground.line(max_backlog_size=2) as publisher:
        for number in range(5):
            await publisher.publish("/a", number)
        assert await kept(publisher) == list(range(5))
        await publisher.consumers.forget("elsewhere")
        await publisher.publish("/a", 5)
        assert await kept(publisher) == [4, 5]
        assert await publisher.consumers.list() == []


async def test_nothing_is_trimmed_before_all_who_are_waited_for_have_begun(ground):
    line = ground.line(max_backlog_size=2)
    for name in ("begins", "does-not"):
        line.consumer(name, "/a", keep="consumed", handler=lambda message: None)
    async with line:
        for number in range(10):
            await line.publish("/a", number)
        begins, idle = line._roster.runners()
        await begins._keeper.trim()
        assert await kept(line) == list(range(10))
        async with asyncio.TaskGroup() as group:
            group.create_task(begins.run())
            await caught_up(line, "begins")
            assert await begins._keeper.trim() == 0
            group.create_task(idle.run())
            await caught_up(line, "does-not")
            await begins._keeper.trim()
            begins.stop()
            idle.stop()
        assert await kept(line) == [8, 9]


def test_a_hold_widens_and_never_narrows():
    retention = Retention(Limits(10, 100.0, 50.0))
    retention.set("/much", Limits(1000, None))
    here, much = ChannelKey("/here"), ChannelKey("/much")
    retention.hold("c", EVERYTHING, Limits(100, 7.0))
    assert retention.limits(here) == Limits(100, 100.0, None)
    assert retention.limits(much) == Limits(1000, None, None)
    draft = Draft(channel=here, data=b"1", max_backlog_size=1)
    assert retention.limits_at(draft) == Limits(100, 100.0, None)
    assert retention.limits_unheld(here) == Limits(10, 100.0, 50.0)
    retention.hold("d", Interest(frozenset({here})), Limits(None, 200.0))
    assert retention.limits(here) == Limits(None, 200.0, None)
    retention.default = Limits(500)
    assert retention.limits(here).max_backlog_size is None
    retention.hold("d", EVERYTHING, None)
    assert retention.limits(here).max_backlog_size == 500
    assert retention.holds == {"c"}
    retention.hold("c", EVERYTHING, None)
    assert retention.limits(here) == Limits(500)


async def test_what_is_consumed_goes_by_age_idleness_and_size(tmp_path):
    clock = ManualClock()
    retention = Retention(Limits(50, 100.0, 1000.0))
    log = MemoryLog.from_url("memory://", retention=retention, clock=clock, options={})
    await log.open()
    database = await SQLiteDatabase.open(tmp_path / "store.db")
    await migrate(database)
    table = ConsumerTable(database)
    retention.hold("c", EVERYTHING, Limits(None, None))
    keeper = Keeper(log, retention, table, interest=EVERYTHING, clock=clock, every=1.0)
    key = ChannelKey("/a")

    async def stand(number):
        await table.forget("c")
        page = await log.read_all(0, 1)
        standing = Standing(position=Position(page.epoch, number))
        await table.declare(Definition("c", EVERYTHING, Limits(None, None)), standing)

    async def floor():
        await keeper.trim()
        return (await log.channels())[0].floor

    for number in range(20):
        await log.append([[Draft(channel=key, data=b"%d" % number)]])
        clock.advance(10.0)
    await stand(0)
    assert await floor() == 0
    await stand(4)
    assert await floor() == 4
    await stand(20)
    assert await floor() == 10  # the rest is younger than 100 s
    clock.advance(1001.0)
    await stand(15)
    assert await floor() == 15
    await stand(20)
    assert await floor() == 20
    await log.append([[Draft(channel=key, data=b"1") for _ in range(80)]])
    await stand(60)
    assert await floor() == 50
    await stand(40)
    assert await floor() == 50
    await database.close()
    await log.close()


async def test_a_worker_that_ends_does_not_undo_that_it_was_resumed(sqlite_ground, monkeypatch):
    monkeypatch.setattr(consumer_runner, "LOOK", 600.0)
    worker, desk = sqlite_ground.line(), sqlite_ground.line()
    worker.consumer("c", "/a", handler=print, start="now")
    async with desk, consuming(worker):
        await come_true(lambda: worker._hub.position.epoch)
        await desk.publish("/a", 1)
        await caught_up(desk, "c")
        await desk.reset()
        await desk.publish("/b", 1)
        await status_of(desk, "c", "stopped")
        head = (await desk.position()).global_id
        await come_true(lambda: worker._hub.head >= head)
        await desk.consumers.resume("c")
        await worker.close()
        assert (await desk.consumers.show("c")).status == "running"
