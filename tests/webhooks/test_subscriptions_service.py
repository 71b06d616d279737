"""The service at which others subscribe: statuses, who may, and what is asked of callbacks."""

from __future__ import annotations

import asyncio
import base64
import json
import time

import pytest

from tests.webhooks.receiving import answers, hangs, raw_server, receiving
from tests.webhooks.services import ask, publishing
from trunkline.wire.signature import SigningKey, sign
from trunkline.wire.toot import signed_content

CHANNEL = "org.example.users.updated.v1"


def basic(name: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def signed(given, method: str, query: str, body: bytes, ident: str = "reg_1", **values):
    keys = [SigningKey.read(given.secret)]
    stamp = values.get("timestamp", int(time.time()))
    content = signed_content(method, query, body)
    headers = sign(keys, delivery_id=ident, timestamp=stamp, body=content)
    return {**headers, "x-trunkline-peer": given.name}


def wish(url: str = "http://127.0.0.1:8009/cb", channel: str = CHANNEL, **more) -> bytes:
    return json.dumps({"channel": channel, "callback_url": url, **more}).encode()


async def test_register_list_delete(ground) -> None:
    async with publishing(ground.url, challenge=False) as (line, url):
        given = await line.siblings.peers.add("shop")
        headers = basic("shop", given.password)
        assert (await ask("POST", url, data=wish(), headers=headers))[::2] == (201, b"")
        assert (await ask("POST", url, data=wish(), headers=headers))[::2] == (204, b"")
        status, got, body = await ask("GET", url, headers=headers)
        assert (status, got["content-type"]) == (200, "application/json")
        assert json.loads(body) == {
            "channels": [CHANNEL],
            "subscriptions": {CHANNEL: ["http://127.0.0.1:8009/cb"]},
        }
        where = {"channel": CHANNEL, "callback_url": "http://127.0.0.1:8009/cb"}
        assert (await ask("DELETE", url, params=where, headers=headers))[::2] == (204, b"")
        assert (await ask("DELETE", url, params=where, headers=headers))[0] == 404
        assert (await ask("DELETE", url, params={"channel": "a"}, headers=headers))[0] == 400
        assert (await ask("DELETE", url, params={**where, "channel": " "}, headers=headers))[
            0
        ] == 400
        assert json.loads((await ask("GET", url, headers=headers))[2])["channels"] == []
        assert await line.endpoints.list() == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"[]", 422),
        (b'"text"', 422),
        (b"7", 422),
        (b"null", 422),
        (b"\xff\xfe", 422),
        (b"{}", 422),
        (b'{"channel":"org.example.a"}', 422),
        (b'{"callback_url":"http://127.0.0.1:8009/"}', 422),
        (wish(channel=None), 422),
        (wish(channel=""), 422),
        (wish(channel=["org.example.a"]), 422),
        (wish(url=["http://127.0.0.1:8009/"]), 422),
        (wish(url=""), 422),
        (wish(url="not a url"), 422),
        (wish(url="ftp://127.0.0.1:8009/"), 422),
        (wish(url="http://169.254.169.254/latest"), 422),
        (wish(url="http://10.0.0.1/"), 422),
        (wish(url="http://user:pw@127.0.0.1:8009/"), 422),
        (wish(url="http://127.0.0.1:8009/\0"), 422),
        (wish(url="http://127.0.0.1:8009/ü"), 422),
        (wish(lease_seconds="long"), 422),
        (wish(lease_seconds=-1), 422),
        (b"[" * 5000, 422),
        (b'{"a":"' + b"x" * 70_000 + b'"}', 413),
    ],
)
async def test_a_wish_that_makes_no_sense_is_the_callers_fault(sqlite_ground, body, status) -> None:
    async with publishing(sqlite_ground.url, challenge=False) as (line, url):
        given = await line.siblings.peers.add("shop")
        got = await ask("POST", url, data=body, headers=basic("shop", given.password))
        assert got[0] == status
        assert await line.siblings.subscribers.list() == []


