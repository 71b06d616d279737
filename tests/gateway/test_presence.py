"""Clients are seen on the channels that are chosen, by all who may read them, over processes."""

from __future__ import annotations

import asyncio
import contextlib
import time

import aiohttp
import pytest

from tests.gateway.serving import SERVERS, serving
from tests.gateway.talker import talking
from trunkline import Identity, Trunkline
from trunkline.client import Client
from trunkline.errors import AccessDeniedError, ConfigError, GrammarError
from trunkline.testing.servers import trunkline_serve, uvicorn

POLL = {"content-type": "application/json", "dont-chunk": "true"}


@pytest.fixture(params=SERVERS)
def server(request):
    return request.param


def _identify(request):
    return Identity(user_id=request.query.get("user", ["ann"])[0])


def _access(identity, channel):
    return channel != "/secret" or identity.user_id == "root"


@contextlib.asynccontextmanager
async def a_room(server="handed-over", **settings):
    settings = {"presence": "/chat/**", "presence_grace": 0.1, **settings}
    async with Trunkline("memory://", **settings) as line:
        gateway = line.gateway(identify=_identify, access=_access)
        async with serving(gateway, server) as port:
            yield line, port, f"http://127.0.0.1:{port}"
        await gateway.close()


async def until_there(line, *clients, channel="/chat/1"):
    async with asyncio.timeout(20):
        while {one.client_id for one in await line.presence(channel).members()} != {*clients}:
            await asyncio.sleep(0.01)


async def test_every_transport_is_seen_while_it_reads_and_no_longer(server):
    async with (
        a_room(server) as (line, port, url),
        aiohttp.ClientSession() as http,
        talking(port, "?user=bob&client_id=socket") as talker,
    ):
        await talker.ask("subscribe", channels=["/chat/1", "/other", "/chat/*"])
        await until_there(line, "socket")
        sse = {"channel": "/chat/1", "client_id": "stream"}
        async with http.get(f"{url}/sse", params=sse):
            await until_there(line, "socket", "stream")
            assert await line.presence("/chat/1").users() == ["bob", "ann"]
            poll = f"{url}/message-bus/held/poll"
            held = {"content-type": "application/json"}
            async with http.post(poll, data='{"/chat/1":-1}', headers=held):
                await until_there(line, "socket", "stream", "held")
        await until_there(line, "socket")
        assert await line.presence("/other").members() == []
        await talker.ask("unsubscribe", channels=["/chat/1"])
        await until_there(line)


async def test_a_client_that_polls_is_there_between_two_polls():
    async with a_room(presence_grace=60) as (line, _, url), aiohttp.ClientSession() as http:
        poll = f"{url}/message-bus/poller/poll?dlp=t"
        for _ in range(2):
            async with http.post(poll, data='{"/chat/1":0}', headers=POLL) as response:
                assert response.status == 200
            await until_there(line, "poller")
    async with a_room(presence_grace=1) as (line, _, url), aiohttp.ClientSession() as http:
        poll = f"{url}/message-bus/poller/poll?dlp=t"
        await until_there(line)
        async with http.post(poll, data='{"/chat/1":0}', headers=POLL):
            await until_there(line, "poller")
        await until_there(line)


async def test_who_follows_is_told_who_comes_and_who_leaves(server):
    async with a_room(server) as (_, port, _), talking(port, "?client_id=one") as one:
        told = await one.ask("follow", channels=["/chat/1", "/secret"])
        assert told["type"] == "following"
        assert told["channels"] == [{"channel": "/chat/1", "members": []}]
        assert [refusal["channel"] for refusal in told["refused"]] == ["/secret"]
        bob = {"client_id": "two", "user_id": "bob"}
        async with talking(port, "?user=bob&client_id=two") as two:
            await two.ask("subscribe", channels=["/chat/1"])
            moved = (await one.until("presence"))[-1]
            assert moved == {"type": "presence", "channel": "/chat/1", "joined": [bob], "left": []}
            told = await two.ask("follow", channels=["/chat/1"])
            assert told["channels"][0]["members"] == [bob]
        moved = (await one.until("presence"))[-1]
        assert (moved["joined"], moved["left"]) == ([], [bob])
        assert (await one.ask("unfollow", channels=["/chat/1", "/x"]))["channels"] == ["/chat/1"]


async def test_patterns_are_not_followed_and_names_of_ours_neither():
    async with a_room() as (_, port, _), talking(port) as one:
        assert (await one.ask("follow", channels=["/chat/*"]))["code"] == "grammar"
        told = await one.ask("follow", channels=["/__trunkline/presence"])
        assert (told["channels"], told["refused"][0]["code"]) == ([], "access-denied")


