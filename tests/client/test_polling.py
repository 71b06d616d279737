"""Polling transports: message ids per channel, one request for all, framing as the server says."""

from __future__ import annotations

import msgspec
import pytest

from tests.client.scripted import (
    Dialogue,
    Naps,
    napping_client,
    polled,
    scripted,
    status,
    take,
    until,
)
from trunkline.client import Client, Gap
from trunkline.errors import AccessDeniedError, GapError, GrammarError
from trunkline.model.position import Position
from trunkline.wire.chunks import SEPARATOR, block

HELD = ["stream", "long-poll"]


def client(url: str, transport: str = "stream", **options: object) -> tuple[Client, Naps]:
    return napping_client(url, transport=transport, **options)


async def hold(server: Dialogue) -> None:
    await server.wait_for_close()


async def test_streams_blocks_and_polls_again_from_the_ids() -> None:
    async def first(server: Dialogue) -> None:
        await server.start_stream("text/plain; charset=utf-8")
        await server.blocks([status(a=4)], [], [polled(5), polled(6)], [polled(7)], [])
        await server.end_stream()

    async def second(server: Dialogue) -> None:
        await server.start_stream("text/plain; charset=utf-8")
        await server.blocks([polled(7), polled(8)])
        await server.wait_for_close()

    async with scripted(first, second) as server:
        api, _ = client(server.url + "/base/", client_id="me")
        async with api:
            subscription = api.subscribe("/a")
            message = await anext(subscription)
            assert await take(subscription, 3) == [6, 7, 8]
            assert subscription.position == {"/a": 8}
    assert (message.channel, message.message_id, message.global_id) == ("/a", 5, 5)
    assert message.position == Position("", 5)
    assert [one.target for one in server.seen] == ["/base/message-bus/me/poll"] * 2
    assert [one.json for one in server.seen] == [{"/a": -1, "__seq": 1}, {"/a": 7, "__seq": 2}]
    headers = server.seen[0].headers
    assert headers["content-type"] == "application/json"
    assert headers["x-trunkline-gaps"] == "true"
    assert "dont-chunk" not in headers


@pytest.mark.parametrize(
    ("transport", "query", "dont_chunk"),
    [("stream", "", None), ("long-poll", "", "true"), ("poll", "?dlp=t", "true")],
)
@pytest.mark.parametrize("is_framed", [True, False])
async def test_the_content_type_decides_whatever_was_asked_for(
    transport: str, query: str, dont_chunk: str | None, is_framed: bool
) -> None:
    async def script(server: Dialogue) -> None:
        if len(served.seen) > 1:
            await server.wait_for_close()
        if is_framed:
            body = block(msgspec.json.encode([polled(1)])) + block(b"[]")
            await server.answer(200, body, "text/plain; charset=utf-8")
        else:
            await server.answer_json([polled(1)])

    async with scripted(script) as served:
        api, _ = client(served.url, transport)
        async with api:
            assert await take(api.subscribe("/a", position=0), 1) == [1]
    assert served.seen[0].target.endswith("/poll" + query)
    assert served.seen[0].headers.get("dont-chunk") == dont_chunk


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        ({}, {"/a": -1, "/b": -1}),
        ({"position": 0}, {"/a": 0, "/b": 0}),
        ({"position": {"/a": 3, "/b": 4}}, {"/a": 3, "/b": 4}),
        ({"last": 5}, {"/a": -6, "/b": -6}),
    ],
)
async def test_starts_where_it_is_told(arguments: dict, asked: dict) -> None:
    async with scripted(hold) as server:
        api, _ = client(server.url)
        async with api:
            subscription = api.subscribe("/a", "/b", **arguments)
            await until(lambda: server.seen)
            assert subscription.position == asked
    assert server.seen[0].json == {**asked, "__seq": 1}


