"""Every request finds its endpoint or the wrapped application, and every failure an answer."""

from __future__ import annotations

import logging

import pytest

from tests.gateway.edge import a_line, call, code_of, exchange, scope_of
from trunkline.errors import LimitExceededError, LogUnavailableError
from trunkline.gateway.answer import Answer
from trunkline.gateway.application import Reception
from trunkline.gateway.options import GatewayOptions
from trunkline.gateway.request import ClientGoneError
from trunkline.gateway.router import Router


async def wrapped(scope, receive, send):
    if scope["path"] == "/boom":
        raise ZeroDivisionError
    await Answer(203, [("x-from", "wrapped")], scope["path"].encode()).send(send)


def reception(line, serve, **how):
    """Make an application with one endpoint, at /it."""
    router = Router({"/it": serve}, poll=None, script=None, socket=None)
    return Reception(line.gateway(**how).context, router)


def failing(error):
    async def serve(request, send):
        raise error

    return serve


async def test_what_is_not_ours_goes_to_the_wrapped_application():
    async with a_line() as line:
        app = line.gateway(options=GatewayOptions(base_path="/rt"), wrapped=wrapped)
        for path in ("/", "/rt/unknown", "/rtx", "/api/openapi.json", "/message-bus"):
            told = await call(app, "GET", path)
            assert (told.status, told.body) == (203, path.encode())
        assert (await call(app, "GET", "/rt/api/openapi.json")).status == 200


async def test_without_a_wrapped_application_it_is_not_found():
    async with a_line() as line:
        told = await call(line.gateway(), "GET", "/nothing")
        assert (told.status, code_of(told)) == (404, "not-found")


async def test_lifespan_is_answered_or_passed_on():
    async with a_line() as line:
        events = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
        sent = []

        async def receive():
            return next(events)

        async def send(event):
            sent.append(event["type"])

        await line.gateway()({"type": "lifespan"}, receive, send)
        assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_a_method_that_is_not_served_is_refused():
    async with a_line() as line:
        told = await call(line.gateway(), "DELETE", "/api/publish")
        assert (told.status, code_of(told)) == (405, "method-not-allowed")
        assert (await call(line.gateway(), "OPTIONS", "/api/publish")).status == 204


async def test_head_has_the_headers_alone():
    async with a_line() as line:
        told = await call(line.gateway(), "HEAD", "/api/openapi.json")
        assert told.body == b""
        assert int(told.headers["content-length"]) > 100


async def test_a_failure_of_ours_is_logged_and_tells_nothing(caplog):
    async with a_line() as line:
        told = await call(reception(line, failing(OSError("/etc/secret"))), "GET", "/it")
        assert (told.status, code_of(told)) == (500, "internal")
        assert b"secret" not in told.body
        assert "secret" in caplog.text


async def test_a_log_that_is_away_says_when_to_come_back():
    async with a_line() as line:
        told = await call(reception(line, failing(LogUnavailableError("locked"))), "GET", "/it")
        assert (told.status, code_of(told)) == (503, "log-unavailable")
        assert told.headers["retry-after"] == "1"


async def test_a_hook_may_refuse_with_a_status_of_its_own():
    class TeapotError(Exception):
        status = 418
        code = "teapot"

    def identify(_):
        raise LimitExceededError("load", 1, retry_after=30)

    async with a_line() as line:
        app = line.gateway(identify=identify, access=lambda *_: True)

        async def serve(request, send):
            await app.context.admit(request)

        told = await call(reception(line, serve), "GET", "/it")
        assert told.status == 429
        assert told.headers["retry-after"] == "30"
        told = await call(reception(line, failing(TeapotError("private"))), "GET", "/it")
        assert (told.status, code_of(told)) == (418, "teapot")
        assert b"private" not in told.body


async def test_on_error_may_answer_and_may_be_a_coroutine_function():
    seen = []

    async def on_error(request, error):
        seen.append((request.path, type(error)))
        return 407, {"X-Why": "hook"}, b"no"

    async with a_line() as line:
        for hook in (on_error, lambda *_: (407, [("X-Why", "hook")], b"no")):
            app = reception(line, failing(ZeroDivisionError()), on_error=hook)
            told = await call(app, "GET", "/it")
            assert (told.status, told.headers["x-why"], told.body) == (407, "hook", b"no")
    assert seen == [("/it", ZeroDivisionError)]


