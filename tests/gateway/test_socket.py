"""The WebSocket: requests answered by id, messages in order, whatever server carries it."""

from __future__ import annotations

import asyncio
import json

import pytest
import websockets

from tests.gateway.serving import SERVERS
from tests.gateway.talker import a_gateway, talking, wait_until
from trunkline.gateway.options import GatewayOptions
from trunkline.model.identity import Identity

pytestmark = pytest.mark.parametrize("server", SERVERS)


def data_of(told):
    return [one["data"] for one in told if one["type"] == "message"]


async def test_a_subprotocol_is_chosen_if_it_is_ours(server):
    async with a_gateway(server) as (_, gateway, port):
        async with talking(port, "?client_id=c1", subprotocols=["x", "trunkline.v1"]) as talker:
            assert talker.ws.subprotocol == "trunkline.v1"
            (connection,) = gateway.board.connections
            assert connection.viewer.client_id == "c1"
            is_taken = type(connection.sink).__name__ == "TransportSink"
            assert is_taken is (server == "handed-over")
        async with talking(port, subprotocols=["x"]) as talker:
            assert talker.ws.subprotocol is None
        await wait_until(lambda: not gateway.board.connections)
        assert gateway.context.limits.total == 0


@pytest.mark.parametrize(
    ("how", "wanted"),
    [
        ({}, []),
        ({"position": None}, []),
        ({"position": "0"}, [0, 1, 2, 3, 4]),
        ({"position": 2}, [3, 4]),
        ({"last": 2}, [3, 4]),
        ({"last": 9}, [0, 1, 2, 3, 4]),
    ],
)
async def test_a_subscription_starts_where_it_says(server, how, wanted):
    async with a_gateway(server) as (line, _, port), talking(port) as talker:
        receipts = [await line.bus.publish("/a", n) for n in range(5)]
        if how.get("position") == 2:
            how = {"position": str(receipts[2].position)}
        number = await talker.say("subscribe", channels=["/a"], **how)
        told = await talker.until("live")
        assert told[0]["type"] == "subscribed"
        assert {one["id"] for one in (told[0], told[-1])} == {number}
        assert (told[0]["channels"], told[0]["refused"]) == (["/a"], [])
        assert data_of(told) == wanted
        await line.bus.publish("/b", "not asked for")
        await line.bus.publish("/a", "live")
        assert (await talker.until("message"))[-1]["data"] == "live"


async def test_a_message_has_its_members_in_order(server):
    async with a_gateway(server) as (line, _, port), talking(port) as talker:
        await talker.ask("subscribe", channels=["/ä"])
        receipt = await line.bus.publish("/ä", {"é": "\u2028"}, headers={"h": 1}, user_ids=None)
        told = (await talker.until("message"))[-1]
        assert list(told) == [
            "type", "channel", "message_id", "global_id", "published_at", "data", "headers",
        ]  # fmt: skip
        assert told["channel"] == "/ä"
        assert (told["global_id"], told["data"]) == (receipt.global_id, {"é": "\u2028"})


async def test_each_channel_resumes_from_its_own_position_in_global_order(server):
    async with a_gateway(server) as (line, _, port), talking(port) as talker:
        positions = []
        for n in range(12):
            receipt = await line.bus.publish(f"/{'abc'[n % 3]}", n)
            positions.append(str(receipt.position))
        number = await talker.say(
            "resume", channels={"/a": positions[4], "/b": positions[9], "/**": None}
        )
        told = await talker.until("live")
        assert told[0]["type"] == "subscribed"
        assert told[0]["id"] == told[-1]["id"] == number
        assert data_of(told) == [6, 9, 10]
        for n in range(12, 18):
            await line.bus.publish(f"/{'abc'[n % 3]}", n)
        live = [(await talker.until("message"))[-1]["data"] for _ in range(6)]
        assert live == list(range(12, 18))