@pytest.mark.parametrize(
    ("names", "arguments"),
    [
        (["/a/*"], {}),
        (["/a"], {"position": "e1-3"}),
        (["/a"], {"position": {"/b": 1}}),
        (["/a"], {"position": {"/a": "x"}}),
        (["/a"], {"position": 0, "last": 3}),
        ([], {}),
    ],
)
async def test_what_the_protocol_cannot_say_is_refused(names: list, arguments: dict) -> None:
    async with Client("http://127.0.0.1:1", transport="poll") as api:
        with pytest.raises(GrammarError):
            api.subscribe(*names, **arguments)


async def test_a_new_subscription_joins_the_running_poll_at_once() -> None:
    async def second(server: Dialogue) -> None:
        await server.start_stream("text/plain")
        await server.blocks([polled(1), polled(2, "/b")])
        await server.wait_for_close()

    async with scripted(hold, second) as server:
        api, naps = client(server.url)
        async with api:
            one = api.subscribe("/a", position=0)
            await until(lambda: server.seen)
            two = api.subscribe("/b", position=0)
            assert await take(one, 1) == [1]
            assert await take(two, 1) == [2]
    assert server.seen[1].json == {"/a": 0, "/b": 0, "__seq": 2}
    assert naps.taken == []


async def test_the_same_channel_twice_is_polled_under_another_client_id() -> None:
    async with scripted(hold) as server:
        api, _ = client(server.url, client_id="me")
        async with api:
            subscriptions = [api.subscribe("/a", position=0), api.subscribe("/a", position=0)]
            await until(lambda: len(server.seen) == 2)
            assert len(subscriptions) == 2
    assert len({one.path for one in server.seen}) == 2


@pytest.mark.parametrize("cut", [3, 20, 60])
async def test_a_stream_cut_within_a_block_is_read_again(cut: int) -> None:
    async def first(server: Dialogue) -> None:
        await server.start_stream("text/plain")
        await server.blocks([polled(1)])
        await server.stream(block(msgspec.json.encode([polled(2)]))[:cut])

    async def second(server: Dialogue) -> None:
        await server.answer_json([polled(2)])

    async with scripted(first, second, hold) as server:
        api, _ = client(server.url)
        async with api:
            assert await take(api.subscribe("/a", position=0), 2) == [1, 2]
    assert server.seen[1].json["/a"] == 1


@pytest.mark.parametrize(
    "garbage", [b"nonsense", b'{"a":1}', b"[1]", b'[{"channel":5}]', b"\xff" * 40]
)
@pytest.mark.parametrize("is_framed", [True, False])
async def test_garbage_is_polled_again_after_a_while(garbage: bytes, is_framed: bool) -> None:
    async def first(server: Dialogue) -> None:
        kind = "text/plain" if is_framed else "application/json"
        await server.answer(200, garbage + SEPARATOR * is_framed, kind)

    async def second(server: Dialogue) -> None:
        await server.answer_json([polled(1)])

    async with scripted(first, second, hold) as server:
        api, naps = client(server.url)
        async with api:
            assert await take(api.subscribe("/a", position=0), 1) == [1]
    assert naps.taken


async def test_refusals_are_raised_and_limits_waited_for() -> None:
    async def limited(server: Dialogue) -> None:
        await server.answer(429, retry_after="19")

    async def refused(server: Dialogue) -> None:
        await server.answer(403)

    async with scripted(limited, refused) as server:
        api, naps = client(server.url)
        async with api:
            with pytest.raises(AccessDeniedError):
                await take(api.subscribe("/a"), 1)
    assert naps.taken == [19.0]


