"""The poll endpoint answers message_bus's clients byte for byte, in all three transports."""

from __future__ import annotations

import asyncio

import pytest

from tests.gateway.held import HANDED_OVER, PLAIN, poll, served, wire

NO_CACHE = b"pragma: no-cache\r\nexpires: 0\r\n"
CACHE = b"cache-control: must-revalidate, private, max-age=0\r\n"
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\n"
    + CACHE
    + NO_CACHE
    + b"connection: close\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\nx-content-type-options: nosniff\r\n\r\n"
)
HELD_HEAD = (
    b"HTTP/1.1 200 OK\r\n"
    + CACHE
    + NO_CACHE
    + b"connection: close\r\ncontent-type: application/json; charset=utf-8\r\n"
    b"content-length: %d\r\n\r\n"
)
FORM = "%2Flp={}"


def message(number: int, data: str, channel: str = "/lp") -> bytes:
    return (
        f'{{"global_id":{number},"message_id":{number},"channel":"{channel}","data":{data}}}'
    ).encode()


def status(**last: int) -> bytes:
    inner = ",".join(f'"/{name}":{number}' for name, number in last.items())
    return (f'{{"global_id":-1,"message_id":-1,"channel":"/__status","data":{{{inner}}}}}').encode()


def chunk(*elements: bytes) -> bytes:
    part = b"[" + b",".join(elements) + b"]\r\n|\r\n"
    return b"%x\r\n%b\r\n" % (len(part), part)


END = chunk() + b"0\r\n\r\n"


@pytest.fixture(params=[HANDED_OVER, PLAIN], ids=["handed-over", "asgi"])
def http(request):
    return request.param


async def publish(held, count, channel="/lp"):
    for number in range(1, count + 1):
        await held.line.bus.publish(channel, f"m{number}")


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


async def test_a_stream_is_written_to_the_byte_when_handed_over():
    async with served() as held:
        held.gateway.options.long_polling_interval = 0.6
        await publish(held, 6)
        async with wire(held.port, poll("c", FORM.format(-1))) as client:
            begin = STREAM_HEAD + chunk(status(lp=6))
            assert await client.until(chunk(status(lp=6))) == begin
            await held.line.bus.publish("/lp", "m1\r\n|\r\nx")
            first = chunk(message(7, '"m1\\r\\n|\\r\\nx"'))
            assert await client.until(b'x"}]\r\n|\r\n\r\n') == first
            await held.line.bus.publish("/lp", "m2")
            assert await client.rest() == chunk(message(8, '"m2"')) + END


async def test_a_stream_has_the_same_blocks_over_asgi():
    async with served(http=PLAIN) as held:
        held.gateway.options.long_polling_interval = 0.5
        await publish(held, 2)
        async with wire(held.port, poll("c", FORM.format(0))) as client:
            first = chunk(message(1, '"m1"'), message(2, '"m2"'))
            head = await client.until(first)
            assert b"content-type: text/plain; charset=utf-8\r\n" in head
            assert b"connection: close\r\n" in head
            assert b"x-content-type-options: nosniff\r\n" in head
            await held.line.bus.publish("/lp", "m3")
            assert await client.rest() == chunk(message(3, '"m3"')) + END


async def test_an_up_to_date_stream_begins_with_an_empty_block():
    async with served() as held:
        await publish(held, 1)
        async with wire(held.port, poll("c", FORM.format(1))) as client:
            assert await client.until(chunk()) == STREAM_HEAD + chunk()


async def test_a_held_poll_is_answered_to_the_byte_when_handed_over():
    async with served() as held:
        await publish(held, 9)
        async with wire(held.port, poll("c", FORM.format(9), "Dont-Chunk: true")) as client:
            while not held.gateway.board.connections:
                await asyncio.sleep(0.01)
            await held.line.bus.publish("/lp", "ten")
            body = b"[" + message(10, '"ten"') + b"]"
            assert await client.rest() == HELD_HEAD % len(body) + body


async def test_a_held_poll_ends_with_an_empty_array(http):
    async with served(http=http) as held:
        held.gateway.options.long_polling_interval = 0.01
        async with wire(held.port, poll("c", FORM.format(0), "Dont-Chunk: 1")) as client:
            answer = await client.rest()
            assert b"connection: close\r\n" in answer
            assert body_of(answer) == b"[]"


