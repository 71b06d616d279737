"""A line on Redis, as users have it: listeners are told of every loss, and of no other."""

from __future__ import annotations

import asyncio

import pytest

from trunkline import Trunkline
from trunkline.testing.contracts.support import eventually
from trunkline.testing.redis_server import RedisServer


@pytest.fixture
async def server():
    async with RedisServer() as server:
        yield server


both_layouts = pytest.mark.parametrize("layout", ["native", "message_bus"])


def fast(url, layout="native"):
    """Return a line's URL that looks for news often."""
    return f"{url}?poll_interval=0.1&layout={layout}"


async def listening(line, channels="/c/**"):
    seen, gaps = [], []
    await line.subscribe(channels, lambda message: seen.append(message.data), on_gap=gaps.append)
    return seen, gaps


@both_layouts
async def test_processes_hear_each_other(server, layout):
    """What one line publishes, a listener on another gets, in order, once."""
    url = f"{server.log_url}?layout={layout}"
    async with Trunkline(url) as one, Trunkline(url) as other:
        seen, gaps = await listening(one)
        for number in range(100):
            await (one, other)[number % 2].publish(f"/c/{number % 7}", number)
        await eventually(lambda: len(seen) == 100)
        assert (seen, gaps) == (list(range(100)), [])


@both_layouts
async def test_flush_is_told_to_every_live_listener(server, layout):
    """After FLUSHALL every listener everywhere learns of the reset, then hears what is new."""
    url = fast(server.log_url, layout)
    async with Trunkline(url) as one, Trunkline(url) as other:
        listeners = [await listening(line) for line in (one, other)]
        await one.publish("/c/1", "before")
        await eventually(lambda: all(seen == ["before"] for seen, _ in listeners))
        await server.flush()
        await eventually(lambda: all(gaps for _, gaps in listeners))
        assert {gap.reason for _, gaps in listeners for gap in gaps} == {"reset"}
        await other.publish("/c/1", "after")
        await eventually(lambda: all(seen == ["before", "after"] for seen, _ in listeners))
        assert all(len(gaps) == 1 for _, gaps in listeners)


async def test_failover_that_lost_a_message_is_told(server):
    """A listener that had the lost message is told of a reset by the new master."""
    async with RedisServer() as replica, Trunkline(fast(server.log_url)) as line:
        await line.publish("/c/1", 1)
        await replica.follow(server)
        await replica.promote()
        seen, gaps = await listening(line)
        await line.publish("/c/1", "lost")
        await eventually(lambda: seen == ["lost"])
        # The address now leads to the server that never got it, as after a failover.
        await server.follow(replica)
        await server.promote()
        await eventually(lambda: bool(gaps))
        await line.publish("/c/1", "on")
        await eventually(lambda: seen[-1] == "on")
        assert [gap.reason for gap in gaps] == ["reset"]


async def test_restart_is_no_gap(server):
    """Over kill -9 and restart a listener misses nothing and is told of nothing."""
    async with Trunkline(fast(server.log_url)) as line:
        seen, gaps = await listening(line)
        await line.publish("/c/1", 1)
        await server.kill9()
        task = asyncio.create_task(line.publish("/c/1", 2))
        await asyncio.sleep(0)
        await server.start()
        await task
        await line.publish("/c/1", 3)
        await eventually(lambda: seen == [1, 2, 3])
        assert gaps == []
