"""The clients against our real server: everything once and in order, also over kill -9."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.client.scripted import take, until
from trunkline import Trunkline
from trunkline.client import Client, MessageBusClient
from trunkline.client.settings import TRANSPORTS
from trunkline.errors import AccessDeniedError, GapError, KeyReusedError
from trunkline.testing.servers import Server, trunkline_serve

NATIVE = ["websocket", "sse"]
KEY = "a-key-of-this-test"


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[Trunkline]:
    """Publish from a process of our own to the file that the server serves."""
    async with Trunkline(f"sqlite:///{tmp_path}/line.db", max_backlog_size=100_000) as line:
        yield line


@pytest.fixture
async def server(line: Trunkline, tmp_path: Path) -> AsyncIterator[Server]:
    """Serve the file."""
    where = {"TRUNKLINE_PUBLISH_KEYS": KEY, "TRUNKLINE_LONG_POLLING_INTERVAL": "3"}
    served = trunkline_serve("--log", f"sqlite:///{tmp_path}/line.db", environment=where)
    async with served:
        yield served


def client(server: Server, transport: Any, **options: Any) -> Client:
    options = {"first_delay": 0.05, "poll_interval": 0.05, **options}
    return Client(server.url, transport=transport, **options)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_backlog_then_live(line: Trunkline, server: Server, transport: Any) -> None:
    for number in range(1, 6):
        await line.publish("/a", {"n": number}, headers={"h": 1})
    async with client(server, transport) as api:
        subscription = api.subscribe("/a", "/b", position=0)
        assert [one["n"] for one in await take(subscription, 5)] == [1, 2, 3, 4, 5]
        await line.publish("/b", "ö")
        message = await anext(subscription)
    assert (message.channel, message.message_id, message.global_id) == ("/b", 1, 6)
    assert message.data == "ö"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_from_now_and_from_the_last_ones(
    line: Trunkline, server: Server, transport: Any
) -> None:
    for number in range(1, 6):
        await line.publish("/a", number)
    async with client(server, transport) as api:
        now = await api.subscribe("/a").open()
        last = await api.subscribe("/a", last=2).open()
        await line.publish("/a", 6)
        assert await take(now, 1) == [6]
        assert await take(last, 3) == [4, 5, 6]


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.slow
async def test_kill_9_in_mid_stream_loses_nothing_and_repeats_nothing(
    line: Trunkline, server: Server, transport: Any
) -> None:
    total = 3000

    async def publish() -> None:
        for start in range(0, total, 50):
            await line.publish_many(
                (f"/{'ab'[number % 2]}", number) for number in range(start, start + 50)
            )
            await asyncio.sleep(0.01)

    async def collect(subscription: Any, into: list[int], count: int) -> None:
        async for message in subscription:
            into.append(message.data)
            if len(into) == count:
                return

    a, b = list[int](), list[int]()
    async with client(server, transport) as api:
        one, two = api.subscribe("/a", position=0), api.subscribe("/b", position=0)
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            tasks.create_task(publish())
            tasks.create_task(collect(one, a, total // 2))
            tasks.create_task(collect(two, b, total // 2))
            for wanted in (200, 700, 1200):
                await until(lambda wanted=wanted: len(a) + len(b) >= wanted, within=30)
                await server.kill9()
                await server.start()
    assert a == list(range(0, total, 2))
    assert b == list(range(1, total, 2))


@pytest.mark.parametrize("transport", NATIVE)
async def test_patterns_and_global_order(line: Trunkline, server: Server, transport: Any) -> None:
    async with client(server, transport) as api:
        subscription = await api.subscribe("/x/**", "/y").open()
        for number, name in enumerate(("/x/1", "/y", "/x/2/3", "/z", "/y", "/x/1")):
            await line.publish(name, number)
        assert await take(subscription, 5) == [0, 1, 2, 4, 5]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_trimmed_stretch_is_told(line: Trunkline, server: Server, transport: Any) -> None:
    for number in range(1, 11):
        await line.publish("/a", number, max_backlog_size=3)
    first = (
        {"/a": 2} if transport not in NATIVE else str((await line.position())._replace(global_id=2))
    )
    async with client(server, transport) as api:
        subscription = api.subscribe("/a", position=first)
        with pytest.raises(GapError) as raised:
            await take(subscription, 1)
        assert raised.value.reason == "trimmed"
        assert await take(subscription, 3) == [8, 9, 10]


async def test_ten_subscriptions_share_a_socket(line: Trunkline, server: Server) -> None:
    for number in range(1, 201):
        await line.publish(f"/c/{number % 10}", number)
    async with client(server, "websocket") as api:
        subscriptions = [api.subscribe(f"/c/{name}", position=0) for name in range(10)]
        for name, one in enumerate(subscriptions):
            assert await take(one, 20) == [n for n in range(1, 201) if n % 10 == name]


@pytest.mark.parametrize("transport", NATIVE)
async def test_a_stalled_reader_costs_the_other_nothing(
    line: Trunkline, server: Server, transport: Any
) -> None:
    async with client(server, transport, buffer_messages=5, stall_grace=0.05) as api:
        slow = await api.subscribe("/slow").open()
        quick = await api.subscribe("/quick").open()
        for number in range(100):
            await line.publish("/slow", number)
        await line.publish("/quick", 1)
        assert await take(quick, 1) == [1]
        assert await take(slow, 100) == list(range(100))


async def test_publish_once_and_with_a_key(line: Trunkline, server: Server) -> None:
    async with client(server, "sse", token=KEY) as api:
        first = await api.publish("/a", 1, key="k", user_ids=["bob"])
        again = await api.publish("/a", 1, key="k", user_ids=["bob"])
        with pytest.raises(KeyReusedError):
            await api.publish("/a", 2, key="k")
        many = await api.publish_many([("/a", 2), ("/b", 3)])
    assert (first.message_id, first.is_repeat) == (1, False)
    assert (again.message_id, again.is_repeat) == (1, True)
    assert [one.global_id for one in many] == [2, 3]
    assert first.epoch == (await line.position()).epoch
    async with client(server, "sse", token="wrong") as api:
        with pytest.raises(AccessDeniedError):
            await api.publish("/a", 1)


@pytest.mark.slow
async def test_publishing_over_kill_9_stores_each_message_once(
    line: Trunkline, server: Server
) -> None:
    async with client(server, "sse", token=KEY) as api:

        async def publish() -> None:
            for number in range(200):
                await api.publish("/a", number)

        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            task = tasks.create_task(publish())
            for _ in range(2):
                last = await line.last_id("/a")
                while await line.last_id("/a") < last + 20 and not task.done():
                    await asyncio.sleep(0.002)
                await server.kill9()
                await server.start()
    assert [one.data for one in await line.backlog("/a")] == list(range(200))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"headers": {"Dont-Chunk": "true"}},
        {"enable_chunked_encoding": False},
        {"enable_long_polling": False, "background_callback_interval": 0.01},
    ],
)
async def test_the_message_bus_client(
    line: Trunkline, server: Server, settings: dict[str, Any]
) -> None:
    got: list[tuple[str, Any, int, int]] = []
    async with MessageBusClient(server.url, **settings) as bus:
        bus.subscribe("/a", lambda *told: got.append(("/a", *told)), 0)
        bus.subscribe("/b", lambda *told: got.append(("/b", *told)), 0)
        await line.publish("/a", "hello")
        await until(lambda: len(got) == 1)
        await line.publish("/b", {"wörld": 1})
        await until(lambda: len(got) == 2)
    assert got == [("/a", "hello", 1, 1), ("/b", {"wörld": 1}, 1, 2)]
    assert bus.stats.failed == 0