async def test_over_http_it_is_for_those_who_may_read_the_channel():
    async with a_room() as (line, port, url), aiohttp.ClientSession() as http:
        async with talking(port, "?user=bob&client_id=two") as two:
            await two.ask("subscribe", channels=["/chat/1"])
            await until_there(line, "two")
            query = {"channel": ["/chat/1", "/secret"]}
            async with http.get(f"{url}/api/presence", params=query) as response:
                told = await response.json()
            assert told["channels"] == [
                {"channel": "/chat/1", "members": [{"client_id": "two", "user_id": "bob"}]}
            ]
            assert told["refused"][0]["channel"] == "/secret"
        for channel, status in (("/secret", 403), ("/chat/*", 400)):
            query = {"channel": channel}
            async with http.get(f"{url}/api/presence", params=query) as response:
                assert response.status == status, channel
        async with http.get(f"{url}/api/presence?channel=/secret&user=root") as response:
            assert response.status == 200


async def test_nobody_is_seen_unless_it_is_asked_for():
    async with a_room(presence=()) as (line, port, _), talking(port, "?client_id=one") as one:
        await one.ask("subscribe", channels=["/chat/1"])
        told = await one.ask("follow", channels=["/chat/1"])
        assert told["channels"][0]["members"] == []
        assert await line.presence("/chat/1").members() == []


def test_the_setting_is_checked():
    with pytest.raises(ConfigError, match="presence"):
        Trunkline("memory://", presence=["chat"])


async def test_the_python_client_is_told_too():
    async with a_room() as (line, port, url), Client(url) as client:
        changes = client.presence("/chat/1").changes()
        first = await anext(changes)
        assert (first.joined, first.members) == ([], [])
        async with talking(port, "?user=bob&client_id=two") as two:
            await two.ask("subscribe", channels=["/chat/1"])
            second = await anext(changes)
            assert [one.client_id for one in second.joined] == ["two"]
            members = await client.presence("/chat/1").members()
            assert [one.user_id for one in members] == ["bob"]
        third = await anext(changes)
        assert ([one.client_id for one in third.left], third.members) == (["two"], [])
        await changes.aclose()
        with pytest.raises(AccessDeniedError):
            await client.presence("/secret").members()
        with pytest.raises(AccessDeniedError):
            await anext(client.presence("/secret").changes())
        with pytest.raises(GrammarError):
            client.presence("/chat/*")
        assert await line.presence("/chat/1").members() == []


WEB = """
from trunkline import Trunkline

line = Trunkline()
app = line.gateway(open=True)
"""


@pytest.mark.slow
async def test_a_killed_process_takes_its_clients_along_within_the_lease(tmp_path):
    (tmp_path / "web.py").write_text(WEB)
    environment = {
        "TRUNKLINE_LOG": f"sqlite:///{tmp_path}/line.db",
        "TRUNKLINE_PRESENCE": "/chat",
        "TRUNKLINE_PRESENCE_LEASE": "1.5",
    }
    async with contextlib.AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(
                kind("web:app", directory=tmp_path, environment=environment)
            )
            for kind in (trunkline_serve, uvicorn)
        ]
        doomed, safe = servers
        one = await stack.enter_async_context(talking(safe.port, "?client_id=one"))
        await one.ask("subscribe", channels=["/chat"])
        two = await stack.enter_async_context(talking(doomed.port, "?client_id=two"))
        await two.ask("subscribe", channels=["/chat"])
        there = [one["client_id"] for one in (await _following(one))["members"]]
        while "two" not in there:
            there += [one["client_id"] for one in (await one.until("presence"))[-1]["joined"]]
        loop = asyncio.get_running_loop()
        await doomed.kill9()
        killed = loop.time()
        left = []
        while "two" not in left:
            left += [one["client_id"] for one in (await one.until("presence"))[-1]["left"]]
        took = loop.time() - killed
        assert left == ["two"]
        assert took < 10, took
        assert [one["client_id"] for one in (await _following(one))["members"]] == ["one"]


async def _following(talker):
    told = await talker.ask("follow", channels=["/chat"])
    return told["channels"][0]


async def test_who_came_while_it_was_asked_who_listens_is_told_afterwards():
    renewing, renewed = asyncio.Event(), asyncio.Event()

    async def identify(request):
        if request.query.get("user") != ["ann"]:
            return Identity(user_id="bob")
        if not seen:
            seen.append(request)
            return Identity(user_id="ann", expires_at=time.time() + 0.3)
        renewing.set()
        await renewed.wait()
        return Identity(user_id="ann")

    seen = []
    async with Trunkline("memory://", presence="/chat/**", presence_grace=0.1) as line:
        gateway = line.gateway(identify=identify, access=_access)
        async with (
            serving(gateway) as port,
            talking(port, "?user=ann&client_id=a") as ann,
            talking(port, "?user=bob&client_id=b") as bob,
        ):
            await ann.ask("follow", channels=["/chat/1"])
            async with asyncio.timeout(10):
                await renewing.wait()
            await bob.ask("subscribe", channels=["/chat/1"])
            await until_there(line, "b")
            assert (await ann.ask("ping"))["type"] == "pong"
            renewed.set()
            assert (await ann.until("presence"))[-1]["joined"] == [
                {"client_id": "b", "user_id": "bob"}
            ]
        await gateway.close()
