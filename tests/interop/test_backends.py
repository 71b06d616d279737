"""Keeping on every engine that several processes share: what message_bus asks of each backend.

Items 21 to 39 of its suites, on Redis in both layouts, on PostgreSQL and on NATS. What Ruby's own
layout cannot hold differs, as docs/compatibility.md says.
"""

from __future__ import annotations

import asyncio
import inspect
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.interop.conftest import take
from tests.log.postgres import postgres_url, schema  # noqa: F401 - fixtures
from trunkline import Trunkline
from trunkline.log.port import Log
from trunkline.log.registry import engine_for
from trunkline.testing.contracts.support import eventually
from trunkline.testing.nats_server import NatsServer
from trunkline.testing.redis_server import RedisServer

Lines = Callable[..., Any]
ENGINES = ("redis", "ruby", "postgres", "nats")
#: A channel that expires in Ruby's layout does so by Redis's clock, in whole seconds.
SECOND = 1.0


@pytest.fixture(scope="module")
async def redis_server() -> AsyncIterator[RedisServer]:
    async with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
async def nats_server() -> AsyncIterator[NatsServer]:
    async with NatsServer() as server:
        yield server


@pytest.fixture
def postgres_line(postgres_url: str, schema: str) -> str:  # noqa: F811
    return f"{postgres_url}?schema={schema}"


@pytest.fixture(params=ENGINES)
async def url(
    request: pytest.FixtureRequest,
    redis_server: RedisServer,
    nats_server: NatsServer,
    postgres_line: str,
) -> str:
    """Return the URL of a fresh line on each engine."""
    name = secrets.token_hex(4)
    if request.param == "redis":
        return f"{redis_server.log_url}?prefix={name}:"
    if request.param == "ruby":
        await redis_server.flush()
        return f"{redis_server.log_url}?layout=message_bus"
    if request.param == "nats":
        return f"{nats_server.url}?line={name}"
    return postgres_line


@pytest.fixture
async def make(url: str) -> AsyncIterator[Lines]:
    """Open lines of the engine, with settings."""
    async with AsyncExitStack() as stack:

        async def make(**settings: Any) -> Trunkline:
            return await stack.enter_async_context(Trunkline(url, **settings))

        yield make


@pytest.fixture
async def line(make: Lines) -> Trunkline:
    found: Trunkline = await make()
    return found


def is_ruby(url: str) -> bool:
    return "message_bus" in url


async def test_the_engine_offers_the_port(url: str) -> None:
    """21."""
    engine = engine_for(url)
    port = {name for name, _ in inspect.getmembers(Log) if not name.startswith("_")}
    assert {name for name, _ in inspect.getmembers(engine) if not name.startswith("_")} >= port
    assert not inspect.isabstract(engine)


async def test_the_backlog_from_zero(line: Trunkline) -> None:
    """22."""
    for data in ("one", "two"):
        await line.publish("/foo", data)
    found = await line.backlog("/foo", 0)
    assert [(one.message_id, one.channel, one.data) for one in found] == [
        (1, "/foo", "one"),
        (2, "/foo", "two"),
    ]


async def test_a_size_by_construction(make: Lines) -> None:
    """23 and 24: the last two remain, with their ids."""
    line = await make(max_backlog_size=2)
    for number in range(1, 5):
        await line.publish("/foo", number)
    assert [(one.message_id, one.data) for one in await line.backlog("/foo")] == [(3, 3), (4, 4)]


async def test_a_cap_over_all_channels(make: Lines, url: str) -> None:
    """25: Ruby's layout bounds the pointers of the global order at once, others in a sweep."""
    if is_ruby(url):
        line = await make(log_options={"max_global_backlog_size": 2})
    else:
        line = await make(max_line_size=2)
    for channel in ("/foo", "/bar", "/baz"):
        await line.publish(channel, channel)
    await line._log.sweep()
    assert [one.channel for one in await line.global_backlog()] == ["/bar", "/baz"]


async def test_a_message_by_its_id(line: Trunkline) -> None:
    """26."""
    await line.publish("/foo", "a")
    receipt = await line.publish("/foo", "b")
    assert receipt is not None
    found = await line.message("/foo", receipt.message_id)
    assert found is not None
    assert found.data == "b"
    assert await line.message("/foo", 3) is None


async def test_four_times_twenty_five_at_once(line: Trunkline) -> None:
    """27."""

    async def publish(who: int) -> None:
        for number in range(25):
            await line.publish("/foo", [who, number])

    await asyncio.gather(*map(publish, range(4)))
    found = await line.backlog("/foo")
    assert [one.message_id for one in found] == list(range(1, 101))
    assert sorted(one.data for one in found) == [[a, b] for a in range(4) for b in range(25)]


