"""The NATS engine in trouble, on one server: killed, cut off, its answers lost, its stream gone."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import sys

import nats
import pytest

from tests.log.nats_line import KEEP_ALL, Ledger, draft, opened
from trunkline.errors import KeyReusedError, LineClosedError, LogUnavailableError
from trunkline.log.nats.courier import Answer
from trunkline.log.nats.jetstream import WRONG_LAST
from trunkline.log.retention import Retention
from trunkline.model.channel import ChannelKey
from trunkline.model.message import Limits
from trunkline.testing.clock import ManualClock
from trunkline.testing.contracts.support import (
    append,
    drafts,
    eventually,
    message_ids,
    plain,
    values,
    whole_channel,
    whole_line,
)
from trunkline.testing.faults import FaultProxy, freeze, thaw
from trunkline.testing.nats_server import NatsServer

A = ChannelKey("/a")


@pytest.fixture
async def server():
    async with NatsServer() as server:
        yield server


@pytest.fixture
async def proxy(server):
    async with FaultProxy(server.port) as proxy:
        yield proxy


def through(proxy):
    return f"nats://127.0.0.1:{proxy.port}"


async def test_killed_server_keeps_what_was_acknowledged(server):
    """Over three kill -9 and restarts publishers wait, and nothing is lost, doubled or torn."""
    ledger = Ledger()
    async with opened(server.url) as log, opened(server.url) as other:
        async with asyncio.TaskGroup() as group:
            for who in range(12):
                group.create_task(ledger.publish((log, other)[who % 2], who, pairs=who % 3 == 0))
            for _ in range(3):
                count = len(ledger.told)
                await eventually(lambda count=count: len(ledger.told) > count + 300)
                await server.kill9()
                await server.restart()
            count = len(ledger.told)
            await eventually(lambda: len(ledger.told) > count + 300)
            ledger.stop.set()
        assert ledger.failed == []
        ledger.check(await whole_line(log))


async def test_publishes_wait_for_a_server_and_then_fail_loudly(server):
    """Without a server a publish waits for its time-out, raises, and nothing of it is stored."""
    clock = ManualClock()
    async with opened(server.url, clock=clock, timeout=5) as log:
        await append(log, [plain("/a", 1)])
        await server.kill9()
        waiting = asyncio.create_task(append(log, [plain("/a", 2)]))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        clock.advance(6.0)
        with pytest.raises(LogUnavailableError, match="5 seconds"):
            await waiting
        await server.restart()
        await append(log, [plain("/a", 3)])
        stored = values(await whole_channel(log, "/a"))
        assert stored[0] == 1
        assert stored[-1] == 3


async def test_cut_connections_cost_nothing(server, proxy):
    """While connections are reset again and again, every publish is stored once."""
    ledger = Ledger()
    async with opened(through(proxy)) as log:
        async with asyncio.TaskGroup() as group:
            for who in range(16):
                group.create_task(ledger.publish(log, who, pairs=who % 4 == 0))
            for _ in range(8):
                count = len(ledger.told)
                await eventually(lambda count=count: len(ledger.told) > count + 100)
                proxy.cut()
            ledger.stop.set()
        assert ledger.failed == []
        ledger.check(await whole_line(log))


@pytest.mark.parametrize("is_rivalled", [False, True], ids=["alone", "with a rival"])
async def test_swallowed_acknowledgements_are_settled(server, proxy, is_rivalled):
    """What was stored and never acknowledged is found to be stored; a rival changes nothing."""
    ledger = Ledger()
    async with opened(through(proxy)) as log, opened(server.url) as rival:
        async with asyncio.TaskGroup() as group:
            for who in range(6):
                group.create_task(ledger.publish(log, who, channels=2, pairs=who % 3 == 0))
            if is_rivalled:
                group.create_task(ledger.publish(rival, 100, channels=2))
            for _ in range(5):
                count = len(ledger.told)
                await eventually(lambda count=count: len(ledger.told) > count + 60)
                proxy.freeze(requests=False)
                await eventually(lambda: proxy.held > 0)
                proxy.cut()
                proxy.heal()
            ledger.stop.set()
        assert ledger.failed == []
        ledger.check(await whole_line(rival))


async def test_swallowed_request_is_sent_again(server, proxy):
    """A publish that never reached the server is stored after all, once."""
    async with opened(through(proxy)) as log:
        await append(log, [plain("/a", 1)])
        proxy.freeze(answers=False)
        waiting = asyncio.create_task(append(log, [plain("/a", 2)]))
        await eventually(lambda: proxy.held > 0)
        proxy.cut()
        proxy.heal()
        (receipt,) = await waiting
        assert receipt.message_id == 2
        assert values(await whole_channel(log, "/a")) == [1, 2]


@pytest.mark.parametrize("code", [WRONG_LAST, 10008], ids=["conflict", "not now"])
@pytest.mark.parametrize("count", [1, 30])
async def test_refusal_by_a_leader_of_yesterday_doubles_nothing(server, count, code):
    """One server refuses what its successor has stored: it is looked for before it is repeated."""
    async with opened(server.url) as log:
        await append(log, [plain("/a", 0)])
        parts = log._parts
        parts.line.is_replicated = parts.line.is_batching = True
        ask, refused = parts.courier.ask, []

        def ask_two(subject, header, payload, hear, *, within):
            def hear_refusal(answer):
                stored = json.loads(answer.data)
                if refused or "error" in stored:
                    hear(answer)
                    return
                refused.append(stored["seq"])
                error = {"code": 503 if code == 10008 else 400, "err_code": code}
                hear(Answer(b"", json.dumps({"error": error}).encode()))

            ask(subject, header, payload, hear_refusal, within=within)

        parts.courier.ask = ask_two
        numbers = range(1, count + 1)
        await asyncio.gather(*(append(log, [plain("/a", number)]) for number in numbers))
        assert refused == [count + 1]
        assert values(await whole_channel(log, "/a")) == [0, *numbers]


async def test_a_reset_that_a_leader_of_yesterday_refuses_is_made(server):
    """The record of a new epoch is stored and refused: its stream is kept, and nothing is lost."""
    async with opened(server.url) as log:
        (before,) = await append(log, [plain("/a", 1)])
        parts = log._parts
        parts.line.is_replicated = True
        call, refused = parts.courier.call, []

        async def call_two(subject, payload, *, within, header=b""):
            answer = await call(subject, payload, within=within, header=header)
            if header and not refused:
                refused.append(json.loads(answer.data)["seq"])
                return Answer(b"", json.dumps({"error": {"err_code": WRONG_LAST}}).encode())
            return answer

        parts.courier.call = call_two
        epoch = await log.reset()
        assert refused
        (after,) = await append(log, [plain("/a", 2)])
        assert after.epoch == epoch != before.epoch
        assert after.global_id == 1
        assert values(await whole_line(log)) == [2]


async def test_repeated_key_survives_a_restart_and_a_purge(server):
    """A key is known after its message was trimmed, swept twice and the server restarted."""
    clock = ManualClock()
    async with opened(server.url, clock=clock, timeout=5) as log:
        (first,) = await append(log, [plain("/a", 1, key="k")])
        await append(log, *drafts("/a", 300))
        await log.trim(A, 301)
        for _ in range(3):
            clock.advance(60.0)
            await log.sweep()
        await server.kill9()
        await server.restart()
        (again,) = await append(log, [plain("/a", 1, key="k")])
        assert (again.is_repeat, again.message_id) == (True, first.message_id)
        (outcome,) = await log.append([[plain("/a", 2, key="k")]])
        assert isinstance(outcome, KeyReusedError)


async def test_ids_go_on_after_a_purge(server):
    """What is purged is gone from the stream but for the last message, and ids go on."""
    clock = ManualClock()
    retention = Retention(Limits(max_backlog_size=10))
    async with opened(server.url, clock=clock, timeout=5, retention=retention) as log:
        await append(log, *drafts("/a", 500), *drafts("/b", 500))
        await log.trim(A, 999)
        for _ in range(3):
            clock.advance(60.0)
            await log.sweep()
        client = await nats.connect(server.url)
        (info,) = [
            one
            for one in await client.jetstream().streams_info()
            if not one.config.name.endswith("_marks")
        ]
        await client.close()
        assert info.state.messages == 11, "ten of /b, and the last of /a"
        async with opened(server.url, timeout=5, retention=retention) as fresh:
            page = await fresh.read_all(0)
            assert (page.floor, page.head, len(page.records)) == (990, 1000, 10)
            (receipt,) = await append(fresh, [plain("/a", "on")])
            assert (receipt.message_id, receipt.global_id) == (501, 1001)
            assert message_ids(await whole_channel(fresh, "/b")) == list(range(491, 501))
            assert (await fresh.read(A, 0)).floor == 500


async def test_two_processes_on_one_channel_stay_dense(server):
    """Two processes with many publishers each on one channel: no hole, none lost, none doubled."""
    line = secrets.token_hex(4)
    command = [sys.executable, "-m", "tests.log.nats_line", server.url, line]
    workers = [
        await asyncio.create_subprocess_exec(
            *command, who, "30", "20", stdout=asyncio.subprocess.PIPE
        )
        for who in ("one", "other")
    ]
    told = {}
    for worker in workers:
        output, _ = await worker.communicate()
        assert worker.returncode == 0
        told.update(json.loads(text) for text in output.splitlines())
    async with opened(server.url, line=line) as log:
        records = await whole_line(log)
    assert len(records) == len(told) == 1200
    assert message_ids(records) == list(range(1, 1201))
    assert dict(zip(range(1, 1201), values(records), strict=True)) == told


async def test_reset_under_publishers_starts_anew(server):
    """Publishers of another handle go on in the new epoch, with dense ids from 1."""
    ledger = Ledger()
    async with opened(server.url) as log, opened(server.url) as other:
        async with asyncio.TaskGroup() as group:
            for who in range(8):
                group.create_task(ledger.publish(other, who))
            await eventually(lambda: len(ledger.told) > 100)
            epoch = await log.reset()
            await asyncio.sleep(0.3)
            ledger.stop.set()
        page = await other.read_all(0)
        assert page.epoch == epoch
        assert page.records
        assert [one.global_id for one in page.records] == list(range(1, len(page.records) + 1))


async def test_stream_that_is_gone_is_told_by_a_new_epoch(server):
    """Somebody deletes the stream: the line goes on empty, under another epoch."""
    async with opened(server.url) as log:
        await append(log, *drafts("/a", 5))
        before = await log.read_all(0)
        client = await nats.connect(server.url)
        context = client.jetstream()
        for info in await context.streams_info():
            if not info.config.name.endswith("_marks"):
                await context.delete_stream(info.config.name)
        await client.close()
        page = await log.read_all(0)
        assert page.epoch != before.epoch
        assert (list(page.records), page.head) == ([], 0)
        (receipt,) = await append(log, [plain("/a", "anew")])
        assert (receipt.message_id, receipt.global_id) == (1, 1)


async def test_restored_backup_is_told_by_a_new_epoch(server, tmp_path):
    """A stream that lost acknowledged messages gets another epoch before anything is served."""
    async with opened(server.url) as log, opened(server.url) as other:
        await append(log, *drafts("/a", 5))
        freeze(server.pid)
        shutil.copytree(server.folder, tmp_path / "backup")
        thaw(server.pid)
        await append(log, *drafts("/a", 5))
        before = await other.read_all(0)
        assert before.head == 10
        await server.kill9()
        shutil.rmtree(server.folder)
        shutil.copytree(tmp_path / "backup", server.folder)
        await server.restart()
        (receipt,) = await append(log, [plain("/a", "anew")])
        assert (receipt.message_id, receipt.global_id) == (6, 6)
        page = await other.read_all(0)
        assert page.epoch == receipt.epoch != before.epoch
        assert values(page.records) == [1, 2, 3, 4, 5, "anew"]


async def test_close_answers_and_refuses(server):
    """Closing answers what was accepted; afterwards every call says that the log is closed."""
    async with opened(server.url, retention=Retention(KEEP_ALL)) as log:
        tasks = [asyncio.create_task(log.append([[draft("/a", n)]])) for n in range(50)]
        await asyncio.sleep(0)
        await log.close()
        assert len(await asyncio.gather(*tasks)) == 50
        with pytest.raises(LineClosedError):
            await log.append([[draft("/a", 1)]])
