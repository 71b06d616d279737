"""A pipe: answers find those who asked, whatever becomes of the others."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as CutError
from redis.exceptions import ResponseError

from trunkline.log.redis.pipe import Pipe
from trunkline.testing.contracts.support import eventually
from trunkline.testing.faults import FaultProxy
from trunkline.testing.redis_server import RedisServer


@pytest.fixture
async def server():
    async with RedisServer("--appendonly", "no") as server:
        yield server


@pytest.fixture
async def proxy(server):
    async with FaultProxy(server.port) as proxy:
        yield proxy


@pytest.fixture
async def client(proxy):
    client = Redis(port=proxy.port, protocol=2, max_connections=1, socket_timeout=20)
    yield client
    await client.aclose()


def are_sent(pipe, count):
    return pipe._stretch.users == count and not pipe._sending.locked()


async def test_answers_come_to_those_who_asked(client, proxy):
    """Many commands share one connection; a refusal among them is one command's own."""
    pipe = Pipe(client)
    asked = [pipe.execute("NOSUCH") if n == 7 else pipe.execute("ECHO", n) for n in range(20)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(answers.pop(7), ResponseError)
    assert answers == [b"%d" % n for n in range(20) if n != 7]
    await pipe.rest()
    assert await client.ping(), "the pool's only connection was given back"
    assert proxy.accepted == 1


async def three_on_their_way(client, proxy):
    """Return a pipe, and three questions that were sent and are not answered."""
    pipe = Pipe(client)
    await pipe.execute("PING")
    proxy.freeze(requests=False)
    tasks = [asyncio.create_task(pipe.execute("ECHO", n)) for n in range(3)]
    await eventually(lambda: are_sent(pipe, 3))
    return pipe, tasks


async def test_who_gives_up_leaves_no_answer_to_others(client, proxy):
    """Somebody cancelled while waiting fails those behind it, and later ones get their own."""
    pipe, tasks = await three_on_their_way(client, proxy)
    tasks[1].cancel()
    await asyncio.wait([tasks[1]])
    await pipe.rest()  # nothing to give back: others are on their way
    proxy.heal()
    first, second, third = await asyncio.gather(*tasks, return_exceptions=True)
    assert first == b"0"
    assert isinstance(second, asyncio.CancelledError)
    assert isinstance(third, CutError)
    assert await pipe.execute("ECHO", "anew") == b"anew"
    await pipe.rest()
    assert await client.ping()


async def test_cut_fails_all_on_their_way(client, proxy):
    """Whoever was sent and not answered hears of a cut; the next one connects again."""
    pipe, tasks = await three_on_their_way(client, proxy)
    proxy.refuse()
    await eventually(lambda: proxy.connections == 0)
    proxy.heal()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(one, CutError) for one in answers] == [True] * 3
    assert await pipe.execute("ECHO", "anew") == b"anew"
    await pipe.rest()
    assert await client.ping()
