"""A receiver proves who sent a webhook, and handles it once, with the handler's own writes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3

import asyncpg
import psycopg
import pytest
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import create_async_engine

from trunkline.errors import ConfigError, InvalidMessageError, UsageError
from trunkline.testing.clock import ManualClock
from trunkline.webhooks.inbox import BodyTooLargeError, Delivery, Inbox, InboxLimits
from trunkline.wire.signature import SignatureError, SigningKey, sign, sign_as_demux

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CLOCK = ManualClock()
BODY = b'{"action":"updated"}'


def signed(body=BODY, ident="msg_1", at=None, **more):
    at = int(CLOCK.now()) if at is None else at
    return {**sign([SigningKey.read(SECRET)], delivery_id=ident, timestamp=at, body=body), **more}


def inbox_of(ground=None, **options) -> Inbox:
    if ground is not None and ground.dialect == "postgres":
        options["schema"] = ground.url.rpartition("schema=")[2]
    return Inbox([SECRET], clock=CLOCK, **options)


DELIVERY = Delivery(id="msg_1", sent_at=0, signal="", attempt=1, body=BODY)


def test_what_holds_is_a_delivery() -> None:
    found = inbox_of().verify(signed(**{"Webhook-Attempt": "3"}), BODY)

    assert (found.id, found.attempt, found.data) == ("msg_1", 3, {"action": "updated"})


def test_a_body_that_is_not_json_is_told_when_it_is_decoded() -> None:
    found = inbox_of().verify(signed(b"\xff"), b"\xff")

    with pytest.raises(InvalidMessageError):
        _ = found.data


@pytest.mark.parametrize("away", [-301, 301])
def test_an_old_or_early_one_is_refused(away) -> None:
    with pytest.raises(SignatureError):
        inbox_of().verify(signed(at=int(CLOCK.now()) + away), BODY)


def test_too_much_is_refused_before_it_is_hashed() -> None:
    with pytest.raises(BodyTooLargeError):
        inbox_of(limits=InboxLimits(largest=10)).verify(signed(), BODY)


@given(st.dictionaries(st.text(), st.text(), max_size=5), st.binary(max_size=100))
def test_any_garbage_is_a_clean_refusal(headers, body) -> None:
    for format_ in ("standard", "demux"):
        with pytest.raises(SignatureError):
            inbox_of(format=format_).verify(headers, body)


def test_demux_signals_are_understood() -> None:
    inbox = Inbox(["plain secret"], format="demux", clock=CLOCK)
    headers = sign_as_demux(SigningKey.read("plain secret"), "lesson", BODY)

    assert inbox.verify(headers, BODY).signal == "lesson"


def test_keys_can_be_changed_while_it_runs() -> None:
    keys = ["whsec_" + "A" * 32]
    inbox = Inbox(lambda: keys, clock=CLOCK)
    with pytest.raises(SignatureError):
        inbox.verify(signed(), BODY)

    keys.append(SECRET)

    assert inbox.verify(signed(), BODY)


def test_an_inbox_that_could_accept_anything_is_not_made() -> None:
    with pytest.raises(ConfigError):
        Inbox([])
    with pytest.raises(ConfigError):
        Inbox([SECRET], format="stripe")


async def test_without_an_id_nothing_is_handled_once(ground) -> None:
    async with ground.line() as line, line.transaction() as tx:
        with pytest.raises(SignatureError):
            await inbox_of(ground).accept(
                Delivery(id="", sent_at=0, signal="", attempt=1, body=b""), tx=tx
            )


async def test_its_record_commits_with_the_handlers_writes(ground) -> None:
    inbox = inbox_of(ground)
    note = f"INSERT INTO note VALUES ({ground.mark})"
    async with ground.line() as line:
        with contextlib.suppress(RuntimeError):
            async with line.transaction() as tx:
                assert await inbox.accept(DELIVERY, tx=tx)
                await tx.execute(note, "lost")
                raise RuntimeError
        for _ in range(2):  # the sender tries again, and once more
            async with line.transaction() as tx:
                if await inbox.accept(DELIVERY, tx=tx):
                    await tx.execute(note, "kept")
        async with line.transaction() as tx:
            assert [row[0] for row in await tx.fetch("SELECT text FROM note")] == ["kept"]


async def test_several_handlers_handle_it_each_by_itself(ground) -> None:
    inbox = inbox_of(ground)
    async with ground.line() as line, line.transaction() as tx:
        assert await inbox.accept(DELIVERY, tx=tx, handler="a")
        assert await inbox.accept(DELIVERY, tx=tx, handler="b")
        assert not await inbox.accept(DELIVERY, tx=tx, handler="a")
        assert await Inbox([SECRET], source="other", schema=inbox._schema).accept(DELIVERY, tx=tx)


async def test_what_is_old_is_forgotten(ground) -> None:
    inbox = inbox_of(ground)
    async with ground.line() as line, line.transaction() as tx:
        await inbox.accept(DELIVERY, tx=tx)
        await inbox.forget(tx=tx, older_than=3600)
        assert not await inbox.accept(DELIVERY, tx=tx)
        await inbox.forget(tx=tx, older_than=-1)
        assert await inbox.accept(DELIVERY, tx=tx)


@contextlib.asynccontextmanager
async def guests(ground):
    """Give a transaction of each library, on the line's database."""
    async with contextlib.AsyncExitStack() as stack:
        if ground.dialect == "sqlite":
            path = ground.bare.removeprefix("sqlite:///")
            plain = stack.enter_context(contextlib.closing(sqlite3.connect(path)))
            yield [plain], []
            plain.rollback()
            return
        connection = await asyncpg.connect(ground.bare)
        stack.push_async_callback(connection.close)
        await stack.enter_async_context(connection.transaction())
        other = stack.enter_context(psycopg.connect(ground.bare))
        yield [other], [connection]