async def test_subscribing_again_moves_nothing(server):
    async with a_gateway(server) as (line, _, port), talking(port) as talker:
        for n in range(3):
            await line.bus.publish("/a", n)
        await talker.say("subscribe", channels=["/a"], position="0")
        assert data_of(await talker.until("live")) == [0, 1, 2]
        await talker.say("subscribe", channels=["/a"], position="0")
        told = await talker.until("live")
        assert told[0]["channels"] == ["/a"]
        assert data_of(told) == []
        await line.bus.publish("/a", 3)
        assert (await talker.until("message"))[-1]["data"] == 3


async def test_a_second_subscription_catches_up_and_then_goes_on_in_order(server):
    async with a_gateway(server) as (line, _, port), talking(port) as talker:
        for n in range(900):
            await line.bus.publish("/old", n)
        await talker.ask("subscribe", channels=["/live"])
        await talker.until("live")
        number = await talker.say("subscribe", channels=["/old"], position="0")
        for n in range(20):
            await line.bus.publish("/live", n)
        await line.bus.publish("/old", "end")
        seen = []
        is_through = has_end = False
        while not (is_through and has_end):
            seen.append(await talker.next())
            is_through = is_through or seen[-1]["type"] == "live"
            has_end = has_end or seen[-1].get("data") == "end"
        messages = [one for one in seen if one["type"] == "message"]
        assert [one["data"] for one in messages if one["channel"] == "/old"] == [
            *range(900),
            "end",
        ]
        assert [one["data"] for one in messages if one["channel"] == "/live"] == [*range(20)]
        assert [one["id"] for one in seen if one["type"] in {"subscribed", "live"}] == [number] * 2
        live_ids = [one["global_id"] for one in messages if one["channel"] == "/live"]
        assert live_ids == sorted(live_ids)


async def test_what_is_given_up_is_no_longer_told(server):
    async with a_gateway(server) as (line, _, port), talking(port) as talker:
        await talker.ask("subscribe", channels=["/a", "/b"])
        await talker.until("live")
        told = await talker.ask("unsubscribe", channels=["/a", "/never"])
        assert (told["type"], told["channels"]) == ("unsubscribed", ["/a"])
        await line.bus.publish("/a", 1)
        await line.bus.publish("/b", 2)
        assert (await talker.until("message"))[-1]["data"] == 2
        await talker.ask("unsubscribe", channels=["/b"])
        assert (await talker.ask("ping"))["type"] == "pong"


async def test_a_ping_is_answered_with_the_position(server):
    async with a_gateway(server) as (line, _, port), talking(port) as talker:
        await talker.ask("subscribe", channels=["/a"])
        receipt = await line.bus.publish("/a", 1)
        await talker.until("message")
        told = await talker.ask("ping")
        assert told == {"id": 2, "type": "pong", "position": str(receipt.position)}


async def test_refused_channels_are_named_and_the_others_served(server):
    async with (
        a_gateway(
            server,
            identify=lambda _: Identity(user_id="ann"),
            access=lambda _, channel: not channel.startswith("/private/"),
        ) as (line, _, port),
        talking(port) as talker,
    ):
        told = await talker.ask("subscribe", channels=["/a", "/private/1", "/__trunkline/x"])
        assert told["channels"] == ["/a"]
        assert [one["channel"] for one in told["refused"]] == ["/private/1", "/__trunkline/x"]
        assert {one["code"] for one in told["refused"]} == {"access-denied"}
        await talker.until("live")
        number = await talker.say("subscribe", channels=["/private/1"])
        told = await talker.until("live")
        assert (told[0]["id"], told[0]["channels"], len(told[0]["refused"])) == (number, [], 1)
        await talker.ask("subscribe", channels=["/**"])
        await line.bus.publish("/private/1", "secret")
        await line.bus.publish("/a", "fine")
        await line.bus.publish("/other", "for bob", user_ids=["bob"])
        await line.bus.publish("/other", "for ann", user_ids=["ann"])
        seen = [(await talker.until("message"))[-1]["data"] for _ in range(2)]
        assert seen == ["fine", "for ann"]


