"""Server-sent events: every message once and in order, whatever the server does to the stream."""

from __future__ import annotations

import asyncio
from functools import partial

import msgspec
import pytest

from tests.client.scripted import (
    EPOCH,
    Dialogue,
    carried,
    event,
    napping_client,
    scripted,
    take,
    tell_one,
    until,
)
from trunkline.client import Gap
from trunkline.errors import GapError
from trunkline.model.position import Position

client = partial(napping_client, transport="sse")


async def test_asks_for_its_channels_and_yields_messages() -> None:
    async def script(server: Dialogue) -> None:
        await server.ready(4)
        await server.stream(event(5) + event(6))
        await server.wait_for_close()

    async with scripted(script) as server:
        api, _ = client(server.url, client_id="me")
        async with api:
            subscription = api.subscribe("/a", "/b/**")
            message = await anext(subscription)
            assert await take(subscription, 1) == [6]
    assert (message.channel, message.message_id, message.global_id) == ("/a", 5, 5)
    assert (message.data, message.published_at) == (5, 1.5)
    assert message.position == Position(EPOCH, 5)
    assert server.seen[0].path == "/sse"
    assert server.seen[0].query == {"channel": ["/a", "/b/**"], "client_id": ["me"]}


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        ({"position": 0}, {"position": ["0"]}),
        ({"position": Position("e1", 7)}, {"position": ["e1-7"]}),
        ({"position": "e1-7"}, {"position": ["e1-7"]}),
        ({"last": 3}, {"last": ["3"]}),
    ],
)
async def test_starts_where_it_is_told(arguments: dict, asked: dict) -> None:
    async with scripted(Dialogue.ready) as server:
        api, _ = client(server.url)
        async with api:
            await api.subscribe("/a", **arguments).open()
    assert server.seen[0].query == {"channel": ["/a"], **asked}


async def test_resumes_after_a_cut_in_mid_frame_without_loss_or_repetition() -> None:
    async def first(server: Dialogue) -> None:
        await server.ready(0)
        await server.stream(event(1) + event(2)[:-9])

    async def second(server: Dialogue) -> None:
        await server.ready(1)
        await server.stream(event(1) + event(2))  # a careless server repeats one
        await server.end_stream()

    async def third(server: Dialogue) -> None:
        await server.ready(2)
        await server.stream(event(3))
        await server.wait_for_close()

    async with scripted(first, second, third) as server:
        api, naps = client(server.url)
        async with api:
            assert await take(api.subscribe("/a"), 3) == [1, 2, 3]
    assert [one.query.get("position") for one in server.seen] == [None, ["e1-1"], ["e1-2"]]
    assert len(naps.taken) == 2


async def test_pins_now_at_the_first_connection() -> None:
    async def first(server: Dialogue) -> None:
        await server.ready(41)

    async def second(server: Dialogue) -> None:
        await server.ready(41)
        await server.stream(event(42))
        await server.wait_for_close()

    async with scripted(first, second) as server:
        api, _ = client(server.url)
        async with api:
            assert await take(api.subscribe("/a"), 1) == [42]
    assert server.seen[1].query["position"] == ["e1-41"]


async def test_positions_without_data_move_the_subscription() -> None:
    async def script(server: Dialogue) -> None:
        await server.ready(0)
        await server.stream(event(1) + b"id: e1-50\n\n")

    async with scripted(script) as server:
        api, _ = client(server.url)
        async with api:
            subscription = api.subscribe("/a")
            assert await take(subscription, 1) == [1]
            await until(lambda: len(server.seen) >= 2)
    assert server.seen[1].query["position"] == ["e1-50"]
    assert subscription.position == Position(EPOCH, 50)


async def test_a_byte_at_a_time_is_enough() -> None:
    async def script(server: Dialogue) -> None:
        await server.ready(0)
        for one in event(1) + event(2):
            await server.stream(bytes([one]))
        await server.wait_for_close()

    async with scripted(script) as server:
        api, _ = client(server.url)
        async with api:
            assert await take(api.subscribe("/a"), 2) == [1, 2]


async def test_a_gap_is_raised_once_and_iterating_again_goes_on() -> None:
    async def script(server: Dialogue) -> None:
        await server.ready(0)
        await server.stream(
            event(1) + b"id: e2-0\nevent: gap\n"
            b'data: {"reason":"reset","channels":["/a"],"position":"e2-0"}\n\n' + event(1)
        )
        await server.wait_for_close()

    async with scripted(script) as server:
        api, _ = client(server.url)
        async with api:
            subscription = api.subscribe("/a")
            assert await take(subscription, 1) == [1]
            with pytest.raises(GapError) as raised:
                await anext(subscription)
            message = await anext(subscription)
    assert (raised.value.reason, raised.value.after, raised.value.floor) == ("reset", 1, 0)
    assert message.position == Position("e2", 1)