async def test_a_held_poll_is_answered_by_the_first_message(http):
    async with (
        served(http=http) as held,
        wire(held.port, poll("c", FORM.format(""), "Dont-Chunk: 1")) as client,
    ):
        while not held.gateway.board.connections:
            await asyncio.sleep(0.01)
        await held.line.bus.publish("/lp", "שלום")
        answer = await client.rest()
        assert body_of(answer) == b"[" + message(1, '"שלום"') + b"]"


async def test_a_plain_poll_is_answered_at_once_and_keeps_the_connection(http):
    async with served(http=http) as held:
        await publish(held, 2)
        request = poll("c", FORM.format(0), query="?dlp=t")
        async with wire(held.port, request) as client:
            body = b"[" + message(1, '"m1"') + b"," + message(2, '"m2"') + b"]"
            head = await client.until(body)
            assert b"connection: close" not in head
            assert b"content-type: application/json; charset=utf-8\r\n" in head
            client.writer.write(poll("c", FORM.format(2), query="?dlp=t"))
            assert body_of(await client.until(b"[]")) == b"[]"


async def test_the_header_order_of_a_plain_answer_is_message_buss():
    async with served() as held:
        request = poll("c", FORM.format(0), query="?dlp=t")
        async with wire(held.port, request) as client:
            head = await client.until(b"[]")
            ours = CACHE + b"content-type: application/json; charset=utf-8\r\n" + NO_CACHE
            assert ours + b"content-length: 2\r\n\r\n[]" in head


@pytest.mark.parametrize(
    ("position", "elements"),
    [
        ("0", [message(1, '"m1"'), message(2, '"m2"'), message(3, '"m3"')]),
        ("2", [message(3, '"m3"')]),
        ("3", []),
        ("9", [status(lp=3)]),
        ("-1", [status(lp=3)]),
        ("-2", [message(3, '"m3"')]),
        ("-3", [message(2, '"m2"'), message(3, '"m3"')]),
        ("", []),
    ],
)
async def test_positions_mean_what_message_bus_means(position, elements):
    async with served() as held:
        await publish(held, 3)
        async with wire(held.port, poll("c", FORM.format(position), query="?dlp=t")) as client:
            answer = await client.until(b"]")
            assert body_of(answer) == b"[" + b",".join(elements) + b"]"


async def test_json_bodies_are_read(http):
    async with served(http=http) as held:
        await publish(held, 2)
        body = '{"/lp":1,"__seq":3}'
        request = (
            "POST /message-bus/c/poll?dlp=t HTTP/1.1\r\nhost: t\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}"
        ).encode()
        async with wire(held.port, request) as client:
            assert body_of(await client.until(b"]")) == b"[" + message(2, '"m2"') + b"]"


async def test_a_withheld_message_becomes_a_status():
    async with served() as held:
        await held.line.bus.publish("/lp", "for x", client_ids=["x"])
        for client_id, elements in (("x", message(1, '"for x"')), ("y", status(lp=1))):
            request = poll(client_id, FORM.format(0), query="?dlp=t")
            async with wire(held.port, request) as client:
                assert body_of(await client.until(b"]")) == b"[" + elements + b"]"


async def test_a_newer_request_ends_the_older_one_and_not_the_other_way_round(http):
    async with served(http=http) as held, wire(held.port, poll("c", "%2Flp=&__seq=5")) as first:
        await first.until(chunk())
        async with wire(held.port, poll("c", "%2Flp=&__seq=3")) as late:
            assert (await late.rest()).endswith(chunk() + END)
        async with wire(held.port, poll("c", "%2Flp=&__seq=6")) as newer:
            await newer.until(chunk())
            assert await first.rest() == END
            await held.line.bus.publish("/lp", "m")
            assert chunk(message(1, '"m"')) in await newer.until(b'm"}]\r\n|\r\n\r\n')