@pytest.mark.parametrize("verb", ["HEAD", "PUT", "PATCH", "OPTIONS", "HASH", "SEND", "FREEZE"])
async def test_no_other_verb_does_anything(sqlite_ground, verb) -> None:
    async with publishing(sqlite_ground.url, open=True) as (_, url):
        status, headers, _ = await ask(verb, url)
        if verb in {"HASH", "SEND", "FREEZE"}:
            assert status in {400, 405}  # most servers know none of these
        else:
            assert (status, headers["allow"]) == (405, "GET, POST, DELETE")


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        (None, 200),
        ("", 200),
        ("*/*", 200),
        ("application/json", 200),
        ("text/html, Application/*;q=0.5", 200),
        ("text/html", 406),
        ("application/json;q=0", 406),
        (";;;,,,", 406),
    ],
)
async def test_a_list_is_json_or_nothing(sqlite_ground, accept, status) -> None:
    async with publishing(sqlite_ground.url, open=True) as (_, url):
        headers = {} if accept is None else {"accept": accept}
        skip = ["accept"] if accept is None else []
        assert (await ask("GET", url, headers=headers, skip_auto_headers=skip))[0] == status


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Basic"},
        {"authorization": "Basic !!!"},
        {"authorization": "Basic " + base64.b64encode(b"shop").decode()},
        {"authorization": "Basic " + base64.b64encode(b"\xff\xff:\xff").decode()},
        {"authorization": "Bearer shop"},
        {"authorization": "Bearer shop.wrong-password"},
        {"authorization": "Digest x"},
        {"authorization": "Basic " + "A" * 5000},
        basic("shop", "wrong-password"),
        basic("nobody", "wrong-password"),
        basic("", ""),
        {"x-trunkline-peer": "shop"},
        {"x-trunkline-peer": "shop", "webhook-signature": "v1,xx"},
        {"x-trunkline-peer": "nobody", "webhook-signature": "v1,xx"},
    ],
)
async def test_strangers_are_told_nothing(sqlite_ground, headers) -> None:
    async with publishing(sqlite_ground.url) as (line, url):
        await line.siblings.peers.add("shop")
        for verb in ("GET", "POST", "DELETE"):
            status, got, body = await ask(verb, url, headers=headers, data=wish())
            assert status == 401
            assert got["www-authenticate"].startswith("Basic")
            assert b"shop" not in body
        assert await line.siblings.subscribers.list() == []


async def test_a_password_a_token_and_a_signature_each_let_a_peer_in(ground) -> None:
    async with publishing(ground.url, challenge=False) as (line, url):
        given = await line.siblings.peers.add("shop")
        for headers in (
            basic("shop", given.password),
            {"authorization": f"Bearer {given.token}"},
            signed(given, "GET", "", b""),
        ):
            assert (await ask("GET", url, headers=headers))[0] == 200
        rows = await line._store.database.fetch(
            f"SELECT password FROM {line._store.database.schema}trunkline_peer"
        )
        assert rows[0][0].startswith("scrypt")
        assert given.password not in rows[0][0]
        await line.siblings.peers.remove("shop")
        assert (await ask("GET", url, headers=basic("shop", given.password)))[0] == 401


async def test_a_signature_is_for_one_request_lately_and_once(ground) -> None:
    async with publishing(ground.url, challenge=False) as (line, url):
        given = await line.siblings.peers.add("shop")
        headers = signed(given, "POST", "", wish())
        assert (await ask("POST", url, data=wish(), headers=headers))[0] == 201
        assert (await ask("POST", url, data=wish(), headers=headers))[0] == 403
        other = wish(channel="org.example.b")
        assert (await ask("POST", url, data=other, headers=headers))[0] == 401
        where = {"channel": CHANNEL, "callback_url": "http://127.0.0.1:8009/cb"}
        headers = signed(given, "GET", "", b"", ident="reg_2")
        assert (await ask("DELETE", url, params=where, headers=headers))[0] == 401
        old = int(time.time()) - 400
        headers = signed(given, "GET", "", b"", ident="reg_3", timestamp=old)
        assert (await ask("GET", url, headers=headers))[0] == 401
        assert len(await line.siblings.subscribers.list()) == 1


async def test_a_peer_sees_and_ends_its_own_subscriptions_only(ground) -> None:
    async with publishing(ground.url, challenge=False) as (line, url):
        shop = basic("shop", (await line.siblings.peers.add("shop")).password)
        bank = basic("bank", (await line.siblings.peers.add("bank")).password)
        assert (await ask("POST", url, data=wish(), headers=shop))[0] == 201
        assert json.loads((await ask("GET", url, headers=bank))[2])["channels"] == []
        assert (await ask("POST", url, data=wish(), headers=bank))[0] == 403
        where = {"channel": CHANNEL, "callback_url": "http://127.0.0.1:8009/cb"}
        assert (await ask("DELETE", url, params=where, headers=bank))[0] == 404
        assert len(await line.siblings.subscribers.list(peer="shop")) == 1


