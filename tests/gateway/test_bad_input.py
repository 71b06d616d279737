"""Whatever bytes a client sends, it is answered with no 5xx, and the log stays silent."""

from __future__ import annotations

import asyncio
import logging

import anyio
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.gateway.edge import a_line, exchange, scope_of
from trunkline.gateway.options import GatewayOptions
from trunkline.model.identity import Identity

KEY = "a-key-of-our-own"

PATHS = st.sampled_from(
    [
        "/message-bus/client/poll",
        "/message-bus/",
        "/message-bus/_diagnostics",
        "/message-bus/_diagnostics/state.json",
        "/sse",
        "/ws",
        "/api/publish",
        "/api/openapi.json",
        "/trunkline.js",
    ]
) | st.text(max_size=40).map(lambda text: f"/message-bus/{text}")
METHODS = st.sampled_from(["GET", "POST", "OPTIONS", "HEAD", "PUT", "DELETE", "BREW"])
NAMES = st.sampled_from(
    [
        "content-type",
        "content-length",
        "last-event-id",
        "origin",
        "host",
        "authorization",
        "dont-chunk",
        "x-trunkline-gaps",
        "if-none-match",
        "cookie",
        "access-control-request-headers",
        "sec-fetch-site",
    ]
)
LATIN = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=40)
VALUES = LATIN | st.sampled_from(
    [
        "application/json",
        "application/x-www-form-urlencoded",
        f"Bearer {KEY}",
        "0",
        "999999999999999999999999",
        "abc-99999999999999999999",
        "http://[",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(width=32) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["channel", "data", "user_ids", "key", "headers", "/a", "__seq", "id"])
            | st.text(max_size=6),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


def encoded(value):
    """Encode leniently: what strict JSON refuses is what we want to send."""
    import json

    return json.dumps(value).encode("utf-8", "surrogatepass")


BODIES = st.binary(max_size=300) | JSON.map(encoded)
QUERIES = (
    st.binary(max_size=80).filter(lambda text: b"\n" not in text)
    | LATIN.map(lambda text: text.encode("latin-1"))
    | st.sampled_from(
        [
            b"dlp=t",
            b"channel=/a&position=0&dlp=t",
            b"channel=%ff",
            b"channel=/a&last=x",
            b"position=9-9",
            b"after=%00",
        ]
    )
)
#: What the gateway says when it can do no more than wait for messages.
STREAMS = ("text/event-stream",)


@settings(max_examples=400)
@given(
    method=METHODS,
    path=PATHS,
    query=QUERIES,
    headers=st.lists(st.tuples(NAMES, VALUES), max_size=5),
    body=BODIES,
)
@example("POST", "/api/publish", b"", [("authorization", f"Bearer {KEY}")], b'{"channel":"/a"}')
@example("POST", "/message-bus/x/poll", b"", [], b"/a=99999999999999999999")
@example("GET", "/sse", b"channel=/a&channel=" + b"x" * 500, [], b"")
def test_no_request_is_answered_with_a_5xx(method, path, query, headers, body):
    asyncio.run(one_request(method, path, query, headers, body))


async def one_request(method, path, query, headers, body):
    records = Records()
    logger = logging.getLogger("trunkline")
    logger.addHandler(records)
    try:
        async with a_line() as line:
            gateway = line.gateway(
                identify=lambda _: Identity(is_admin=True),
                access=lambda *_: True,
                options=GatewayOptions(
                    publish_keys=(KEY,), diagnostics=True, long_polling_interval=0.001
                ),
            )
            scope = scope_of(method, path, query=query)
            scope["headers"] = [(n.encode(), v.encode("latin-1")) for n, v in headers]
            status = await status_of(gateway, scope, body)
            assert status < 500, (status, path)
            await gateway.close()
    finally:
        logger.removeHandler(records)
    assert not records.texts


async def status_of(gateway, scope, body):
    """Return the status; whoever is streamed to goes away after the first bytes."""
    answered = anyio.Event()
    status = []

    async def receive():
        if body is not None and not received:
            received.append(True)
            return {"type": "http.request", "body": body}
        await answered.wait()
        return {"type": "http.disconnect"}

    async def send(event):
        if event["type"] == "http.response.start":
            status.append(event["status"])
        else:
            answered.set()

    received = []
    with anyio.fail_after(10):
        await gateway(scope, receive, send)
    return status[0]


class Records(logging.Handler):
    """Keep what is logged as an error."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.texts = []

    def emit(self, record):
        self.texts.append(self.format(record))


@settings(max_examples=150)
@given(st.lists(st.text(max_size=80) | JSON.map(lambda v: encoded(v).decode()), max_size=5))
def test_no_text_on_a_socket_is_a_failure(texts):
    asyncio.run(one_socket(texts))


async def one_socket(texts):
    records = Records()
    logger = logging.getLogger("trunkline")
    logger.addHandler(records)
    async with a_line() as line:
        gateway = line.gateway()
        scope = scope_of("GET", "/ws") | {"type": "websocket", "subprotocols": []}
        events = [{"type": "websocket.connect"}]
        events += [{"type": "websocket.receive", "text": text} for text in texts]
        events += [{"type": "websocket.receive", "text": '{"id":"last","type":"ping"}'}]
        said, closed = [], []
        is_through = anyio.Event()

        async def receive():
            if events:
                return events.pop(0)
            await is_through.wait()
            return {"type": "websocket.disconnect", "code": 1006}

        async def send(event):
            if event["type"] == "websocket.send":
                said.append(msgspec.json.decode(event["text"]))
                if said[-1].get("id") == "last":
                    is_through.set()
            elif event["type"] == "websocket.close":
                closed.append(event["code"])
                is_through.set()

        with anyio.fail_after(10):
            await gateway(scope, receive, send)
        assert closed in ([], [1007], [1009])
        assert not [one for one in said if one.get("code") == "internal"]
        assert not gateway.board.connections
        await gateway.close()
    logger.removeHandler(records)
    assert not records.texts


@pytest.mark.parametrize("size", [0, 1, 5000])
async def test_a_client_that_leaves_in_the_middle_of_a_body_is_nobodys_error(size, caplog):
    async with a_line() as line:
        gateway = line.gateway()
        for path in ("/message-bus/c/poll", "/sse", "/api/publish"):
            events = iter(
                [
                    {"type": "http.request", "body": b"x" * size, "more_body": True},
                    {"type": "http.disconnect"},
                    {"type": "http.disconnect"},
                ]
            )
            sent = []

            async def receive(events=events):
                return next(events)

            async def send(event, sent=sent):
                sent.append(event)

            await gateway(scope_of("POST", path), receive, send)
            assert not sent or sent[0]["status"] < 500
        await gateway.close()
    assert not [one for one in caplog.records if one.levelname in {"ERROR", "WARNING"}]


async def test_a_body_over_the_limit_is_refused_by_every_endpoint():
    async with a_line() as line:
        options = GatewayOptions(max_body_bytes=1024, publish_keys=(KEY,))
        gateway = line.gateway(options=options)
        for path in ("/message-bus/c/poll", "/api/publish"):
            scope = scope_of("POST", path, headers=[("authorization", f"Bearer {KEY}")])
            told = await exchange(gateway, scope, [b"x" * 1000, b"x" * 1000])
            assert (told.status, told.json["limit"]) == (413, "max_body_bytes")
        await gateway.close()