async def test_gaps_and_resets_are_told() -> None:
    async def first(server: Dialogue) -> None:
        gap = {"/a": {"reason": "trimmed", "floor": 7}, "/other": {"floor": 1}}
        told = {"global_id": -1, "message_id": -1, "channel": "/__gap", "data": gap}
        await server.answer_json([polled(8), told])

    async def second(server: Dialogue) -> None:
        await server.answer_json([status(a=2)])  # a server without gaps that was reset

    async def third(server: Dialogue) -> None:
        await server.answer_json([polled(3), status(a=2)])  # the status lags behind: not a reset

    async with scripted(first, second, third, hold) as server:
        api, _ = client(server.url)
        async with api:
            subscription = api.subscribe("/a", position={"/a": 5})
            with pytest.raises(GapError) as trimmed:
                await anext(subscription)
            assert await take(subscription, 1) == [8]
            with pytest.raises(GapError) as reset:
                await anext(subscription)
            assert await take(subscription, 1) == [3]
            await until(lambda: len(server.seen) == 4)
    assert (trimmed.value.reason, trimmed.value.after, trimmed.value.floor) == ("trimmed", 5, 7)
    assert (reset.value.reason, reset.value.after) == ("reset", 8)
    assert server.seen[3].json["/a"] == 3


async def test_plain_polling_rests_between_polls() -> None:
    async def script(server: Dialogue) -> None:
        await server.answer_json([polled(len(served.seen))])

    async with scripted(script) as served:
        api, naps = client(served.url, "poll", poll_interval=12.0)
        async with api:
            assert await take(api.subscribe("/a", position=0), 3) == [1, 2, 3]
    assert set(naps.taken) == {12.0}


@pytest.mark.parametrize("transport", HELD)
async def test_a_server_that_does_not_hold_is_polled_ever_more_slowly(transport: str) -> None:
    async def script(server: Dialogue) -> None:
        await server.answer_json([])

    async with scripted(script) as served:
        api, naps = client(served.url, transport)
        async with api:
            subscription = api.subscribe("/a", position=0)
            await until(lambda: len(naps.taken) >= 12)
            subscription.close()
    assert naps.taken[:8] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8]
    assert max(naps.taken) == 15.0


async def test_a_stalled_reader_is_left_out_and_reads_the_rest_later() -> None:
    async def script(server: Dialogue) -> None:
        ids = server.json
        told = [polled(number, "/slow") for number in range(1, 31) if number > ids.get("/slow", 99)]
        quick = [polled(31, "/quick")] if ids["/quick"] < 31 else []
        if not told + quick:
            await server.wait_for_close()
        await server.answer_json(told + quick)

    gaps: list[Gap] = []
    async with scripted(script) as server:
        api, _ = client(server.url, buffer_messages=4, stall_grace=0.02)
        async with api:
            slow = api.subscribe("/slow", position=0, on_gap=gaps.append)
            quick = api.subscribe("/quick", position=0)
            assert await take(quick, 1) == [31]
            assert slow.position == {"/slow": 0}
            assert await take(slow, 30) == list(range(1, 31))
    assert gaps == []
    assert any("/slow" not in one.json for one in server.seen)


async def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trunkline.client.exchange.MAX_ANSWER_BYTES", 100_000)

    async def first(server: Dialogue) -> None:
        await server.start_stream("application/json")
        while True:
            await server.stream(b"[" * 10_000)

    async def second(server: Dialogue) -> None:
        await server.answer_json([polled(1)])

    async with scripted(first, second, hold) as server:
        api, _ = client(server.url)
        async with api:
            assert await take(api.subscribe("/a", position=0), 1) == [1]


async def test_connections_side_by_side_never_share_a_client_id() -> None:
    def named(target: str) -> str:
        return target.split("/")[2]

    async with scripted(*[hold] * 4) as server:
        api, _ = client(server.url, client_id="me")
        async with api:
            kept = []
            for count in (1, 2, 3):
                kept.append(api.subscribe("/a"))
                await until(lambda count=count: len(server.seen) == count)
            kept[1].close()
            kept.append(api.subscribe("/a"))
            await until(lambda: len(server.seen) == 4)
    first, second, third, fourth = (named(one.target) for one in server.seen)
    assert len({first, third, fourth}) == 3
    assert first == "me"
    assert second not in {first, third}