async def test_on_error_may_leave_it_to_us_and_may_fail_itself(caplog):
    async with a_line() as line:
        for hook in (lambda *_: None, lambda *_: 1 / 0, lambda *_: "nonsense"):
            app = reception(line, failing(KeyError("k")), on_error=hook)
            assert (await call(app, "GET", "/it")).status == 500


async def test_on_error_never_sees_mistakes_of_clients_nor_the_wrapped_application():
    seen = []
    async with a_line() as line:
        app = line.gateway(wrapped=wrapped, on_error=lambda *args: seen.append(args))
        assert (await call(app, "POST", "/api/publish")).status == 403
        with pytest.raises(ZeroDivisionError):
            await call(app, "GET", "/boom")
    assert seen == []


async def test_a_client_that_went_away_leaves_no_line_in_the_log(caplog):
    caplog.set_level(logging.DEBUG)
    seen, sent = [], []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(event):
        sent.append(event)

    async with a_line() as line:
        options = GatewayOptions(publish_keys=("key-number-1",))
        app = line.gateway(options=options, on_error=lambda *args: seen.append(args))
        headers = [("authorization", "Bearer key-number-1")]
        await app(scope_of("POST", "/api/publish", headers=headers), receive, send)
        await reception(line, failing(ClientGoneError("gone")))(
            scope_of("GET", "/it"), receive, send
        )
    assert not sent
    assert not seen
    assert not [one for one in caplog.records if one.name.startswith("trunkline")]


async def test_a_failure_after_the_answer_began_ends_it_without_a_second_one(caplog):
    async def serve(request, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    async with a_line() as line:
        told = await call(reception(line, serve), "GET", "/it")
        assert (told.status, told.body) == (200, b"")
        assert "after its answer had begun" in caplog.text


async def test_extra_headers_go_with_every_answer():
    async def extra(request):
        return {"X-Served-By": "us", "cache-control": "private"}

    async with a_line() as line:
        for given in (extra, lambda _: [("X-Served-By", "us"), ("cache-control", "private")]):
            app = line.gateway(extra_headers=given)
            for path, status in (("/api/openapi.json", 200), ("/api/publish", 405)):
                told = await call(app, "GET", path)
                assert told.status == status
                assert told.headers["x-served-by"] == "us"
                assert told.headers["cache-control"] == "private"


async def test_an_extra_header_cannot_forge_another():
    async with a_line() as line:
        app = line.gateway(extra_headers=lambda _: {"x": "a\r\nset-cookie: b"})
        told = await call(app, "GET", "/api/openapi.json")
        assert told.status == 500
        assert "set-cookie" not in told.headers
        assert b"set-cookie" not in told.body


async def test_a_socket_is_refused_before_it_is_accepted():
    async with a_line() as line:
        sent = []

        async def receive():
            return {"type": "websocket.connect"}

        async def send(event):
            sent.append(event)

        scope = scope_of("GET", "/nowhere") | {"type": "websocket", "subprotocols": []}
        await line.gateway()(scope, receive, send)
        assert sent == [{"type": "websocket.close", "code": 1008, "reason": "refused"}]
        sent.clear()
        await line.gateway()(
            {**scope, "extensions": {"websocket.http.response": {}}}, receive, send
        )
        assert (sent[0]["type"], sent[0]["status"]) == ("websocket.http.response.start", 404)
        assert sent[1]["type"] == "websocket.http.response.body"


async def test_a_body_that_was_refused_closes_the_connection():
    async with a_line() as line:
        options = GatewayOptions(publish_keys=("key-number-1",), max_body_bytes=1024)
        headers = [("authorization", "Bearer key-number-1"), ("content-length", "5000")]
        scope = scope_of("POST", "/api/publish", headers=headers)
        told = await exchange(line.gateway(options=options), scope, b"x" * 5000)
        assert (told.status, told.headers["connection"]) == (413, "close")
        assert told.json["limit"] == "max_body_bytes"
        told = await exchange(line.gateway(options=options), {**scope, "http_version": "2"})
        assert "connection" not in told.headers
