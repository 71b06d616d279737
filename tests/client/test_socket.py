"""WebSocket: many subscriptions on one connection, each with its own position and its own fate."""

from __future__ import annotations

import asyncio

import pytest

from tests.client.scripted import EPOCH, Dialogue, pushed, scripted, take
from tests.client.scripted import napping_client as client
from trunkline.client import Gap
from trunkline.errors import GapError, LineClosedError
from trunkline.model.position import Position
from trunkline.wire.frames import Opcode, encode_frame_head, encode_text


async def test_several_subscriptions_share_one_connection() -> None:
    async def script(server: Dialogue) -> None:
        await server.accept_socket()
        first = await server.grant(10)
        second = await server.grant(3, pushed(4, "/b"))
        assert (first["channels"], first["position"]) == (["/a"], None)
        assert (second["channels"], second["position"]) == (["/b", "/c/**"], "e1-3")
        await server.say(pushed(11), pushed(12, "/c/x/y"), pushed(13, "/b"), pushed(14))
        await server.wait_for_close()

    async with scripted(script) as server:
        api, _ = client(server.url, client_id="me")
        async with api:
            one = await api.subscribe("/a").open()
            two = api.subscribe("/b", "/c/**", position="e1-3")
            assert await take(two, 3) == [4, 12, 13]
            assert await take(one, 2) == [11, 14]
    assert len(server.seen) == 1
    assert server.seen[0].query == {"client_id": ["me"]}
    assert server.seen[0].headers["sec-websocket-protocol"] == "trunkline.v1"


async def test_each_resumes_from_its_own_position_after_a_cut_in_mid_frame() -> None:
    async def first(server: Dialogue) -> None:
        await server.accept_socket()
        await server.grant(0, pushed(1))
        await server.grant(0, pushed(2, "/b"))
        await server.say(pushed(3), {"type": "position", "position": "e1-9"}, pushed(10, "/b"))
        await server.send(encode_text(b'{"type":"message","channel":"/a"')[:-4])

    async def second(server: Dialogue) -> None:
        await server.accept_socket()
        asked = [await server.grant(9), await server.grant(9)]
        assert {one["channels"][0]: one["position"] for one in asked} == {
            "/a": "e1-9", "/b": "e1-10",
        }  # fmt: skip
        await server.say(pushed(10, "/b"), pushed(11), pushed(12, "/b"))
        await server.wait_for_close()

    async with scripted(first, second) as server:
        api, naps = client(server.url)
        async with api:
            one, two = api.subscribe("/a", position=0), api.subscribe("/b", position=0)
            assert await take(one, 3) == [1, 3, 11]
            assert await take(two, 3) == [2, 10, 12]
    assert len(naps.taken) == 1


async def test_messages_of_others_while_one_catches_up_reach_their_subscription() -> None:
    async def script(server: Dialogue) -> None:
        await server.accept_socket()
        await server.grant(0)
        request = await server.hear()
        await server.say(
            {"type": "subscribed", "id": request["id"], "channels": ["/b"], "refused": [],
             "position": "e1-9"},
            pushed(8), pushed(9),
            {"type": "live", "id": request["id"], "position": "e1-9"},
            pushed(10, "/b"),
        )  # fmt: skip
        await server.wait_for_close()

    async with scripted(script) as server:
        api, _ = client(server.url)
        async with api:
            one = await api.subscribe("/a").open()
            two = api.subscribe("/b")
            assert await take(two, 1) == [10]
            assert await take(one, 2) == [8, 9]


async def test_overlapping_subscriptions_get_connections_of_their_own() -> None:
    async def script(server: Dialogue) -> None:
        await server.accept_socket()
        await server.grant(0, pushed(1, "/a/b"))
        await server.wait_for_close()

    async with scripted(script) as server:
        api, _ = client(server.url)
        async with api:
            all_of_them = [
                api.subscribe(name, position=0) for name in ("/a/b", "/a/*", "/a/**", "/a/:x")
            ]
            for one in all_of_them:
                assert await take(one, 1) == [1]
    assert len(server.seen) == 4


async def test_a_closed_subscription_is_unsubscribed_and_its_channel_can_be_had_again() -> None:
    async def script(server: Dialogue) -> None:
        await server.accept_socket()
        await server.grant(0)
        await server.grant(0)
        request = await server.hear()
        assert (request["type"], request["channels"]) == ("unsubscribe", ["/b"])
        await server.say({"type": "unsubscribed", "id": request["id"], "channels": ["/b"]})
        await server.grant(0, pushed(1, "/b"))
        await server.wait_for_close()

    async with scripted(script) as server:
        api, _ = client(server.url)
        async with api:
            await api.subscribe("/a").open()  # kept by nobody, so it is closed at once
            kept = await api.subscribe("/c").open()
            async with await api.subscribe("/b").open():
                pass
            assert await take(api.subscribe("/b", position=0), 1) == [1]
            assert kept.position == Position(EPOCH, 0)


async def test_a_forgotten_subscription_leaves_its_connection() -> None:
    async def script(server: Dialogue) -> None:
        await server.accept_socket()
        await server.grant(0, pushed(1))
        await server.wait_for_close()
        gone.set()

    gone = asyncio.Event()
    async with scripted(script) as server:
        api, _ = client(server.url)
        async with api:
            async for message in api.subscribe("/a", position=0):
                assert message.data == 1
                break
            async with asyncio.timeout(10):
                await gone.wait()


