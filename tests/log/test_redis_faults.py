"""The Redis engine in trouble: killed, flushed, failed over, cut off, made read-only."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal

import pytest

from tests.log.acknowledged import check_line
from trunkline.errors import LogError, LogUnavailableError
from trunkline.log.redis import RedisLog
from trunkline.log.retention import Retention
from trunkline.model.channel import ChannelKey
from trunkline.model.message import Draft
from trunkline.runtime.clock import SystemClock
from trunkline.testing.contracts.support import append, eventually, plain, values, whole_line
from trunkline.testing.faults import FaultProxy
from trunkline.testing.redis_server import RedisServer

A = ChannelKey("/a")
numbers = itertools.count()


@contextlib.asynccontextmanager
async def opened(url, **options):
    log = RedisLog.from_url(url, retention=Retention(), clock=SystemClock(), options=options)
    await log.open()
    try:
        yield log
    finally:
        await log.close()


@pytest.fixture
async def server():
    async with RedisServer() as server:
        yield server


async def publish(log, who, acknowledged, stop):
    """Publish until told to stop; keep what was acknowledged, by global id."""
    for number in itertools.count():
        if stop.is_set():
            return
        (receipt,) = await append(log, [plain(f"/c/{who % 3}", [who, number])])
        acknowledged[receipt.global_id] = [who, number]


async def test_killed_server_keeps_what_was_acknowledged(server):
    """Over three kill -9 and restarts publishers wait, and nothing is lost or doubled."""
    acknowledged, stop = {}, asyncio.Event()
    retention = Retention(max_line_size=None)
    retention.max_backlog_size = None
    log = RedisLog.from_url(
        server.log_url, retention=retention, clock=SystemClock(), options={"queue_timeout": 30}
    )
    await log.open()
    epoch = (await log.last_ids([])).epoch
    async with asyncio.TaskGroup() as group:
        for who in range(8):
            group.create_task(publish(log, who, acknowledged, stop))
        for _ in range(3):
            count = len(acknowledged)
            await eventually(lambda count=count: len(acknowledged) > count + 200)
            await server.kill9()
            await server.start()
        stop.set()
    check_line(await whole_line(log), acknowledged)
    assert (await log.last_ids([])).epoch == epoch
    assert len(acknowledged) > 600
    await log.close()


async def test_cut_connections_lose_and_double_nothing(server):
    """While connections are killed again and again, every publish is settled, once."""
    acknowledged, stop = {}, asyncio.Event()
    async with opened(server.log_url) as log:
        log._retention.max_backlog_size = None
        async with asyncio.TaskGroup() as group:
            for who in range(8):
                group.create_task(publish(log, who, acknowledged, stop))
            for _ in range(30):
                count = len(acknowledged)
                await eventually(lambda count=count: len(acknowledged) > count)
                await server.execute("CLIENT", "KILL", "TYPE", "normal")
            stop.set()
        check_line(await whole_line(log), acknowledged)


async def test_answer_that_was_lost_is_learnt(server):
    """A turn whose connection is cut after it was stored is not stored again."""
    async with opened(server.log_url) as log:
        link = log._parts.link
        store = link.store
        cuts = [ConnectionError("cut after it was stored")] * 3

        async def cut_store(script, *ask, body):
            reply = await store(script, *ask, body=body)
            if cuts:
                raise cuts.pop()
            return reply

        link.store = cut_store
        receipts = await append(log, [plain("/a", 1), plain("/a", 2, key="k")])
        assert [one.message_id for one in receipts] == [1, 2]
        assert cuts == []
        assert values(await whole_line(log)) == [1, 2]


@pytest.mark.parametrize("are_stored", [False, True])
async def test_cut_under_two_turns_in_flight_loses_and_doubles_nothing(server, are_stored):
    """Two turns on one connection that breaks, before they are stored or after, are stored once."""
    count = 40
    async with (
        FaultProxy(server.port) as proxy,
        opened(f"redis://127.0.0.1:{proxy.port}/0", queue_timeout=30) as log,
        opened(server.log_url) as direct,
    ):
        await append(log, [plain("/a", "first")])
        proxy.freeze(requests=not are_stored, answers=are_stored)
        tasks = [asyncio.create_task(append(log, [plain("/a", n)])) for n in range(count)]
        await eventually(lambda: log._parts.appends.in_flight == 2 and proxy.held > 0)
        async with asyncio.timeout(10):
            while are_stored and (await direct.last_ids([])).head < 1 + count:
                await asyncio.sleep(0.01)
        assert not any(task.done() for task in tasks)
        proxy.refuse()
        await eventually(lambda: proxy.connections == 0)
        proxy.heal()
        receipts = [receipt for (receipt,) in await asyncio.gather(*tasks)]
        assert [one.message_id for one in receipts] == list(range(2, count + 2))
        (receipt,) = await append(log, [plain("/a", "last")])
        assert receipt.global_id == count + 2
        assert values(await whole_line(direct)) == ["first", *range(count), "last"]


async def test_frozen_server_stores_what_was_sent_twice_once(server):
    """A server that stands still gets the same turn on several connections, and stores it once."""
    async with opened(server.log_url, socket_timeout=0.2, queue_timeout=30) as log:
        await append(log, [plain("/a", 0)])
        os.kill(server.pid, signal.SIGSTOP)
        try:
            tasks = [asyncio.create_task(append(log, [plain("/a", n)])) for n in range(1, 6)]
            await eventually(lambda: log._parts.appends._trouble is not None)
            await asyncio.sleep(0.7)  # some more copies of it
            assert not any(task.done() for task in tasks)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        receipts = [one for (one,) in await asyncio.gather(*tasks)]
        assert [one.message_id for one in receipts] == [2, 3, 4, 5, 6]
        await append(log, [plain("/a", 6)])
        assert values(await whole_line(log)) == list(range(7))


async def test_copy_that_comes_too_late_is_refused(server):
    """An older turn that arrives after a newer one, by a connection thought dead, is not stored."""
    async with opened(server.log_url) as log:
        link, appends, layout = log._parts.link, log._parts.appends, log._parts.layout
        for _ in range(2):
            await asyncio.gather(*(append(log, [plain("/a", n)]) for n in range(40)))
        assert all(lane.number > 1 for lane in appends.lanes)
        before = values(await whole_line(log))
        for lane in appends.lanes:
            stale = layout.encode([[[plain("/a", "late")]]], lane.token, 1)
            with pytest.raises(Exception, match="STALE"):
                await link.store(stale.script, *stale.ask, body=stale.body)
        assert values(await whole_line(log)) == before


async def test_script_cache_may_be_flushed(server):
    """SCRIPT FLUSH between two calls is not noticed."""
    async with opened(server.log_url) as log:
        for number in range(3):
            await append(log, [plain("/a", number)])
            await server.execute("SCRIPT", "FLUSH")
        assert values(await whole_line(log)) == [0, 1, 2]


async def test_flush_is_told_by_a_new_epoch(server):
    """After FLUSHALL whoever comes first founds a new line, and all processes see one new epoch."""
    async with opened(server.log_url) as log, opened(server.log_url) as other:
        await append(log, [plain("/a", 1)], [plain("/a", 2)])
        before = await other.last_ids([])
        await server.flush()
        (receipt,) = await append(log, [plain("/a", "anew")])
        page = await other.read_all(before.head)
        assert receipt.epoch == page.epoch != before.epoch
        assert (receipt.global_id, page.head) == (1, 1)


async def test_flush_wakes_live_readers(server):
    """Watchers hear of a flush though nobody publishes: the look in between finds it."""
    async with opened(server.log_url, poll_interval=0.1) as log:
        await append(log, [plain("/a", 1)])
        woken = []
        log.watch(lambda: woken.append(1))
        epoch = (await log.last_ids([])).epoch
        await eventually(lambda: bool(woken))
        woken.clear()
        await server.flush()
        await eventually(lambda: bool(woken))
        assert (await log.read_all(0)).epoch != epoch


@pytest.mark.parametrize("rewritten", [0, 3])
async def test_failover_that_lost_messages_changes_the_epoch(rewritten):
    """A counter below what was seen, or another message where one was, makes a new epoch."""
    async with RedisServer() as master, RedisServer() as replica:
        async with opened(master.log_url) as log:
            await append(log, [plain("/a", 1)])
            await replica.follow(master)
            before = await log.last_ids([A])
            await replica.promote()
            await append(log, [plain("/a", 2)])
            seen = log._parts.link.seen
        async with opened(replica.log_url) as stranger:
            for number in range(rewritten):
                await append(stranger, [plain("/b", number)])
            assert (await stranger.last_ids([])).epoch == before.epoch
            async with opened(replica.log_url) as back:
                back._parts.link.seen = seen
                page = await back.read_all(2)
                assert page.epoch != before.epoch
                assert (await stranger.last_ids([])).epoch == page.epoch
                assert len(await whole_line(back)) == 1 + rewritten


async def test_failover_that_lost_nothing_keeps_the_epoch():
    """A replica that had everything goes on as the same line."""
    async with RedisServer() as master, RedisServer() as replica:
        async with opened(master.log_url) as log:
            await replica.follow(master)
            await append(log, [plain("/a", 1)])
            seen = log._parts.link.seen
            await master.execute("WAIT", 1, 5000)
        await replica.promote()
        async with opened(replica.log_url) as back:
            back._parts.link.seen = seen
            page = await back.read_all(0)
            assert (page.epoch, values(page.records)) == (seen.epoch, [1])


async def test_read_only_master_makes_publishes_wait(server):
    """While the server is a replica, publishes queue; they go on when it is master again."""
    async with RedisServer() as other, opened(server.log_url) as log:
        await append(log, [plain("/a", 0)])
        await other.follow(server)
        await other.promote()
        await server.follow(other)
        tasks = [asyncio.create_task(append(log, [plain("/a", n)])) for n in range(1, 6)]
        await eventually(lambda: log._parts.appends._trouble is not None)
        assert not any(task.done() for task in tasks)
        assert values(await whole_line(log)) == [0], "reading goes on"
        await server.promote()
        await asyncio.gather(*tasks)
        assert values(await whole_line(log)) == [0, 1, 2, 3, 4, 5]


async def test_queue_has_bounds_of_number_and_time(server):
    """More than queue_limit is refused at once, and whatever waits longer than its time fails."""
    async with opened(server.log_url, queue_limit=3, queue_timeout=1.0) as log:
        await append(log, [plain("/a", 0)])
        await server.kill9()
        tasks = [asyncio.create_task(log.append([[plain("/a", n)]])) for n in range(3)]
        await eventually(lambda: log._parts.appends._trouble is not None)
        with pytest.raises(LogUnavailableError, match="queue_limit=3"):
            await log.append([[plain("/a", "too much")]])
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(result, LogUnavailableError)
        with pytest.raises(LogUnavailableError, match="cannot be reached"):
            await log.read_all(0)
        await server.start()
        (receipt,) = await append(log, [plain("/a", "again")])
        assert receipt.message_id == len(await whole_line(log))


async def test_listener_comes_back_after_every_cut(server):
    """A watcher whose connection is cut, by anybody or by a restart, hears of what comes later."""
    async with opened(server.log_url) as log, opened(server.log_url) as other:
        woken = asyncio.Event()
        log.watch(woken.set)
        await woken.wait()
        after = 0
        for number in range(4):
            if number == 3:
                await server.kill9()
                await server.start()
            else:
                await server.execute("CLIENT", "KILL", "TYPE", "pubsub")
            await append(other, [plain("/a", number)])
            async with asyncio.timeout(10):
                while after < number + 1:
                    await woken.wait()
                    woken.clear()
                    after = (await log.read_all(after)).upto


async def test_deaf_listener_subscribes_again(server, caplog):
    """Hints that do not come, though the line moves, make the listener connect anew."""
    async with (
        opened(server.log_url, poll_interval=0.05) as log,
        opened(server.log_url) as other,
    ):
        woken = []
        log.watch(lambda: woken.append(1))
        await eventually(lambda: bool(woken))
        log._parts.layout.news_channel = "nobody tells anything here"
        await server.execute("CLIENT", "KILL", "TYPE", "pubsub")
        await eventually(lambda: "interrupted" in caplog.text)
        await asyncio.sleep(0)
        await append(other, [plain("/a", 1)])
        await eventually(lambda: "stay away" in caplog.text)


async def test_output_limit_cuts_a_slow_listener_and_nothing_is_lost():
    """The server cuts whoever does not take its hints; the reader still finds every message."""
    limit = ("--client-output-buffer-limit", "pubsub", "1kb", "1kb", "1")
    flood = "for i = 1, 2000 do redis.call('PUBLISH', KEYS[1], string.rep('x', 100)) end"
    async with (
        RedisServer(*limit) as server,
        opened(server.log_url) as log,
        opened(server.log_url) as other,
    ):
        woken = asyncio.Event()
        log.watch(woken.set)
        after = 0
        for number in range(20):
            before = (await server.execute("INFO", "clients"))["connected_clients"]
            assert before
            await server.execute("EVAL", flood, 1, "trunkline:news")
            await append(other, [plain("/a", number)])
            async with asyncio.timeout(10):
                while after < number + 1:
                    await woken.wait()
                    woken.clear()
                    after = (await log.read_all(after)).upto


async def test_full_memory_is_told_and_leaves_nothing_half(server):
    """Over maxmemory a publish fails with the fix, and works again with room."""
    async with opened(server.log_url) as log:
        await append(log, [plain("/a", 1)])
        await server.execute("CONFIG", "SET", "maxmemory", "100kb")
        with pytest.raises(LogUnavailableError, match="maxmemory"):
            await append(log, [plain("/a", "x" * 1000), plain("/b", 1)])
        await server.execute("CONFIG", "SET", "maxmemory", "0")
        (receipt,) = await append(log, [plain("/a", 2)])
        assert (receipt.global_id, receipt.message_id) == (2, 2)


async def test_missing_message_is_corruption_not_silence(server):
    """A message that somebody deleted behind our back makes reading fail, not skip."""
    from trunkline.errors import LogCorruptError

    async with opened(server.log_url) as log:
        await append(log, [plain("/a", 1)], [plain("/a", 2)])
        await server.execute("HDEL", "trunkline:b:0", "1")
        with pytest.raises(LogCorruptError, match="noeviction"):
            await log.read(A, 0)


async def test_given_client_is_used_and_left_open(server):
    """A client that the application has serves the log and outlives it."""
    from redis.asyncio import Redis

    client = Redis(host="127.0.0.1", port=server.port)
    async with opened("redis://", client=client) as log:
        await append(log, [plain("/a", 1)])
    assert await client.ping()
    await client.aclose()
    with pytest.raises(LogError):
        async with opened(f"redis://127.0.0.1:{server.port}", password="wrong"):
            pass


async def test_turn_that_cannot_be_encoded_fails_alone(server, caplog):
    """Something that is no draft fails its own caller; the next append is stored."""
    async with opened(server.log_url) as log:
        with pytest.raises(AttributeError):
            await log.append([[Draft(channel=None, data=b"1")]])
        assert "nobody foresaw" in caplog.text
        (receipt,) = await append(log, [plain("/a", 1)])
        assert receipt.global_id == 1