async def test_it_commits_with_any_librarys_transaction(ground) -> None:
    inbox = inbox_of(ground)
    async with ground.line(), guests(ground) as (synchronous, asynchronous):
        for number, tx in enumerate(synchronous):
            assert inbox.accept_in(tx, DELIVERY, handler=f"s{number}")
            assert not inbox.accept_in(tx, DELIVERY, handler=f"s{number}")
        for number, tx in enumerate(asynchronous):
            assert await inbox.accept(DELIVERY, tx=tx, handler=f"a{number}")
            assert not await inbox.accept(DELIVERY, tx=tx, handler=f"a{number}")
            with pytest.raises(UsageError):
                inbox.accept_in(tx, DELIVERY)


@pytest.mark.parametrize("is_async", [False, True])
async def test_it_commits_with_sqlalchemys_session(ground, is_async) -> None:
    inbox = inbox_of(ground)
    async with ground.line():
        if is_async:
            driver = "aiosqlite" if ground.dialect == "sqlite" else "asyncpg"
            engine = create_async_engine(ground.alchemy_url(driver))
            for expected in (True, False):
                async with engine.begin() as connection:
                    assert await inbox.accept(DELIVERY, tx=connection) is expected
            await engine.dispose()
        else:
            driver = "pysqlite" if ground.dialect == "sqlite" else "psycopg"
            engine = sqlalchemy.create_engine(ground.alchemy_url(driver))
            for expected in (True, False):
                with engine.begin() as connection:
                    assert inbox.accept_in(connection, DELIVERY) is expected
            engine.dispose()


# -- frameworks -----------------------------------------------------------------------------


async def answer_of(app, headers, body) -> int:
    """Ask an ASGI application, the body in pieces."""
    pieces = [body[:5], body[5:]]
    statuses = []

    async def receive():
        piece = pieces.pop(0) if pieces else b""
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/hooks",
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("x", 80),
        "client": ("x", 1),
        "root_path": "",
        "raw_path": b"/hooks",
    }
    async with asyncio.timeout(5):
        await app(scope, receive, send)
    return statuses[0]


def tries():
    """Return requests with the status that each deserves."""
    return [
        (signed(), BODY, 204),
        (signed(), BODY + b" ", 401),
        ({}, b"", 401),
        ({"webhook-signature": "v1,\xff"}, b"\xff", 401),
        (signed(b"x" * 2000), b"x" * 2000, 413),
    ]


async def test_starlette() -> None:
    from starlette.applications import Starlette
    from starlette.routing import Route

    from trunkline.integrations.receiver_starlette import webhook

    seen = []

    async def handler(delivery) -> None:
        seen.append(delivery.data)

    endpoint = webhook(inbox_of(limits=InboxLimits(largest=1000)), handler)
    app = Starlette(routes=[Route("/hooks", endpoint, methods=["POST"])])

    for headers, body, status in tries():
        assert await answer_of(app, headers, body) == status
    assert seen == [{"action": "updated"}]


async def test_fastapi() -> None:
    from fastapi import Depends, FastAPI, Response

    from trunkline.integrations.receiver_starlette import received

    app = FastAPI()
    verified = Depends(received(inbox_of(limits=InboxLimits(largest=1000))))

    def hook(delivery=verified):
        return Response(json.dumps(delivery.id), 204)

    app.post("/hooks")(hook)

    for headers, body, status in tries():
        assert await answer_of(app, headers, body) == status


def test_flask() -> None:
    from flask import Flask

    from trunkline.integrations.receiver_flask import webhook

    app, seen = Flask(__name__), []

    @app.post("/hooks")
    @webhook(inbox_of(limits=InboxLimits(largest=1000)))
    def hook(delivery):
        seen.append(delivery.data)

    for headers, body, status in tries():
        assert app.test_client().post("/hooks", headers=headers, data=body).status_code == status
    assert seen == [{"action": "updated"}]


def test_django() -> None:
    import django
    from django.conf import settings
    from django.test import RequestFactory

    if not settings.configured:
        settings.configure()
        django.setup()
    from trunkline.integrations.receiver_django import webhook

    seen = []

    @webhook(inbox_of(limits=InboxLimits(largest=1000)))
    def hook(request, delivery):
        seen.append(delivery.data)

    make = RequestFactory()
    for headers, body, status in tries():
        request = make.post("/hooks", body, content_type="application/json", headers=headers)
        assert hook(request).status_code == status
    assert hook(make.get("/hooks")).status_code == 405
    assert seen == [{"action": "updated"}]
