"""Services tell each other: publish, subscribe, callbacks, handlers, over real servers."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import time
from datetime import UTC, datetime

import aiohttp
import msgspec
import pytest

from tests.gateway.serving import serving
from tests.store.databases import until
from tests.webhooks.receiving import answers, one_after_another, receiving
from tests.webhooks.services import (
    PREFIX,
    ask,
    come,
    hearing,
    introduce,
    make_line,
    other,
    pair,
    publishing,
)
from trunkline.errors import (
    ConfigError,
    GrammarError,
    InvalidMessageError,
    UnencodableDataError,
)
from trunkline.runtime.portal import Portal
from trunkline.webhooks.guard import BlockedError, Egress, GuardedConnector
from trunkline.wire.signature import SigningKey, sign


async def test_what_is_published_reaches_a_handler_elsewhere(ground) -> None:
    async with pair(ground) as (line, hearer, _):
        hearer.line.siblings.subscribe("school", "users.updated.v1", hearer.hear)
        await hearer.line.open(run_consumers=True)
        [done] = await hearer.line.siblings.register()
        assert (done.status, done.error) == (201, None)
        [again] = await hearer.line.siblings.register()
        assert again.status == 204
        sent = await line.siblings.publish("users.updated.v1", {"id": 123, "name": "\0ü"})
        await come(lambda: hearer.heard)
        [event] = hearer.heard
        assert event == sent
        assert event.timestamp == sent.timestamp
        assert event.timestamp.tzinfo == UTC
        assert sent.timestamp.tzinfo == UTC
        assert event.channel == "org.example.users.updated.v1"
        assert (event["id"], event.payload) == (123, {"id": 123, "name": "\0ü"})


async def test_an_event_of_a_transaction_goes_out_if_that_commits(ground) -> None:
    async with pair(ground) as (line, hearer, _):
        hearer.line.siblings.subscribe("school", "a", hearer.hear)
        await hearer.line.open(run_consumers=True)
        await hearer.line.siblings.register()
        with contextlib.suppress(ZeroDivisionError):
            async with line.transaction() as tx:
                await line.siblings.publish("a", {"n": 1}, tx=tx)
                raise ZeroDivisionError
        async with line.transaction() as tx:
            await line.siblings.publish("a", {"n": 2}, tx=tx)
        await come(lambda: hearer.heard)
        assert [event["n"] for event in hearer.heard] == [2]


async def test_a_repeated_callback_is_handled_once_and_with_the_handlers_writes(ground) -> None:
    async with pair(ground) as (line, hearer, _):
        mark = "?" if ground.dialect == "sqlite" else "$1"

        async def note(event, tx) -> None:
            await tx.execute(f"INSERT INTO noted VALUES ({mark})", event.id)
            hearer.heard.append(event)

        hearer.line.siblings.subscribe("school", "a", note)
        await hearer.line.open(run_consumers=True)
        async with hearer.line.transaction() as tx:
            await tx.execute("DROP TABLE IF EXISTS noted")
            await tx.execute("CREATE TABLE noted (id text)")
        await hearer.line.siblings.register()
        await line.siblings.publish("a", {"n": 1})
        await come(lambda: hearer.heard)
        [one] = await line.transmissions.list()

        async def is_sent() -> bool:
            return (await line.transmissions.counts()).get("sent") == 1

        await until(is_sent)
        await line.endpoints.resend(one.id)

        async def both_are() -> bool:
            return (await line.transmissions.counts()).get("sent") == 2

        await until(both_are)
        await line.siblings.publish("a", {"n": 2})
        await come(lambda: len(hearer.heard) >= 2)
        assert [event["n"] for event in hearer.heard] == [1, 2]

        async def both_are_noted() -> bool:
            async with hearer.line.transaction() as tx:
                return (await tx.fetch("SELECT count(*) FROM noted"))[0][0] == 2

        await until(both_are_noted)


async def test_messages_of_any_channel_can_feed_it(ground) -> None:
    async with pair(ground) as (line, hearer, _):
        line.siblings.feed(
            "orders-out",
            "/orders/*",
            to="orders.v1",
            payload=lambda message: {"from": message.channel, "data": message.data},
        )
        hearer.line.siblings.subscribe("school", "orders.v1", hearer.hear)
        await hearer.line.open(run_consumers=True)
        await hearer.line.siblings.register()
        await line.close()
        await line.open(run_consumers=True)
        line.start_services()
        await line.publish("/orders/7", "new")
        await come(lambda: hearer.heard)
        assert hearer.heard[0].payload == {"from": "/orders/7", "data": "new"}


async def test_events_with_a_key_come_one_after_another(ground) -> None:
    async with (
        publishing(ground.url, open=True, format="toot") as (line, url),
        receiving() as receiver,
    ):
        body = json.dumps({"channel": "org.example.a", "callback_url": receiver.url("/cb")})
        assert (await ask("POST", url, data=body))[0] == 201
        receiver.behave["/cb"] = one_after_another(answers(500), answers(500), answers(200))
        for number in range(5):
            await line.siblings.publish("a", number, key="one")
        await come(lambda: len(receiver.requests) == 7)
        found = [json.loads(one.body)["payload"] for one in receiver.requests]
        assert found == [0, 0, 0, 1, 2, 3, 4]


async def test_one_hook_wraps_every_outgoing_call_and_none_goes_around_the_guard(ground) -> None:
    async with pair(ground) as (line, hearer, _):
        purposes = []
        for one in (line, hearer.line):

            @one.webhooks.delivery.around_calls
            async def around(call, send):
                purposes.append(call.purpose)
                moved = call.url if len(purposes) < 4 else "http://169.254.169.254/"
                return await send(msgspec.structs.replace(call, url=moved))

        await hearer.line.close()
        await line.close()
        await line.open(run_consumers=True)
        line.start_services()
        hearer.line.siblings.subscribe("school", "a", hearer.hear)
        await hearer.line.open(run_consumers=True)
        assert (await hearer.line.siblings.register())[0].is_ok
        await line.siblings.publish("a", {})
        await come(lambda: hearer.heard)
        assert purposes == ["registration", "challenge", "delivery"]
        [moved] = await hearer.line.siblings.register()
        assert moved.error is not None
        assert "not public" in moved.error


async def test_workers_register_at_start_and_renew_before_the_lease_ends(ground) -> None:
    async with publishing(ground.url) as (line, url), hearing(other(ground), register="start") as h:
        await introduce(line, h.line)
        h.line.siblings.source("school", subscription_url=url, channel_prefix=PREFIX)
        h.line.siblings.subscribe("school", "a", h.hear)
        await h.line.close()
        await h.line.open()
        h.line.start_services()

        async def registered() -> bool:
            return len(await line.siblings.subscribers.list()) == 1

        await until(registered)

        async def noted() -> bool:
            return any(one["registered_at"] for one in await h.line.siblings.registrations())

        await until(noted)
        [one] = await h.line.siblings.registrations()
        lease = line.siblings.options.lease
        assert 0 < one["renew_at"] - one["registered_at"] < lease / 2
        # What was lost at the source is made again when it is due.
        await line.siblings.subscribers.unsubscribe("org.example.a", one["callback_url"])
        database = h.line._store.database
        async with database.transaction() as tx:
            await tx.execute(f"UPDATE {database.schema}trunkline_registration SET renew_at = 0")
        await until(registered)


async def test_what_is_not_wanted_any_more_is_told_to_the_source(ground) -> None:
    async with pair(ground) as (line, hearer, _):
        siblings = hearer.line.siblings
        siblings.subscribe("school", "a", hearer.hear)
        await hearer.line.open()
        await siblings.register()
        assert (await siblings.unregister("school", "org.example.a")).is_ok
        assert (await siblings.unregister("school", "org.example.a")).status == 404
        assert await line.siblings.subscribers.list() == []
        assert await siblings.registrations() == []


async def test_a_removed_peer_gets_nothing_that_is_queued(ground) -> None:
    async with publishing(ground.url) as (line, url), receiving() as receiver:
        given = await line.siblings.peers.add("shop", format="toot")
        body = json.dumps({"channel": "org.example.a", "callback_url": receiver.url("/cb")})
        headers = {"authorization": f"Bearer {given.token}"}
        receiver.behave["/cb"] = answers(500)
        assert (await ask("POST", url, data=body, headers=headers))[0] == 201
        await line.siblings.publish("a", {})
        await come(lambda: receiver.requests)
        await line.siblings.peers.remove("shop")

        async def is_over() -> bool:
            counts = await line.transmissions.counts()
            return counts.get("dead", 0) + counts.get("withdrawn", 0) == 1

        await until(is_over)


async def test_callbacks_prove_who_calls(ground) -> None:
    async with pair(ground) as (_, hearer, _):
        siblings = hearer.line.siblings
        siblings.subscribe("school", "a", hearer.hear)
        await hearer.line.open(run_consumers=True)
        url = siblings.options.callback_url
        [known] = (await siblings.peers.keys(["school"])).values()
        body = json.dumps({"id": "e1", "channel": "org.example.a", "payload": {}}).encode()
        stamp = int(time.time())
        right = sign([SigningKey.read(known.secret)], delivery_id="m", timestamp=stamp, body=body)
        stale = sign([SigningKey.read(known.secret)], delivery_id="m", timestamp=9, body=body)
        wrong = {**right, "webhook-signature": "v1," + "A" * 43 + "="}
        for headers in ({}, wrong, stale, {"authorization": "Basic x"}):
            assert (await ask("POST", url, data=body, headers=headers))[0] == 401
        assert (await ask("POST", url, data=body + b" ", headers=right))[0] == 401
        for _ in range(2):
            assert (await ask("POST", url, data=body, headers=right))[0] == 200
        await come(lambda: hearer.heard)
        assert (await ask("PUT", url, data=body, headers=right))[0] == 405
        assert (await ask("POST", url, data=io.BytesIO(b"x" * 1_100_000)))[0] == 413
        for query, status in (
            ("", 400),
            ("hub.mode=subscribe&hub.topic=org.example.b&hub.challenge=x", 404),
            ("hub.mode=subscribe&hub.topic=org.example.a&hub.challenge=%00", 400),
            ("hub.mode=unsubscribe&hub.topic=org.example.a&hub.challenge=x", 400),
            ("&".join("a=b" for _ in range(100)), 400),
            ("a=" + "b" * 9000, 414),
        ):
            assert (await ask("GET", f"{url}?{query}"))[0] == status
        assert len(hearer.heard) == 1


async def test_middleware_wraps_services_and_wsgi_is_the_same(sqlite_ground) -> None:
    line = make_line(sqlite_ground.url, prefix=PREFIX, open=True, format="toot")
    seen = []

    def noting(name):
        def wrap(application):
            async def wrapped(scope, receive, send):
                seen.append(name)
                await application(scope, receive, send)

            return wrapped

        return wrap

    service = line.siblings.subscriptions_service(middleware=[noting("outer"), noting("inner")])
    async with line, serving(service, "uvicorn") as port:
        assert (await ask("GET", f"http://127.0.0.1:{port}/"))[0] == 200
        assert seen == ["outer", "inner"]
    portal = Portal("test")
    form = make_line(sqlite_ground.url, prefix=PREFIX, open=True, format="toot")
    application = form.siblings.subscriptions_service().wsgi(portal.call)

    def call(method: str, body: bytes = b"", **environ):
        told = []
        given = {"REQUEST_METHOD": method, "wsgi.input": io.BytesIO(body), **environ}
        size = str(len(body)) if body else ""
        parts = application({"CONTENT_LENGTH": size, **given}, lambda *answer: told.append(answer))
        return told[0][0], b"".join(parts)

    body = json.dumps({"channel": "org.example.a", "callback_url": "http://127.0.0.1:8009/"})
    assert await asyncio.to_thread(call, "POST", body.encode()) == ("201 Created", b"")
    assert await asyncio.to_thread(call, "POST", body.encode()) == ("204 No Content", b"")
    assert (await asyncio.to_thread(call, "SEND"))[0] == "405 Method Not Allowed"
    assert (await asyncio.to_thread(call, "POST", b"["))[0].startswith("422")
    assert (await asyncio.to_thread(call, "POST", b"x" * 70_000))[0].startswith("413")
    listed = json.loads((await asyncio.to_thread(call, "GET"))[1])
    assert listed["channels"] == ["org.example.a"]
    await asyncio.to_thread(portal.call, form.close)
    portal.close()


async def test_what_makes_no_sense_is_told_at_once(sqlite_ground) -> None:
    line = make_line(sqlite_ground.url, prefix=PREFIX)
    siblings = line.siblings
    with pytest.raises(ConfigError, match="undefined source: nobody"):
        siblings.subscribe("nobody", "a", lambda event: None)
    siblings.source("school", subscription_url="http://127.0.0.1:8009", channel_prefix=PREFIX)
    with pytest.raises(ConfigError):
        siblings.source("school", subscription_url="http://other/", channel_prefix=PREFIX)
    with pytest.raises(GrammarError):
        siblings.subscribe("school", "a:b", lambda event: None)
    with pytest.raises(ConfigError):
        siblings.subscribe("school", "a", lambda: None)
    siblings.subscribe("school", "a", lambda event: None, name="x")
    with pytest.raises(ConfigError):
        siblings.subscribe("school", "a", lambda event: None, name="x")
    async with line:
        with pytest.raises(ConfigError, match="callback_url"):
            await siblings.register()
        for options in ({"id": "a b"}, {"timestamp": datetime(2026, 1, 1)}):  # noqa: DTZ001
            with pytest.raises(InvalidMessageError):
                await siblings.publish("a", {}, **options)
        with pytest.raises(GrammarError):
            await siblings.publish("a b")
        with pytest.raises(UnencodableDataError):
            await siblings.publish("a", float("nan"))
    for settings in ({"lease": 1}, {"prefix": "a b"}, {"nonsense": 1}, {"format": "x"}):
        with pytest.raises(ConfigError):
            _ = make_line(sqlite_ground.url, **settings).siblings
    for terms in ({"channels": ["a*b"]}, {"scheme": "basic"}, {"nonsense": 1}):
        with pytest.raises(ConfigError):
            await line.siblings.peers.add("shop", **terms)
    await line.close()


async def test_a_ready_session_is_used_and_one_around_the_guard_is_refused(sqlite_ground) -> None:
    async with pair(sqlite_ground) as (line, hearer, _), aiohttp.ClientSession() as plain:
        used = aiohttp.TraceConfig()
        seen = []

        async def note(session, context, params) -> None:
            seen.append(params.method)

        used.on_request_start.append(note)
        connector = GuardedConnector(Egress(http=True, networks=("127.0.0.0/8",)))
        async with aiohttp.ClientSession(connector=connector, trace_configs=[used]) as session:
            for one in (line, hearer.line):
                await one.close()
                with pytest.raises(BlockedError):
                    one.webhooks.delivery.use_session(plain)
                one.webhooks.delivery.use_session(session)
            await line.open(run_consumers=True)
            line.start_services()
            hearer.line.siblings.subscribe("school", "a", hearer.hear)
            await hearer.line.open(run_consumers=True)
            assert (await hearer.line.siblings.register())[0].is_ok
            await line.siblings.publish("a", {})
            await come(lambda: hearer.heard)
            assert seen == ["POST", "GET", "POST"]
            await line.close()
            await hearer.line.close()
