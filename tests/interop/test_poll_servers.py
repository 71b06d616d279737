"""The poll protocol holds behind every server: its own, plain uvicorn, hypercorn, granian."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.interop.replies import ask, poll, request, send
from trunkline import Trunkline
from trunkline.testing.servers import ASGI_SERVERS, Server, trunkline_serve

APP = "apps:gateway"
SERVERS = ("trunkline", *ASGI_SERVERS)
INTERVAL = "2"
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\n"
    b"cache-control: must-revalidate, private, max-age=0\r\n"
    b"pragma: no-cache\r\n"
    b"expires: 0\r\n"
    b"x-shop: open\r\n"
    b"connection: close\r\n"
    b"content-type: text/plain; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n"
    b"x-content-type-options: nosniff\r\n"
    b"\r\n"
)


class Place(NamedTuple):
    """Be a server, and the line it serves, opened in this process too."""

    kind: str
    server: Server
    line: Trunkline
    names: Iterator[int]

    @property
    def port(self) -> int:
        return self.server.port

    def channel(self) -> str:
        """Return a channel that nobody used."""
        return f"/lp{next(self.names)}"


@pytest.fixture(scope="module", params=SERVERS)
async def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Place]:
    log = f"sqlite:///{tmp_path_factory.mktemp('servers') / 'line.db'}"
    environment = {"TRUNKLINE_LOG": log, "TRUNKLINE_LONG_POLLING_INTERVAL": INTERVAL}
    make = trunkline_serve if request.param == "trunkline" else ASGI_SERVERS[request.param]
    async with (
        Trunkline(log) as line,
        make(APP, environment=environment, directory=Path(__file__).parent) as server,
    ):
        yield Place(request.param, server, line, count(1))
        assert server.is_running()
        assert "Traceback" not in server.output()


def form(**positions: int | str) -> str:
    return "&".join(f"%2F{name}={at}" for name, at in positions.items())


def message(receipt: object, channel: str, data: object) -> dict[str, object]:
    ids = {"global_id": receipt.global_id, "message_id": receipt.message_id}  # type: ignore[attr-defined]
    return {**ids, "channel": channel, "data": data}


def status(**last: int) -> dict[str, object]:
    data = {f"/{name}": at for name, at in last.items()}
    return {"global_id": -1, "message_id": -1, "channel": "/__status", "data": data}


def check_caching(headers: dict[str, str]) -> None:
    assert headers["cache-control"] == "must-revalidate, private, max-age=0"
    assert headers["pragma"] == "no-cache"
    assert headers["expires"] == "0"
    assert headers["x-shop"] == "open"


async def test_a_stream_opens_delivers_while_open_and_ends(place: Place) -> None:
    channel = place.channel()
    name = channel[1:]
    await place.line.publish(channel, "old")
    async with ask(place.port, poll(form(**{name: -1}))) as reply:
        assert reply.status == 200
        check_caching(reply.headers)
        assert reply.headers["content-type"] == "text/plain; charset=utf-8"
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["transfer-encoding"] == "chunked"
        assert "content-length" not in reply.headers
        assert await reply.block() == [status(**{name: 1})]
        first = await place.line.publish(channel, "m1\r\n|\r\nx")
        assert await reply.news() == [message(first, channel, "m1\r\n|\r\nx")]
        second = await place.line.publish(channel, {"ünï": [1, None]})
        assert await reply.news() == [message(second, channel, {"ünï": [1, None]})]
        assert await reply.block() == []
        assert await reply.chunk() == b""
        assert reply.raw.endswith(b"7\r\n[]\r\n|\r\n\r\n0\r\n\r\n")
        assert await reply.is_closed()


async def test_our_own_server_writes_the_original_head_byte_for_byte(place: Place) -> None:
    channel = place.channel()
    async with ask(place.port, poll(form(**{channel[1:]: 0}))) as reply:
        await reply.block()
        if place.kind == "trunkline":
            assert reply.raw == STREAM_HEAD + b"7\r\n[]\r\n|\r\n\r\n"
        ours = [name for name in reply.names if name.lower() != "transfer-encoding"]
        assert [name for name in ours if name != name.lower()] == []


async def test_one_block_is_one_chunk_and_starts_with_the_backlog(place: Place) -> None:
    channel = place.channel()
    receipts = [await place.line.publish(channel, n) for n in range(3)]
    async with ask(place.port, poll(form(**{channel[1:]: 1}))) as reply:
        part = await reply.chunk()
        assert part.endswith(b"]\r\n|\r\n")
        rows = b",".join(
            b'{"global_id":%d,"message_id":%d,"channel":"%b","data":%d}'
            % (one.global_id, one.message_id, channel.encode(), n)  # type: ignore[union-attr]
            for n, one in enumerate(receipts)
            if n
        )
        assert part == b"[" + rows + b"]\r\n|\r\n"


async def test_without_chunks_the_first_message_answers_a_held_poll(place: Place) -> None:
    channel = place.channel()
    async with send(place.port, poll(form(**{channel[1:]: 0}), "Dont-Chunk: true")) as reply:
        receipt = await place.line.publish(channel, "שלום")
        await reply.head()
        assert reply.status == 200
        check_caching(reply.headers)
        assert reply.headers["content-type"] == "application/json; charset=utf-8"
        body = await reply.body()
        assert (
            body
            == (
                f'[{{"global_id":{receipt.global_id},"message_id":{receipt.message_id},'  # type: ignore[union-attr]
                f'"channel":"{channel}","data":"שלום"}}]'
            ).encode()
        )


async def test_without_chunks_and_news_a_held_poll_ends_empty(place: Place) -> None:
    channel = place.channel()
    async with ask(place.port, poll(form(**{channel[1:]: 0}), "Dont-Chunk: false")) as reply:
        assert reply.headers["content-type"] == "application/json; charset=utf-8"
        assert await reply.body() == b"[]"


async def test_without_chunks_a_backlog_is_answered_at_once(place: Place) -> None:
    channel = place.channel()
    receipt = await place.line.publish(channel, 1)
    async with ask(place.port, poll(form(**{channel[1:]: 0}), "Dont-Chunk: true")) as reply:
        assert await reply.json() == [message(receipt, channel, 1)]
        assert reply.headers["content-type"] == "application/json; charset=utf-8"


async def test_dlp_is_answered_at_once_with_a_length(place: Place) -> None:
    channel = place.channel()
    async with ask(place.port, poll(form(**{channel[1:]: 0}), query="?dlp=t")) as reply:
        assert reply.headers["content-length"] == "2"
        check_caching(reply.headers)
        assert await reply.body() == b"[]"


async def test_json_positions_ahead_negative_and_null(place: Place) -> None:
    ahead, behind, now = place.channel(), place.channel(), place.channel()
    for channel in (ahead, behind, now):
        for number in range(4):
            last = await place.line.publish(channel, number)
        if channel == behind:
            kept = last
    body = f'{{"{ahead}":99,"{behind}":-2,"{now}":null,"__seq":1}}'
    asked = request(
        "/message-bus/c1/anything/poll?dlp=t", body, headers=["content-type: application/json"]
    )
    async with ask(place.port, asked) as reply:
        assert await reply.json() == [message(kept, behind, 3), status(**{ahead[1:]: 4})]


async def test_a_newer_request_of_a_client_ends_the_older(place: Place) -> None:
    channel = place.channel()
    position = form(**{channel[1:]: 0})
    async with ask(place.port, poll(position + "&__seq=5", client="dup")) as old:
        assert await old.block() == []
        async with ask(place.port, poll(position + "&__seq=4", client="dup")) as late:
            assert await late.body() == b"[]\r\n|\r\n[]\r\n|\r\n"
        async with ask(place.port, poll(position + "&__seq=6", client="dup")) as new:
            assert await new.block() == []
            assert await old.body() == b"[]\r\n|\r\n"
            receipt = await place.line.publish(channel, "x")
            assert await new.news() == [message(receipt, channel, "x")]


async def test_http_1_0_gets_one_array(place: Place) -> None:
    channel = place.channel()
    receipt = await place.line.publish(channel, 1)
    async with ask(place.port, poll(form(**{channel[1:]: 0}), version="1.0")) as reply:
        assert "transfer-encoding" not in reply.headers
        assert await reply.json() == [message(receipt, channel, 1)]


async def test_options_is_answered_ok(place: Place) -> None:
    async with ask(place.port, request("/message-bus/c1/poll", method="OPTIONS")) as reply:
        assert reply.status == 200
        check_caching(reply.headers)
        assert await reply.body() == b"OK"


async def test_a_client_without_an_id_is_not_found(place: Place) -> None:
    async with ask(place.port, request("/message-bus/")) as reply:
        assert reply.status == 404
        assert await reply.body() == b"not found"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ('{"/a":', "application/json"),
        ("[1]", "application/json"),
        ('{"/a":true}', "application/json"),
        ('{"/a":"soon"}', "application/json"),
        ("%2Fa%5Bx%5D=1", "application/x-www-form-urlencoded"),
        ("%2Fa=soon", "application/x-www-form-urlencoded"),
    ],
)
async def test_what_cannot_be_read_is_a_problem(place: Place, body: str, kind: str) -> None:
    asked = request("/message-bus/c1/poll", body, headers=[f"content-type: {kind}"])
    async with ask(place.port, asked) as reply:
        assert reply.status == 400
        assert reply.headers["content-type"] == "application/problem+json"
        problem = await reply.json()
        assert problem["status"] == 400
        assert problem["detail"]


def test_the_suite_covers_every_server_that_is_installed() -> None:
    assert set(SERVERS) == {"trunkline", "uvicorn", "hypercorn", "granian"}
    assert not os.environ.get("TRUNKLINE_LOG"), "the shell's settings must not reach the tests"