async def test_a_peer_hears_what_it_may_hear(ground) -> None:
    async with publishing(ground.url, challenge=False) as (line, url):
        given = await line.siblings.peers.add("shop", channels=["org.example.users.**"])
        headers = basic("shop", given.password)
        assert (await ask("POST", url, data=wish(), headers=headers))[0] == 201
        secret = wish(channel="org.example.salaries.v1")
        assert (await ask("POST", url, data=secret, headers=headers))[0] == 403


async def test_the_owner_of_a_callback_is_asked(ground) -> None:
    async with publishing(ground.url, challenge_timeout=0.3) as (line, url):
        headers = basic("shop", (await line.siblings.peers.add("shop")).password)
        async with receiving() as receiver:

            async def wants(request):
                from aiohttp import web

                assert request.query["hub.mode"] == "subscribe"
                assert request.query["hub.topic"] == CHANNEL
                assert request.method == "GET"
                return web.Response(text=request.query["hub.challenge"])

            receiver.behave = {
                "/yes": wants,
                "/no": answers(404),
                "/any": answers(200, "ok"),
                "/hangs": hangs,
                "/away": answers(302, "", Location="http://169.254.169.254/"),
            }
            for path in ("/no", "/any", "/hangs", "/away"):
                body = wish(receiver.url(path))
                assert (await ask("POST", url, data=body, headers=headers))[0] == 422
            body = wish(receiver.url("/yes"))
            assert (await ask("POST", url, data=body, headers=headers))[0] == 201
            count = len(receiver.requests)
            assert (await ask("POST", url, data=body, headers=headers))[0] == 204
            assert len(receiver.requests) == count  # a renewal asks nothing

        async def endless(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                writer.write(b"\0\xff" * 5000)
                await writer.drain()

        async with raw_server(endless) as (port, _):
            body = wish(f"http://127.0.0.1:{port}/")
            assert (await ask("POST", url, data=body, headers=headers))[0] == 422
        assert len(await line.siblings.subscribers.list()) == 1


async def test_a_lease_ends_unless_it_is_renewed(ground) -> None:
    async with publishing(ground.url, challenge=False, lease="1h") as (line, url):
        headers = basic("shop", (await line.siblings.peers.add("shop")).password)
        _, got, _ = await ask("POST", url, data=wish(lease_seconds=7200), headers=headers)
        assert got["x-trunkline-lease"] == "3600"
        _, got, _ = await ask("POST", url, data=wish(lease_seconds=1), headers=headers)
        assert got["x-trunkline-lease"] == "1"
        subscribers = line.siblings.subscribers
        [one] = await subscribers.list()
        assert one.expires_at <= one.renewed_at + 1.01
        clock = subscribers._clock

        class Later:
            def now(self):
                return clock.now() + 2

        subscribers._clock = Later()
        assert await subscribers.list() == []
        await subscribers.expire()
        assert await line.endpoints.list() == []
        subscribers._clock = clock
        assert (await ask("POST", url, data=wish(), headers=headers))[0] == 201


async def test_a_peer_has_so_many_subscriptions_and_no_more(ground) -> None:
    async with publishing(ground.url, challenge=False, most=2) as (line, url):
        headers = basic("shop", (await line.siblings.peers.add("shop")).password)
        found = [
            (await ask("POST", url, data=wish(channel=f"org.example.{n}"), headers=headers))[0]
            for n in (1, 2, 3, 1)
        ]
        assert found == [201, 201, 429, 204]


async def test_wishes_at_the_same_moment_make_one_subscription(ground) -> None:
    async with publishing(ground.url, challenge=False) as (line, url):
        headers = basic("shop", (await line.siblings.peers.add("shop")).password)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(ask("POST", url, data=wish(), headers=headers)) for _ in range(8)
            ]
        assert sorted(task.result()[0] for task in tasks) == [201, *[204] * 7]
        assert len(await line.siblings.subscribers.list()) == 1
        assert len(await line.endpoints.list()) == 1