async def test_a_gap_goes_to_its_handler() -> None:
    async def script(server: Dialogue) -> None:
        await server.ready(3)
        await server.stream(
            b'event: gap\ndata: {"reason":"trimmed","channels":["/a"],"position":"e1-8"}\n\n'
            + event(9)
        )
        await server.wait_for_close()

    gaps: list[Gap] = []
    async with scripted(script) as server:
        api, _ = client(server.url)
        async with api:
            subscription = api.subscribe("/a", position="e1-3", on_gap=gaps.append)
            assert await take(subscription, 1) == [9]
    assert gaps == [Gap("trimmed", 3, Position(EPOCH, 8), 8)]


async def test_an_epoch_that_changes_silently_is_told_as_a_gap() -> None:
    async def first(server: Dialogue) -> None:
        await server.ready(5)

    async def second(server: Dialogue) -> None:
        await server.ready(0)
        await server.stream(b"id: e9-3\n\n")
        await server.wait_for_close()

    async with scripted(first, second) as server:
        api, _ = client(server.url)
        async with api:
            with pytest.raises(GapError):
                await take(api.subscribe("/a"), 1)


async def test_goodbye_says_when_to_come_back() -> None:
    async def first(server: Dialogue) -> None:
        await server.ready(0)
        await server.stream(
            b'retry: 7000\nevent: goodbye\ndata: {"reason":"shutdown","retry":7000}\n\n'
        )

    async with scripted(first, tell_one) as server:
        api, naps = client(server.url)
        async with api:
            assert await take(api.subscribe("/a"), 1) == [1]
    assert naps.taken == [7.0]


async def test_a_slow_reader_stops_the_reading_of_the_socket() -> None:
    sent = 0

    async def script(server: Dialogue) -> None:
        nonlocal sent
        await server.ready(0)
        server.writer.transport.set_write_buffer_limits(high=0)
        padding = b"x" * 10_000
        for number in range(1, 3001):
            line = b"id: e1-%d\ndata: " % number
            body = b'{"channel":"/a","message_id":%d,"global_id":%d,"published_at":1,"data":"%b"}'
            await server.stream(line + body % (number, number, padding) + b"\n\n")
            sent = number
        await server.wait_for_close()

    async with scripted(script) as server:
        api, _ = client(server.url, buffer_messages=4, stall_grace=0.01)
        async with api:
            subscription = api.subscribe("/a")
            first = await anext(subscription)
            stable, before = 0, -1
            async with asyncio.timeout(20):
                while stable < 20:  # the server is stuck in its write
                    await asyncio.sleep(0.01)
                    stable = stable + 1 if sent == before else 0
                    before = sent
            assert sent < 2500
            ids = [first.message_id]
            async with asyncio.timeout(30):
                while len(ids) < 3000:
                    ids.append((await anext(subscription)).message_id)
    assert ids == list(range(1, 3001))


async def test_some_refused_channels_are_named_while_others_are_served(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def script(server: Dialogue) -> None:
        refusal = {"channel": "/x", "code": "access-denied", "detail": "not yours"}
        await server.ready(0, refused=[refusal])
        await server.stream(event(1))
        await server.wait_for_close()

    async with scripted(script) as server:
        api, _ = client(server.url)
        async with api:
            subscription = await api.subscribe("/a", "/x").open()
            assert await take(subscription, 1) == [1]
    assert [one.channel for one in subscription.refused] == ["/x"]
    assert "/x" in caplog.text


async def test_last_is_asked_for_again_when_it_was_interrupted_and_holes_are_told() -> None:
    def message(number: int, global_id: int) -> bytes:
        made = carried(number, global_id=global_id)
        return b"id: e1-%d\ndata: %b\n\n" % (global_id, msgspec.json.encode(made))

    async def first(server: Dialogue) -> None:
        await server.ready(100)
        await server.stream(message(8, 80) + message(9, 90))

    async def second(server: Dialogue) -> None:
        await server.ready(200)
        await server.stream(message(12, 120) + message(13, 130) + message(14, 201))
        await server.wait_for_close()

    gaps: list[Gap] = []
    async with scripted(first, second) as server:
        api, _ = client(server.url)
        async with api:
            subscription = api.subscribe("/a", last=3, on_gap=gaps.append)
            assert await take(subscription, 5) == [8, 9, 12, 13, 14]
    assert [one.reason for one in gaps] == ["trimmed"]
    assert [one.query.get("last") for one in server.seen] == [["3"], ["3"]]