async def test_over_the_cap_polls_are_answered_at_once():
    async with served() as held:
        held.gateway.options.max_active_clients = 1
        async with wire(held.port, poll("a", FORM.format(0))) as first:
            await first.until(chunk())
            async with wire(held.port, poll("b", FORM.format(0))) as second:
                answer = await second.until(b"[]")
                assert b"content-type: application/json" in answer
        while held.gateway.board.connections:
            await asyncio.sleep(0.01)
        async with wire(held.port, poll("b", FORM.format(0))) as third:
            assert (await third.until(chunk())).startswith(STREAM_HEAD)


async def test_http_1_0_never_streams():
    async with served() as held:
        held.gateway.options.long_polling_interval = 0.05
        async with wire(held.port, poll("c", FORM.format(0), version="1.0")) as client:
            answer = await client.rest()
            assert b"transfer-encoding" not in answer
            assert body_of(answer) == b"[]"


async def test_a_missing_client_id_is_not_found():
    async with (
        served() as held,
        wire(held.port, b"POST /message-bus/ HTTP/1.1\r\nhost: t\r\n\r\n") as client,
    ):
        answer = await client.until(b"not found")
        assert answer.startswith(b"HTTP/1.1 404")


async def test_options_is_answered_without_hooks():
    async def identify(_):
        raise AssertionError

    async with served(identify=identify, open=True) as held:
        request = b"OPTIONS /message-bus/c/poll HTTP/1.1\r\nhost: t\r\n\r\n"
        async with wire(held.port, request) as client:
            answer = await client.until(b"OK", within=2)
            answer += await client.until(b"\r\n\r\nOK")
            assert b"content-type: application/json; charset=utf-8\r\n" in answer


async def test_extra_headers_stand_before_connection():
    async with (
        served(extra_headers=lambda _: {"X-One": "1"}) as held,
        wire(held.port, poll("c", FORM.format(0))) as client,
    ):
        answer = await client.until(chunk())
        assert NO_CACHE + b"x-one: 1\r\nconnection: close\r\n" in answer


async def test_middleware_may_replace_the_channels():
    def override(gateway):
        async def app(scope, receive, send):
            scope.setdefault("state", {})["message_bus.channels"] = {"/other": 0}
            await gateway(scope, receive, send)

        return app

    async with served(app=override) as held:
        await publish(held, 1)
        await held.line.bus.publish("/other", 1)
        async with wire(held.port, poll("c", FORM.format(0), query="?dlp=t")) as client:
            body = body_of(await client.until(b"]"))
            assert b'"/other"' in body
            assert b'"/lp"' not in body


async def test_gaps_are_told_only_to_those_who_ask():
    async with served() as held:
        await publish(held, 5)
        await held.line.bus.trim("/lp", 3)
        request = poll("c", FORM.format(1), query="?dlp=t")
        async with wire(held.port, request) as client:
            assert b"__gap" not in await client.until(b"]")
        request = poll("c", FORM.format(1), "X-Trunkline-Gaps: true", query="?dlp=t")
        async with wire(held.port, request) as client:
            gap = b'{"global_id":-1,"message_id":-1,"channel":"/__gap","data":'
            gap += b'{"/lp":{"reason":"trimmed","floor":3}}}'
            assert body_of(await client.until(b"}]")).startswith(b"[" + gap)


async def test_a_held_stream_shows_signs_of_life(http):
    async with served(http=http) as held:
        held.gateway.options.heartbeat_interval = 0.05
        async with wire(held.port, poll("c", FORM.format(0))) as client:
            await client.until(chunk())
            assert await client.until(chunk()) == chunk()


async def test_a_long_backlog_continues_as_blocks_without_loss(http):
    async with served(http=http) as held:
        for number in range(60):
            await held.line.bus.publish("/lp", f"{number}" + "x" * 40_000)
            await held.line.bus.publish("/other", number)
        async with wire(held.port, poll("c", "%2Flp=0&%2Fother=0")) as client:
            seen = await client.until(b'"message_id":60,"channel":"/lp"')
            if b'"message_id":60,"channel":"/other"' not in seen:
                seen += await client.until(b'"message_id":60,"channel":"/other"')
            for channel in (b"/lp", b"/other"):
                places = [
                    seen.index(b'"message_id":%d,"channel":"%b"' % (n, channel))
                    for n in range(1, 61)
                ]
                assert places == sorted(places)
                assert seen.count(b'"channel":"%b"' % channel) == 60