async def test_a_gap_is_told_and_reading_goes_on(server):
    async with a_gateway(server) as (line, _, port), talking(port) as talker:
        receipts = [await line.bus.publish("/a", n) for n in range(6)]
        await line.bus.trim("/a", 3)
        await talker.say("subscribe", channels=["/a"], position=str(receipts[0].position))
        told = await talker.until("live")
        (gap,) = [one for one in told if one["type"] == "gap"]
        assert (gap["reason"], gap["channels"]) == ("trimmed", ["/a"])
        assert data_of(told) == [3, 4, 5]
        await talker.say("resume", channels={"/b": "0123456789ab-7"})
        told = await talker.until("live")
        (gap,) = [one for one in told if one["type"] == "gap"]
        assert (gap["reason"], gap["channels"]) == ("reset", ["/b"])


@pytest.mark.parametrize(
    ("request_text", "number"),
    [
        ('{"id":7,"type":"dance"}', 7),
        ('{"id":"x","type":"subscribe"}', "x"),
        ('{"id":7,"type":"subscribe","channels":"/a"}', 7),
        ('{"id":7,"type":"subscribe","channels":[]}', 7),
        ('{"id":7,"type":"subscribe","channels":["/a"],"position":"nonsense"}', 7),
        ('{"id":7,"type":"subscribe","channels":["/a"],"position":"0","last":1}', 7),
        ('{"id":7,"type":"subscribe","channels":["a*"]}', 7),
        ('{"id":7,"type":"resume","channels":{"/a":5}}', 7),
        ('{"type":"ping"}', None),
        ('{"id":[],"type":"ping"}', None),
        ("{}", None),
    ],
)
async def test_a_wrong_request_is_answered_by_its_id_and_the_socket_goes_on(
    server, request_text, number
):
    async with a_gateway(server) as (_, _, port), talking(port) as talker:
        await talker.ws.send(request_text)
        told = await talker.next()
        assert (told["type"], told["id"]) == ("error", number)
        assert told["detail"]
        assert (await talker.ask("ping"))["type"] == "pong"


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ("{", 1007),
        ("[1]", 1007),
        ('"x"', 1007),
        ("[" * 5000, 1007),
        (b'{"id":1,"type":"ping"}', 1003),
        ('{"id":1,"type":"ping","x":"' + "x" * 70_000 + '"}', 1009),
    ],
)
async def test_what_is_no_request_closes_with_a_code(server, sent, code, caplog):
    async with a_gateway(server) as (_, gateway, port), talking(port) as talker:
        await talker.ws.send(sent)
        told, closed = await talker.closed()
        assert closed == code
        if server != "handed-over" or code != 1009:
            assert [one["type"] for one in told] == ["error"]
        await wait_until(lambda: not gateway.board.connections)
    assert not [one for one in caplog.records if one.levelname == "ERROR"]


async def test_whoever_makes_one_mistake_after_the_other_is_not_listened_to(server):
    async with a_gateway(server) as (_, _, port), talking(port) as talker:
        for _ in range(51):
            await talker.ws.send("{}")
        told, code = await talker.closed()
        assert code == 1008
        assert len(told) == 51


async def test_requests_and_subscriptions_are_limited(server):
    options = GatewayOptions(max_channels=3, max_subscriptions=4, requests_per_second=1, burst=6)
    async with a_gateway(server, options=options) as (_, _, port), talking(port) as talker:
        told = await talker.ask("subscribe", channels=["/1", "/2", "/3", "/4"])
        assert (told["type"], told["code"]) == ("error", "limit-exceeded")
        assert "max_channels=3" in told["detail"]
        await talker.ask("subscribe", channels=["/1", "/2", "/3"])
        await talker.until("live")
        told = await talker.ask("subscribe", channels=["/4", "/5"])
        assert "max_subscriptions=4" in told["detail"]
        for _ in range(4):
            await talker.say("ping")
        told = await talker.until("error")
        assert told[-1]["code"] == "limit-exceeded"
        assert "requests_per_second" in told[-1]["detail"]


