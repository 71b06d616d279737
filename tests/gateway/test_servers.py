"""The poll protocol and event streams behave the same behind every ASGI server."""

from __future__ import annotations

import contextlib

import msgspec
import pytest

from tests.gateway.behind import KEY
from tests.gateway.held import get, poll, wire
from trunkline.testing.servers import ASGI_SERVERS

FORM = "%2Fa={}"


@pytest.fixture(params=[*ASGI_SERVERS, "handed-over"])
async def server(request):
    if request.param == "handed-over":
        arguments = ("--http", "trunkline.gateway.handover:HandOverProtocol")
        running = ASGI_SERVERS["uvicorn"]("tests.gateway.behind:app", *arguments)
    else:
        running = ASGI_SERVERS[request.param]("tests.gateway.behind:app")
    async with running:
        yield running


def publish(data, channel="/a"):
    body = msgspec.json.encode({"channel": channel, "data": data})
    head = (
        "POST /api/publish HTTP/1.1\r\nhost: t\r\nconnection: close\r\n"
        f"authorization: Bearer {KEY}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def send(server, data):
    async with wire(server.port, publish(data)) as client:
        assert b" 200" in (await client.until(b"\r\n"))
        await client.until(b'"message_id"')


def message(number, text):
    return b'{"global_id":%d,"message_id":%d,"channel":"/a","data":"%b"}' % (number, number, text)


def block(*elements):
    return b"[" + b",".join(elements) + b"]\r\n|\r\n"


def body_of(raw):
    """Take HTTP's head and chunks off."""
    head, _, rest = raw.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head.lower():
        return rest
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        count = int(size, 16)
        body, rest = body + rest[:count], rest[count + 2 :]
    return body


def headers_of(raw):
    lines = raw.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


async def test_every_transport_behaves_the_same(server):
    await send(server, "one")
    await send(server, "two")
    async with wire(server.port, poll("c", FORM.format(1), query="?dlp=t")) as client:
        raw = await client.until(b"]")
        assert headers_of(raw)["content-type"] == "application/json; charset=utf-8"
        assert headers_of(raw)["cache-control"] == "must-revalidate, private, max-age=0"
        assert body_of(raw) == b"[" + message(2, b"two") + b"]"
    async with wire(server.port, poll("c", FORM.format(1))) as client:
        raw = await client.until(b"|\r\n")
        await send(server, "three")
        raw += await client.rest()
        assert headers_of(raw)["content-type"] == "text/plain; charset=utf-8"
        assert headers_of(raw)["x-content-type-options"] == "nosniff"
        first, live = block(message(2, b"two")), block(message(3, b"three"))
        assert body_of(raw) == first + live + block()
    async with wire(server.port, poll("c", FORM.format(3), "Dont-Chunk: t")) as client:
        await send(server, "four")
        raw = await client.until(b"}]")
        assert body_of(raw) == b"[" + message(4, b"four") + b"]"
    async with wire(server.port, poll("c", FORM.format(4), "Dont-Chunk: t")) as client:
        assert body_of(await client.until(b"[]")) == b"[]"


async def test_streams_resume_behind_every_server(server):
    for number in range(4):
        await send(server, number)
    async with wire(server.port, get("/sse?channel=/a&position=0")) as client:
        seen = await client.until(b'"data":1}')
        position = seen[seen.rindex(b"\nid: ") :].split()[1] if b"\nid: " in seen else None
    assert position is not None
    async with wire(server.port, get("/sse?channel=/a", f"last-event-id: {position.decode()}")) as (
        client
    ):
        seen = await client.until(b'"data":3}')
        assert b'"data":0}' not in seen
    with contextlib.suppress(EOFError):
        async with wire(server.port, get("/sse")) as client:
            assert b" 400" in await client.until(b"\r\n")