async def test_bars_are_nothing_special(line: Trunkline) -> None:
    """28."""
    await line.publish("/||", "||")
    (found,) = await line.backlog("/||")
    assert (found.channel, found.data) == ("/||", "||")


async def test_last_ids_count_and_are_zero_for_the_unknown(line: Trunkline) -> None:
    """29."""
    assert await line.last_id("/foo") == 0
    await line.publish("/foo", 1)
    assert await line.last_id("/foo") == 1
    await line.publish("/bar", 1)
    await line.publish("/bar", 2)
    found = await line.last_ids(["/foo", "/bar", "/baz"])
    assert found == {"/foo": 1, "/bar": 2, "/baz": 0}


@pytest.mark.parametrize("is_at_publish", [False, True], ids=["setting", "at publish"])
async def test_an_age_takes_what_is_older(make: Lines, url: str, *, is_at_publish: bool) -> None:
    """30 and 31: a silent channel is empty after its age, one that is written to keeps on."""
    age = {"max_backlog_age": SECOND}
    line = await make(**({} if is_at_publish else age))
    given = age if is_at_publish else {}
    await line.publish("/foo", "old", **given)

    async def backlog_is(wanted: list[str]) -> None:
        async with asyncio.timeout(20):
            while [one.data for one in await line.backlog("/foo")] != wanted:
                await line._log.sweep()
                if is_at_publish and not is_ruby(url):
                    await line.publish("/foo", "next", **given)
                await asyncio.sleep(0.05)

    if is_at_publish and not is_ruby(url):
        # An age given at a publish holds for the trim that publish makes.
        async with asyncio.timeout(20):
            while "old" in [one.data for one in await line.backlog("/foo")]:
                await line.publish("/foo", "next", **given)
                await asyncio.sleep(0.05)
    else:
        await backlog_is([])
        assert await line.global_backlog() == []
        # Ruby's channel counts anew after its expiry, as in Ruby; ours goes on.
        receipt = await line.publish("/foo", "new", **given)
        assert receipt is not None
        assert receipt.message_id == (1 if is_ruby(url) else 2)


async def test_a_size_at_every_publish(line: Trunkline) -> None:
    """32."""
    for number in range(3):
        await line.publish("/foo", number, max_backlog_size=2)
    assert [one.data for one in await line.backlog("/foo")] == [1, 2]


async def test_global_order_and_both_ids(line: Trunkline) -> None:
    """33."""
    for channel in ("/foo", "/hello", "/foo", "/hello"):
        await line.publish(channel, channel)
    ids = [(one.global_id, one.message_id) for one in await line.global_backlog()]
    assert ids == [(1, 1), (2, 1), (3, 2), (4, 2)]


async def test_the_global_backlog_leaves_out_what_its_channel_trimmed(line: Trunkline) -> None:
    """34."""
    for number in range(2):
        await line.publish("/foo", number, max_backlog_size=1)
        await line.publish("/bar", number, max_backlog_size=1)
    found = [(one.channel, one.data) for one in await line.global_backlog()]
    assert found == [("/foo", 1), ("/bar", 1)]


async def test_a_subscription_survives_a_reset(line: Trunkline) -> None:
    """35: and the first message afterwards has the global id 1."""
    heard: list[Any] = []
    await line.publish("/foo", "old")
    await line.subscribe("/foo", heard.append)
    await line.reset()
    await line.publish("/foo", "new")
    await eventually(lambda: bool(heard))
    assert [(one.global_id, one.data) for one in heard] == [(1, "new")]


async def test_clear_every_trims_at_every_fifth(make: Lines) -> None:
    """36."""
    line = await make(max_backlog_size=2, clear_every=5)
    counts = []
    for number in range(5):
        await line.publish("/foo", number)
        counts.append(len(await line.backlog("/foo")))
    assert counts == [1, 2, 3, 4, 2]


async def test_everything_from_zero_then_live(line: Trunkline) -> None:
    """37."""
    await line.publish("/a", 1)
    await line.publish("/b", 2)
    async with line.subscribe("/**", position=0) as messages:
        assert [one.data for one in await take(messages, 2)] == [1, 2]
        await line.publish("/c", 3)
        assert (await anext(messages)).data == 3


async def test_a_channel_from_zero_then_live(line: Trunkline) -> None:
    """38."""
    await line.publish("/a", 1)
    await line.publish("/b", 2)
    async with line.subscribe("/a", after=0) as messages:
        assert (await anext(messages)).data == 1
        await line.publish("/a", 3)
        assert (await anext(messages)).data == 3


async def test_without_an_id_no_backlog(line: Trunkline) -> None:
    """39."""
    await line.publish("/a", 1)
    async with line.subscribe("/a") as messages:
        await line.publish("/a", 2)
        assert (await anext(messages)).data == 2