async def test_a_stranger_a_foreign_page_and_one_too_many_are_refused_at_the_door(server):
    def identify(request):
        return Identity(user_id="ann") if "token" in request.query else None

    options = GatewayOptions(max_connections_per_client=1)
    async with a_gateway(server, identify=identify, access=lambda *_: True, options=options) as (
        _,
        _,
        port,
    ):
        async with talking(port, "?token=1"):
            for query, status, how in (
                ("", 401, {}),
                ("?token=1", 403, {"origin": "https://evil.example"}),
                ("?token=1&client_id=%00", 400, {}),
                ("?token=1&x=%ff", 400, {}),
                ("?token=1", 429, {}),
            ):
                with pytest.raises(websockets.InvalidStatus) as caught:
                    async with talking(port, query, **how):
                        pass
                response = caught.value.response
                assert response.status_code == status
                assert json.loads(response.body)["status"] == status
        async with talking(port, "?token=1", origin=f"http://127.0.0.1:{port}") as talker:
            assert (await talker.ask("ping"))["type"] == "pong"


async def test_a_shutdown_says_when_to_come_back(server):
    async with a_gateway(server) as (_, gateway, port), talking(port) as talker:
        await talker.ask("subscribe", channels=["/a"])
        await gateway.board.close()
        told, code = await talker.closed()
        assert code == 1012
        assert (told[-1]["type"], told[-1]["reason"]) == ("goodbye", "shutdown")
        assert told[-1]["retry"] > 0


async def test_a_quiet_socket_gets_heartbeats(server):
    options = GatewayOptions(heartbeat_interval=0.05)
    async with a_gateway(server, options=options) as (line, _, port), talking(port) as talker:
        await talker.ask("subscribe", channels=["/a"])
        await talker.until("live")
        receipt = await line.bus.publish("/hidden", 1, client_ids=["somebody"])
        while (told := await talker.next())["position"] != str(receipt.position):
            assert told["type"] == "position"


async def test_requests_are_served_in_their_order(server):
    async with a_gateway(server) as (_, _, port), talking(port) as talker:
        numbers = []
        for n in range(20):
            numbers.append(await talker.say("subscribe", channels=[f"/{n}"]))
            numbers.append(await talker.say("unsubscribe", channels=[f"/{n}"]))
        answers = []
        while len(answers) < len(numbers):
            told = await talker.next()
            if told["type"] in {"subscribed", "unsubscribed"}:
                answers.append(told["id"])
        assert answers == numbers


async def test_too_many_requests_at_once_are_refused(server):
    release = asyncio.Event()

    async def access(_, channel):
        await release.wait()
        return True

    async with (
        a_gateway(server, identify=lambda _: Identity(), access=access) as (_, _, port),
        talking(port) as talker,
    ):
        for n in range(70):
            await talker.say("subscribe", channels=[f"/{n}"])
        told, code = await talker.closed()
        release.set()
        assert code == 1008
        assert told[-1]["code"] == "limit-exceeded"


async def test_a_failing_hook_is_an_error_by_id_and_told_to_on_error(server):
    seen = []
    async with (
        a_gateway(
            server,
            identify=lambda _: Identity(),
            access=lambda _, channel: channel == "/a" or 1 / 0,
            on_error=lambda request, error: seen.append((request.path, type(error))),
        ) as (_, _, port),
        talking(port) as talker,
    ):
        told = await talker.ask("subscribe", channels=["/b"])
        assert (told["type"], told["code"]) == ("error", "internal")
        assert "division" not in told["detail"]
        assert (await talker.ask("subscribe", channels=["/a"]))["type"] == "subscribed"
    assert seen == [("/ws", ZeroDivisionError)]