async def test_a_reader_that_stalls_is_parked_and_costs_the_others_nothing() -> None:
    async def script(server: Dialogue) -> None:
        await server.accept_socket()
        await server.grant(0)
        await server.grant(0)
        for number in range(1, 21):
            await server.say(pushed(number, "/slow"))
        await server.say(pushed(21, "/quick"))
        request = await server.hear()
        assert (request["type"], request["channels"]) == ("unsubscribe", ["/slow"])
        await server.say(pushed(22, "/slow"), pushed(23, "/quick"))
        await server.say({"type": "unsubscribed", "id": request["id"], "channels": ["/slow"]})
        again = await server.hear()
        place = int(again["position"].removeprefix("e1-"))
        assert 8 <= place < 22
        told = {"type": "subscribed", "id": again["id"], "channels": ["/slow"], "refused": []}
        await server.say(
            {**told, "position": again["position"]},
            *[pushed(number, "/slow") for number in range(place + 1, 23) if number != 21],
            {"type": "live", "id": again["id"], "position": "e1-23"},
            pushed(24, "/slow"),
        )
        await server.wait_for_close()

    async with scripted(script) as server:
        api, _ = client(server.url, buffer_messages=8, stall_grace=0.02)
        async with api:
            slow = await api.subscribe("/slow").open()
            quick = await api.subscribe("/quick").open()
            assert await take(quick, 2) == [21, 23]
            assert await take(slow, 22) == [*range(1, 21), 22, 24]


async def test_a_gap_reaches_only_those_it_names() -> None:
    async def script(server: Dialogue) -> None:
        await server.accept_socket()
        await server.grant(0)
        await server.grant(0)
        gap = {"type": "gap", "reason": "trimmed", "channels": ["/a"], "position": "e1-5"}
        await server.say(gap, pushed(6), pushed(6, "/b"))
        await server.wait_for_close()

    gaps: list[Gap] = []
    async with scripted(script) as server:
        api, _ = client(server.url)
        async with api:
            one = await api.subscribe("/a").open()
            two = await api.subscribe("/b", on_gap=gaps.append).open()
            assert await take(two, 1) == [6]
            with pytest.raises(GapError):
                await take(one, 1)
            assert await take(one, 1) == [6]
    assert gaps == []


@pytest.mark.parametrize(
    "garbage",
    [
        encode_text(b"no json"),
        encode_text(b'{"type":"message"}'),
        encode_text(b'{"type":"position","position":"what"}'),
        encode_frame_head(Opcode.BINARY, 2) + b"hi",
        b"\xff\xff\xff\xff",
        encode_frame_head(Opcode.TEXT, 1 << 40),
        encode_text(b"\xff"),
    ],
)
async def test_garbage_ends_the_connection_not_the_subscription(garbage: bytes) -> None:
    async def first(server: Dialogue) -> None:
        await server.accept_socket()
        await server.grant(0)
        await server.send(garbage)
        await server.wait_for_close()

    async def second(server: Dialogue) -> None:
        await server.accept_socket()
        await server.grant(0, pushed(1))
        await server.wait_for_close()

    async with scripted(first, second) as server:
        api, _ = client(server.url)
        async with api:
            assert await take(api.subscribe("/a"), 1) == [1]


async def test_a_silent_server_is_given_up_and_unknown_types_are_ignored() -> None:
    async def first(server: Dialogue) -> None:
        await server.accept_socket()
        await server.grant(0)
        await server.wait_for_close()

    async def second(server: Dialogue) -> None:
        await server.accept_socket()
        await server.grant(0, {"type": "news", "global_id": 0}, pushed(1))
        await server.wait_for_close()

    async with scripted(first, second) as server:
        api, _ = client(server.url, silence_timeout=0.05)
        async with api:
            assert await take(api.subscribe("/a"), 1) == [1]


async def test_last_goes_over_to_positions_when_the_backlog_is_through() -> None:
    async def first(server: Dialogue) -> None:
        await server.accept_socket()
        request = await server.grant(7, pushed(8), pushed(9, "/b"))
        assert request["last"] == 2
        await server.say(pushed(12))

    async def second(server: Dialogue) -> None:
        await server.accept_socket()
        request = await server.grant(12, pushed(13))
        assert (request["position"], request.get("last")) == ("e1-12", None)
        await server.wait_for_close()

    async with scripted(first, second) as server:
        api, _ = client(server.url)
        async with api:
            assert await take(api.subscribe("/a", "/b", last=2), 4) == [8, 9, 12, 13]


async def test_the_position_is_the_readers_not_the_buffers() -> None:
    async def script(server: Dialogue) -> None:
        await server.accept_socket()
        await server.grant(5, pushed(6), pushed(7), pushed(8))
        await server.wait_for_close()

    async with scripted(script) as server:
        api, _ = client(server.url)
        async with api:
            subscription = api.subscribe("/a", position="e1-5")
            assert subscription.position == Position(EPOCH, 5)
            places = []
            for _ in range(3):
                await anext(subscription)
                places.append(subscription.position)
    assert places == [Position(EPOCH, number) for number in (6, 7, 8)]


async def test_the_body_s_own_exception_leaves_as_it_is_and_everything_is_closed() -> None:
    async def script(server: Dialogue) -> None:
        await server.accept_socket()
        await server.grant(0)
        await server.wait_for_close()

    async with scripted(script) as server:
        api, _ = client(server.url)
        with pytest.raises(ZeroDivisionError):  # noqa: PT012
            async with api:
                subscription = await api.subscribe("/a").open()
                raise ZeroDivisionError
        with pytest.raises(StopAsyncIteration):
            await anext(subscription)
        with pytest.raises(LineClosedError):
            api.subscribe("/a")
        with pytest.raises(LineClosedError):
            await api.publish("/a", 1)
        tasks = [one for one in asyncio.all_tasks() if "Link.run" in repr(one)]
        assert tasks == []
