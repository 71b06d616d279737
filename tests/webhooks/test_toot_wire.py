"""A Toot gem on the other side, in either role: what it gets and sends, byte by byte."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

from tests.webhooks.receiving import answers, receiving
from tests.webhooks.services import PREFIX, ask, come, hearing, publishing
from trunkline.webhooks.peer import Credentials

CHANNEL = "org.example.users.updated.v1"
EVENT_ID = "0834ccd0-4c3a-4360-8878-811abfa0c805"
CALLBACK = (
    b'{"id":"0834ccd0-4c3a-4360-8878-811abfa0c805","timestamp":"2026-11-20 21:41:19 +0000",'
    b'"payload":{"id":123},"channel":"org.example.users.updated.v1"}'
)


async def test_a_gem_subscribes_and_is_called_as_by_a_gem(ground) -> None:
    async with (
        publishing(ground.url, format="toot", open=True) as (line, url),
        receiving() as receiver,
    ):
        body = f'{{"callback_url":"{receiver.url("/cb")}","channel":"{CHANNEL}"}}'.encode()
        headers = {"content-type": "application/json", "user-agent": "Faraday v0.17.6"}
        status, got, text = await ask("POST", url, data=body, headers=headers)
        assert (status, text) == (201, b"")
        assert "x-trunkline-lease" not in got
        assert (await ask("POST", url, data=body, headers=headers))[::2] == (204, b"")
        assert receiver.requests == []  # a gem can't answer whether it wants to be called
        stamp = datetime(2026, 11, 20, 21, 41, 19, 999, tzinfo=UTC)
        await line.siblings.publish("users.updated.v1", {"id": 123}, id=EVENT_ID, timestamp=stamp)
        await come(lambda: receiver.requests)
        [called] = receiver.requests
        assert called.body == CALLBACK
        assert called.headers["content-type"] == "application/json"
        assert "webhook-signature" not in called.headers
        listed = json.loads((await ask("GET", url))[2])
        assert listed == {"channels": [CHANNEL], "subscriptions": {CHANNEL: [receiver.url("/cb")]}}


async def test_a_gem_with_toot_auth_subscribes_and_is_called_with_its_own_password(ground) -> None:
    async with publishing(ground.url) as (line, url), receiving() as receiver:
        theirs = Credentials(name="us", password="their-password")
        given = await line.siblings.peers.add(
            "shop", password="our-password", send=theirs, format="toot"
        )
        assert (given.password, given.secret) == ("our-password", None)
        body = json.dumps({"callback_url": receiver.url("/cb"), "channel": CHANNEL}).encode()
        right = {"authorization": "Basic " + base64.b64encode(b"shop:our-password").decode()}
        assert (await ask("POST", url, data=body))[0] == 401
        assert (await ask("POST", url, data=body, headers=right))[0] == 201
        await line.siblings.publish("users.updated.v1", {})
        await come(lambda: receiver.requests)
        sent = receiver.requests[0].headers["authorization"]
        assert base64.b64decode(sent.removeprefix("Basic ")) == b"us:their-password"
        [one] = await line.transmissions.list()
        for attempt in await line.transmissions.attempts(one.id):
            assert "authorization" not in str(attempt)


async def test_we_register_at_a_gem_and_are_called_by_one(ground) -> None:
    async with receiving() as gem, hearing(ground.url, format="toot") as hearer:
        gem.behave["/subscriptions"] = answers(201)
        siblings = hearer.line.siblings
        siblings.source("school", subscription_url=gem.url("/subscriptions"), channel_prefix=PREFIX)
        siblings.subscribe("school", "users.updated.v1", hearer.hear)
        await hearer.line.open(run_consumers=True)
        mine = Credentials(name="shop", password="our-password")
        await siblings.peers.add("school", send=mine, password="their-password", format="toot")
        [done] = await siblings.register()
        assert done.is_ok
        [asked] = gem.requests
        callback = siblings.options.callback_url
        assert asked.body == f'{{"callback_url":"{callback}","channel":"{CHANNEL}"}}'.encode()
        assert asked.headers["content-type"] == "application/json"
        assert base64.b64decode(asked.headers["authorization"][6:]) == b"shop:our-password"
        right = {"authorization": "Basic " + base64.b64encode(b"school:their-password").decode()}
        assert (await ask("POST", callback, data=CALLBACK))[0] == 401
        status, headers, body = await ask("POST", callback, data=CALLBACK, headers=right)
        assert (status, body) == (200, b"")
        assert "x-toot-unsubscribe" not in headers
        await come(lambda: hearer.heard)
        [event] = hearer.heard
        assert (event.id, event["id"]) == (EVENT_ID, 123)
        assert event.timestamp == datetime(2026, 11, 20, 21, 41, 19, tzinfo=UTC)
        unknown = CALLBACK.replace(b"updated", b"deleted")
        status, headers, body = await ask("POST", callback, data=unknown, headers=right)
        assert (status, headers["x-toot-unsubscribe"], body) == (200, "True", b"")
        assert len(await siblings.registrations()) == 1
