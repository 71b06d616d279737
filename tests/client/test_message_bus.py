"""The Ruby client's calls: items 89 to 96 of the conformance list, and the defects it had."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from tests.client.scripted import Dialogue, Naps, polled, scripted, status, until
from trunkline.client import MessageBusClient, Status
from trunkline.errors import ConfigError, GrammarError
from trunkline.wire.chunks import SEPARATOR, block

STREAM = "text/plain; charset=utf-8"


def client(url: str, **settings: Any) -> tuple[MessageBusClient, Naps]:
    naps = Naps()
    options = {"sleep": naps, "clock": naps.clock, "client_id": "me"}
    return MessageBusClient(url, options=options, **settings), naps


async def hold(server: Dialogue) -> None:
    await server.wait_for_close()


async def stream_two_channels(server: Dialogue) -> None:
    await server.start_stream(STREAM)
    await server.blocks([], [polled(1, "/a", "x")], [polled(2, "/b", {"y": "ö"})])
    await server.wait_for_close()


class Calls:
    """Remember what a callback was called with."""

    def __init__(self) -> None:
        self.got: list[tuple[Any, int, int]] = []

    def __call__(self, data: Any, message_id: int, global_id: int) -> None:
        self.got.append((data, message_id, global_id))

    async def count(self, number: int) -> list[Any]:
        await until(lambda: len(self.got) >= number)
        return [data for data, _, _ in self.got]


async def test_start_and_stop_with_one_task_and_an_idempotent_start() -> None:
    async with scripted(hold) as server:
        bus, _ = client(server.url)
        before = len(asyncio.all_tasks())
        assert bus.status is Status.STOPPED
        bus.start()
        bus.start()
        assert bus.status == 1
        assert len(asyncio.all_tasks()) == before + 1
        bus.stop()
        bus.stop()
        assert bus.status == 0
        await bus.aclose()
        bus.start()
        assert bus.status is Status.STARTED
        await bus.aclose()


async def test_connection_errors_are_reported_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with scripted() as gone:
        url = gone.url
    bus, naps = client(url)
    async with bus:
        bus.subscribe("/a", Calls())
        await until(lambda: bus.stats.failed >= 6)
    assert bus.stats.success == 0
    assert naps.taken[:2] == [0.1, 0.1]
    for count, pause in zip((3, 4, 5), naps.taken[2:5], strict=True):
        assert 0.75 * 0.1 * 2**count <= pause <= 1.25 * 0.1 * 2**count
    assert "failed" in caplog.text


async def test_the_pause_after_failures_has_a_ceiling() -> None:
    async def fail(server: Dialogue) -> None:
        await server.answer(500)

    async with scripted(fail) as server:
        bus, naps = client(server.url, max_poll_interval=2.0)
        async with bus:
            bus.subscribe("/a", Calls())
            await until(lambda: len(naps.taken) >= 12)
    assert max(naps.taken) == 2.0


async def test_two_channels_receive_messages_and_nothing_failed() -> None:
    async with scripted(stream_two_channels) as server:
        bus, _ = client(server.url)
        async with bus:
            one, two = Calls(), Calls()
            bus.subscribe("/a", one, last_message_id=0)
            bus.subscribe("/b", two, last_message_id=0)
            await one.count(1)
            await two.count(1)
            assert bus.channels["/b"].last_message_id == 2
    assert (one.got, two.got) == ([("x", 1, 1)], [({"y": "ö"}, 2, 2)])
    assert bus.stats.failed == 0
    assert server.seen[0].json == {"/a": 0, "/b": 0, "__seq": 1}


async def test_an_extra_header_decides_about_chunks_too() -> None:
    async def script(server: Dialogue) -> None:
        if len(served.seen) > 1:
            await server.wait_for_close()
        assert server.headers["dont-chunk"] == "true"
        assert server.headers["x-mine"] == "1"
        await server.answer_json([polled(1)])

    async with scripted(script) as served:
        bus, _ = client(served.url, headers={"Dont-Chunk": "true", "X-Mine": "1"})
        async with bus:
            calls = Calls()
            bus.subscribe("/a", calls, 0)
            assert await calls.count(1) == [1]
    assert bus.stats.failed == 0


async def test_chunking_disabled() -> None:
    async def script(server: Dialogue) -> None:
        assert server.headers["dont-chunk"] == "true"
        assert "?" not in server.target
        await server.answer_json([polled(len(served.seen))])

    async with scripted(script) as served:
        bus, naps = client(served.url, enable_chunked_encoding=False)
        async with bus:
            calls = Calls()
            bus.subscribe("/a", calls, 0)
            assert (await calls.count(3))[:3] == [1, 2, 3]
    assert set(naps.taken) == {0.1}
    assert bus.stats.success >= 2


async def test_long_polling_disabled_says_so_and_rests_for_its_interval() -> None:
    async def script(server: Dialogue) -> None:
        await server.answer_json([polled(len(served.seen))])

    async with scripted(script) as served:
        bus, naps = client(served.url, enable_long_polling=False, background_callback_interval=0.01)
        async with bus:
            calls = Calls()
            bus.subscribe("/a", calls, 0)
            assert (await calls.count(3))[:3] == [1, 2, 3]
    assert set(naps.taken) == {0.01}
    assert served.seen[0].target.endswith("/poll?dlp=t")
    assert served.seen[0].headers["dont-chunk"] == "true"


@pytest.mark.parametrize("channel", ["test", 1, None, "", "/\x00"])
async def test_invalid_channels_raise(channel: Any) -> None:
    bus, _ = client("http://127.0.0.1:1")
    with pytest.raises(GrammarError):
        bus.subscribe(channel, Calls())
    assert bus.status is Status.STOPPED


async def test_a_missing_callback_raises() -> None:
    bus, _ = client("http://127.0.0.1:1")
    with pytest.raises(GrammarError):
        bus.subscribe("/a", None)  # type: ignore[arg-type]


async def test_last_message_ids() -> None:
    async with scripted(hold) as server:
        bus, _ = client(server.url)
        async with bus:
            for name, given, kept in [
                ("/a", None, -1), ("/b", "x", -1), ("/c", 2.5, -1), ("/d", True, -1),
                ("/e", -2, -2), ("/f", 7, 7), ("/f", None, 7), ("/f", 3, 3),
            ]:  # fmt: skip
                bus.subscribe(name, Calls(), given)
                assert bus.channels[name].last_message_id == kept


async def test_unsubscribe_removes_the_channel_or_one_callback() -> None:
    async with scripted(hold) as server:
        bus, _ = client(server.url)
        async with bus:
            one, two = Calls(), Calls()
            for name in ("/a", "/b"):
                bus.subscribe(name, one)
                bus.subscribe(name, two)
            assert bus.unsubscribe("/a", one)
            assert bus.channels["/a"].callbacks == [two]
            assert not bus.unsubscribe("/a", one)
            assert bus.unsubscribe("/a", two)
            assert set(bus.channels) == {"/b"}
            assert bus.status is Status.STARTED
            assert bus.unsubscribe("/b")
            assert not bus.unsubscribe("/b")
            assert bus.channels == {}
            assert bus.status is Status.STOPPED


async def test_several_blocks_in_one_read_and_blocks_in_many_reads() -> None:
    async def script(server: Dialogue) -> None:
        await server.start_stream(STREAM)
        arrays = [msgspec.json.encode([polled(number)]) for number in range(1, 6)]
        await server.stream(b"".join(map(block, arrays[:3])))
        for byte in b"".join(map(block, arrays[3:])):
            await server.stream(bytes([byte]))
        await server.wait_for_close()

    async with scripted(script) as server:
        bus, _ = client(server.url)
        async with bus:
            calls = Calls()
            bus.subscribe("/a", calls, 0)
            assert await calls.count(5) == [1, 2, 3, 4, 5]


async def test_an_escaped_separator_is_restored() -> None:
    inner = SEPARATOR.decode()
    array = b'[{"global_id":1,"message_id":1,"channel":"/a",' + b'"data":"x"}' + SEPARATOR + b"]"

    async def script(server: Dialogue) -> None:
        await server.start_stream(STREAM)
        await server.stream(block(array))
        await server.blocks([polled(2, data=inner)])
        await server.wait_for_close()

    async with scripted(script, script, hold) as server:
        bus, _ = client(server.url)
        async with bus:
            calls = Calls()
            bus.subscribe("/a", calls, 0)
            # Restored, the first block has a bar outside of a string: no JSON, and a failure.
            await until(lambda: bus.stats.failed == 2)
            assert calls.got == []


async def test_a_plain_answer_to_a_streaming_request_and_a_body_in_pieces() -> None:
    async def script(server: Dialogue) -> None:
        body = msgspec.json.encode([polled(1), polled(2)])
        await server.start_stream("application/json; charset=utf-8")
        await server.stream(body[:20])
        await server.stream(body[20:])
        await server.end_stream()

    async with scripted(script, hold) as server:
        bus, _ = client(server.url)
        async with bus:
            calls = Calls()
            bus.subscribe("/a", calls, 0)
            assert await calls.count(2) == [1, 2]
            await until(lambda: len(server.seen) == 2)
    assert bus.stats.success == 1
    assert server.seen[1].json == {"/a": 2, "__seq": 2}


@pytest.mark.parametrize("code", [302, 400, 401, 404, 500, 503])
async def test_a_status_that_is_no_success_is_a_failure(code: int) -> None:
    async def fail(server: Dialogue) -> None:
        await server.answer(code, b"[]", "application/json")

    async with scripted(fail, hold) as server:
        bus, _ = client(server.url)
        async with bus:
            bus.subscribe("/a", Calls())
            await until(lambda: bus.stats.failed == 1)
    assert bus.stats.success == 0


async def test_429_is_waited_for_as_long_as_it_says() -> None:
    async def limited(server: Dialogue) -> None:
        await server.answer(429, retry_after="23")

    async with scripted(limited, hold) as server:
        bus, naps = client(server.url)
        async with bus:
            bus.subscribe("/a", Calls())
            await until(lambda: len(server.seen) == 2)
    assert naps.taken == [23.0]


async def test_the_base_path_is_kept() -> None:
    async with scripted(hold) as server:
        bus, _ = client(server.url + "/forum/")
        async with bus:
            bus.subscribe("/a", Calls())
            await until(lambda: server.seen)
    assert server.seen[0].path == "/forum/message-bus/me/poll"


async def test_a_status_message_moves_positions_and_calls_nobody() -> None:
    async def first(server: Dialogue) -> None:
        await server.answer_json([status(a=41)])

    async with scripted(first, hold) as server:
        bus, _ = client(server.url)
        async with bus:
            calls = Calls()
            bus.subscribe("/a", calls)
            await until(lambda: len(server.seen) == 2)
    assert server.seen[1].json == {"/a": 41, "__seq": 2}
    assert calls.got == []


async def test_a_failing_callback_harms_nobody_and_a_coroutine_is_awaited(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls = Calls()

    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    async def waiting(*told: Any) -> None:
        await asyncio.sleep(0)
        calls(*told)

    async with scripted(stream_two_channels) as server:
        bus, _ = client(server.url)
        async with bus:
            bus.subscribe("/a", broken, 0)
            bus.subscribe("/a", waiting)
            assert await calls.count(1) == ["x"]
    assert "ZeroDivisionError" in caplog.text
    assert bus.stats.failed == 0


async def test_subscriptions_change_from_within_a_callback() -> None:
    async with scripted(stream_two_channels, stream_two_channels, hold) as server:
        bus, _ = client(server.url)
        calls = Calls()

        def first(*_: Any) -> None:
            bus.unsubscribe("/a")
            bus.subscribe("/b", calls, 0)

        async with bus:
            bus.subscribe("/a", first, 0)
            assert await calls.count(1) == [{"y": "ö"}]
            # What the callback heard came with the first answer; the next request asks for it.
            await until(lambda: "/b" in server.seen[-1].json)
    assert server.seen[-1].json["/b"] in {0, 2}


async def test_stopping_from_within_a_callback_lets_it_finish() -> None:
    finished = asyncio.Event()

    async with scripted(stream_two_channels) as server:
        bus, _ = client(server.url)

        async def last(*_: Any) -> None:
            bus.stop()
            await asyncio.sleep(0.01)
            finished.set()

        async with bus:
            bus.subscribe("/a", last, 0)
            await until(finished.is_set)
    assert bus.status is Status.STOPPED


async def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError):
        client("http://127.0.0.1:1", min_poll_interval=0)
    with pytest.raises(ConfigError):
        client("ftp://127.0.0.1")
    with pytest.raises(TypeError):
        client("http://127.0.0.1:1", enable_everything=True)
