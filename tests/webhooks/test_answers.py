"""Whatever a receiver answers is kept safely, and the outcome is what its status says."""

from __future__ import annotations

import pytest

from tests.webhooks.posting import decoded
from tests.webhooks.receiving import raw_server, receiving

BODIES = {
    "NUL": b"a\x00b",
    "invalid UTF-8": b"\xff\xfe\xc3\x28",
    "markup and escapes": b"<script>alert(1)</script>\x1b[31m",
    "nothing": b"",
    "large": b"x" * 1_000_000,
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_body_of_any_bytes_is_recorded_as_a_success(post, name) -> None:
    body = BODIES[name]

    async def answer(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 200 OK\r\nX-Odd: \xe9\xff\x1b[31m\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % len(body) + body)
        await writer.drain()

    async with raw_server(answer) as (port, _):
        await post.endpoint("e", f"http://127.0.0.1:{port}/")
        (ident,) = await post.queue("e")
        async with post.working():
            await post.all_are("sent")

    (attempt,) = await post.attempts(ident)
    assert (attempt["outcome"], attempt["status"]) == ("delivered", 200)
    assert bytes(attempt["response_body"]) == body[:16384]
    assert "content-length" in decoded(attempt, "response_headers")


async def test_an_endless_body_is_a_success_and_costs_little(post) -> None:
    async def answer(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            await writer.drain()

    async with raw_server(answer) as (port, _):
        await post.endpoint("e", f"http://127.0.0.1:{port}/")
        (ident,) = await post.queue("e")
        async with post.working():
            await post.all_are("sent")

    assert len((await post.attempts(ident))[0]["response_body"]) == 16384


async def test_nothing_secret_is_kept_or_logged(post, caplog) -> None:
    async with receiving() as receiver:
        await post.endpoint("e", receiver.url())
        (ident,) = await post.queue("e")
        with caplog.at_level("DEBUG"):
            async with post.working():
                await post.all_are("sent")

    sent = receiver.requests[0].headers["webhook-signature"]
    kept = str(await post.attempts(ident)) + str(await post.state(ident)) + caplog.text
    assert sent not in kept
    assert "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" not in kept
