"""The PostgreSQL engine in trouble: killed servers, lost answers, frozen clients."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal

import asyncpg
import msgspec
import pytest

from tests.log.acknowledged import check_line
from tests.log.postgres import log_at, opened, postgres_url, schema  # noqa: F401 - fixtures
from trunkline.errors import LineClosedError, LogUnavailableError
from trunkline.log.postgres import statements as sql
from trunkline.model import codec
from trunkline.model.channel import ChannelKey
from trunkline.testing.contracts.support import append, eventually, plain, values, whole_line
from trunkline.testing.faults import FaultProxy
from trunkline.testing.postgres_server import PostgresServer

A = ChannelKey("/a")


@contextlib.asynccontextmanager
async def looking(url):
    """A connection beside the engine."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


def through(proxy, url):
    """Return the URL that leads through a proxy."""
    host, _, rest = url.rpartition("@")[2].partition("/")
    return url.replace(f"@{host}/{rest}", f"@127.0.0.1:{proxy.port}/{rest}")


def port_of(url):
    return int(url.rpartition("@")[2].partition("/")[0].rpartition(":")[2])


async def publish(log, who, acknowledged, stop):
    """Publish pairs until told to stop; keep what was acknowledged, by global id."""
    for number in itertools.count():
        if stop.is_set():
            return
        pair = [plain(f"/c/{who % 3}", [who, number, part]) for part in (0, 1)]
        for part, receipt in enumerate(await append(log, pair)):
            acknowledged[receipt.global_id] = [who, number, part]


def check_pairs(records, acknowledged):
    """As for any line, and of no pair there is but a half."""
    found = list(check_line(records, acknowledged).values())
    for first, second in zip(found[::2], found[1::2], strict=True):
        assert (first[:2], first[2], second[2]) == (second[:2], 0, 1), "half a group"


async def trouble(log, cause, *, rounds, between):
    """Publish from several tasks while something is done again and again; return the record."""
    acknowledged: dict[int, list[int]] = {}
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for who in range(8):
            group.create_task(publish(log, who, acknowledged, stop))
        for _ in range(rounds):
            count = len(acknowledged)
            await eventually(lambda count=count: len(acknowledged) >= count + between)
            await cause()
        count = len(acknowledged)
        await eventually(lambda: len(acknowledged) >= count + between)
        stop.set()
    return acknowledged


@pytest.mark.slow
@pytest.mark.parametrize("pooler", ["session", "transaction"])
async def test_server_that_dies_loses_and_doubles_nothing(pooler):
    """Killed with -9 and stopped without a checkpoint, mid-commit: acknowledged is stored, once."""
    with PostgresServer() as server:
        ways = itertools.cycle([server.kill9, lambda: server.stop(signal.SIGQUIT)])

        async def die():
            await asyncio.to_thread(next(ways))
            await asyncio.to_thread(server.start)

        async with opened(server.url, "line", pooler=pooler) as open_log:
            log = await open_log()
            seen: list[int] = []
            woken = asyncio.Event()
            log.watch(woken.set)
            acknowledged = await trouble(log, die, rounds=4, between=60)
            check_pairs(await whole_line(log), acknowledged)
            woken.clear()
            await append(log, [plain("/a", "after")])
            async with asyncio.timeout(10):
                await woken.wait()
            assert not seen


@pytest.mark.slow
async def test_sessions_ended_by_the_operator_lose_and_double_nothing(postgres_url, schema):  # noqa: F811
    """pg_terminate_backend under publishers, at random moments of their commits."""
    async with opened(postgres_url, schema) as open_log, looking(postgres_url) as operator:
        log = await open_log()

        async def end_sessions():
            await operator.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'trunkline' AND query LIKE '%' || $1 || '%'",
                schema,
            )

        acknowledged = await trouble(log, end_sessions, rounds=25, between=10)
        check_pairs(await whole_line(log), acknowledged)


@pytest.mark.slow
async def test_cut_connections_lose_and_double_nothing(postgres_url, schema):  # noqa: F811
    """Connections reset under publishers: each answer that was lost is found, or asked again."""
    async with (
        FaultProxy(port_of(postgres_url)) as proxy,
        opened(through(proxy, postgres_url), schema) as open_log,
    ):
        log = await open_log()

        async def cut():
            proxy.cut()

        acknowledged = await trouble(log, cut, rounds=25, between=10)
        check_pairs(await whole_line(log), acknowledged)


async def test_lost_answer_is_found(postgres_url, schema):  # noqa: F811
    """The server committed and its answer never came: the receipts are found, none doubled."""
    async with (
        FaultProxy(port_of(postgres_url)) as proxy,
        looking(postgres_url) as beside,
        opened(through(proxy, postgres_url), schema) as open_log,
    ):
        log = await open_log()
        await append(log, [plain("/a", 1)])
        for group in (
            [plain("/a", 2)],
            [plain("/a", 3), plain("/b", 4)],
            [plain("/a", 5, expected_version=6, key="k")],
        ):
            # A statement's first use asks the server about it, and that answer would be lost.
            await append(log, [one_more(draft) for draft in group])
            head = (await log.last_ids([])).head
            proxy.freeze(requests=False)
            task = asyncio.create_task(append(log, group))
            await stored_beside(beside, schema, head + len(group))
            proxy.cut()
            proxy.heal()
            receipts = await task
            assert [one.global_id for one in receipts] == [
                head + number for number in range(1, len(group) + 1)
            ]
            assert not any(one.is_repeat for one in receipts)
        found = values(await whole_line(log))
        assert found == [1, "again", 2, "again", "again", 3, 4, "again", 5]


def one_more(draft):
    """Return a draft that takes the same way and is another message."""
    version = None if draft.expected_version is None else draft.expected_version - 1
    key = None if draft.key is None else draft.key + "'"
    options = {"data": codec.encode("again"), "expected_version": version, "key": key}
    return msgspec.structs.replace(draft, **options)


async def stored_beside(connection, schema, head):  # noqa: F811
    """Wait until the line has a head, looked at past the engine."""
    async with asyncio.timeout(10):
        while await connection.fetchval(f'SELECT head FROM "{schema}".line') < head:
            await asyncio.sleep(0.005)


async def test_lost_request_is_made_again(postgres_url, schema):  # noqa: F811
    """The statement never reached the server: it is sent again and stored once."""
    async with (
        FaultProxy(port_of(postgres_url)) as proxy,
        opened(through(proxy, postgres_url), schema) as open_log,
    ):
        log = await open_log()
        await append(log, [plain("/a", 1)])
        proxy.freeze(answers=False)
        task = asyncio.create_task(append(log, [plain("/a", 2)]))
        await eventually(lambda: proxy.held > 0)
        proxy.cut()
        proxy.heal()
        (receipt,) = await task
        assert receipt.message_id == 2
        assert values(await whole_line(log)) == [1, 2]


async def test_server_that_does_not_answer_is_given_up(postgres_url, schema):  # noqa: F811
    """Behind a connection that is open and dead, appends go on over another one."""
    async with FaultProxy(port_of(postgres_url)) as proxy:
        url = through(proxy, postgres_url)
        async with opened(url, schema, reply_timeout=0.3) as open_log:
            log = await open_log()
            await append(log, [plain("/a", 1)])
            proxy.freeze(answers=False)
            task = asyncio.create_task(append(log, [plain("/a", 2)]))
            await eventually(lambda: proxy.held > 0)
            before = proxy.accepted
            await eventually(lambda: proxy.accepted > before)
            proxy.heal()
            (receipt,) = await task
            assert receipt.message_id == 2
            assert values(await whole_line(log)) == [1, 2]


async def test_given_up_turn_is_refused_when_it_runs_later(postgres_url, schema):  # noqa: F811
    """A statement that lingers in a pooler until its turn was settled stores nothing."""
    async with opened(postgres_url, schema) as open_log, looking(postgres_url) as late:
        log = await open_log()
        await append(log, [plain("/a", 1)])
        text = sql.SETTLE.replace("{schema}", f'"{schema}"')
        writer = "5d1c7c36-0b62-4a2f-8a40-ffffffffffff"
        assert await late.fetchval(text, 1, 5000, writer, 7) is None
        lingering = sql.APPEND_ONE.replace("{schema}", f'"{schema}"')
        arguments = ("", "/a", b"2", None, None, None, 1, None)
        with pytest.raises(asyncpg.PostgresError, match="given up"):
            await late.fetchrow(lingering, 1, 5000, "topic", writer, 7, 1.0, *arguments)
        await late.fetchrow(lingering, 1, 5000, "topic", writer, 8, 1.0, *arguments)
        assert values(await whole_line(log)) == [1, 2]


async def test_frozen_client_in_the_tail_is_bounded(postgres_url, schema):  # noqa: F811
    """A session of ours that appends and then stops is ended by the server; others only wait."""
    async with opened(postgres_url, schema, idle_timeout=0.5) as open_log:
        frozen, log = await open_log(), await open_log()
        connection = await frozen._parts.tail._connected(0.0)
        await connection.execute("BEGIN")
        await connection.fetchval(
            f'SELECT "{schema}".take_tail_v1($1, $2)', *frozen._parts.tail.lock
        )
        async with asyncio.timeout(8):
            (receipt,) = await append(log, [plain("/a", 1)])
        assert receipt.global_id == 1
        (receipt,) = await append(frozen, [plain("/a", 2)])
        assert receipt.global_id == 2


async def test_held_tail_fails_loudly(postgres_url, schema):  # noqa: F811
    """A stranger that keeps the tail makes appends fail after the timeout; reads go on."""
    async with opened(postgres_url, schema, lock_timeout=0.2) as open_log:
        log = await open_log()
        await append(log, [plain("/a", 1)])
        key, _ = log._parts.tail.lock
        async with looking(postgres_url) as stranger, stranger.transaction():
            await stranger.execute("SELECT pg_advisory_xact_lock(1953656427, $1::int)", key)
            with pytest.raises(LogUnavailableError, match="tail"):
                await append(log, [plain("/a", 2)])
            assert values(await whole_line(log)) == [1]
        (receipt,) = await append(log, [plain("/a", 3)])
        assert receipt.message_id == 2


async def test_publishes_wait_for_a_server_that_comes_back_and_no_longer():
    """While the server is away publishes queue; past the bound they fail, and store nothing."""
    with PostgresServer() as server:
        async with opened(server.url, "line", patience=6.0) as open_log:
            patient = await open_log()
            hasty = await open_log(patience=0.3)
            await asyncio.to_thread(server.stop)
            tasks = [asyncio.create_task(append(patient, [plain("/a", n)])) for n in range(50)]
            with pytest.raises(LogUnavailableError, match="see that it runs"):
                await append(hasty, [plain("/a", "hasty")])
            with pytest.raises(LogUnavailableError):
                await hasty.read_all(0)
            await asyncio.to_thread(server.start)
            receipts = await asyncio.gather(*tasks)
            assert [one.message_id for (one,) in receipts] == list(range(1, 51))
            (receipt,) = await append(hasty, [plain("/a", "again")])
            assert receipt.message_id == 51


async def test_more_than_may_wait_waits_and_is_stored(postgres_url, schema, monkeypatch):  # noqa: F811
    """Callers beyond the bound of the queue get their turn later; at a close they are told."""
    monkeypatch.setattr("trunkline.log.postgres.appends.QUEUED_DRAFTS", 10)
    async with opened(postgres_url, schema) as open_log:
        log = await open_log()
        results = await asyncio.gather(*(append(log, [plain("/a", n)] * 3) for n in range(50)))
        ids = sorted(one.message_id for receipts in results for one in receipts)
        assert ids == list(range(1, 151))
        tasks = [asyncio.create_task(append(log, [plain("/b", n)] * 5)) for n in range(5)]
        await asyncio.sleep(0)
        await log.close()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(one) for one in ends] == [list, list] + [LineClosedError] * 3


async def test_draft_the_server_cannot_store_harms_no_neighbour(postgres_url, schema):  # noqa: F811
    """A name that is no text for PostgreSQL fails alone; those beside it in the turn are stored."""
    async with opened(postgres_url, schema) as open_log:
        log = await open_log()
        results = await asyncio.gather(
            append(log, [plain("/a", 1)]),
            append(log, [plain("/a\0b", 2)]),
            append(log, [plain("/a", 3)]),
            return_exceptions=True,
        )
        assert [isinstance(one, Exception) for one in results] == [False, True, False]
        assert "cannot store" in str(results[1])
        assert values(await whole_line(log)) == [1, 3]


async def test_line_that_lost_what_was_seen_gets_a_new_epoch(postgres_url, schema):  # noqa: F811
    """After a failover that lost messages, whoever had seen them tells everybody."""
    async with opened(postgres_url, schema) as open_log, looking(postgres_url) as fate:
        log, reader = await open_log(), await open_log()
        await append(log, *([plain("/a", number)] for number in range(5)))
        before = await reader.read_all(0)
        await fate.execute(
            f'DELETE FROM "{schema}".message WHERE global_id > 3;'
            f'UPDATE "{schema}".line SET head = 3;'
            f'UPDATE "{schema}".channel SET last_id = 3;'
        )
        log._parts.tail._connection.terminate()
        (receipt,) = await append(log, [plain("/a", "other")])
        assert (receipt.global_id, receipt.epoch != before.epoch) == (4, True)
        assert (await reader.read_all(0)).epoch == receipt.epoch


async def test_hidden_messages_are_deleted(postgres_url, schema, monkeypatch):  # noqa: F811
    """What limits hide goes from the table too, while publishing goes on and in a sweep."""
    monkeypatch.setattr("trunkline.log.postgres.upkeep.ERASE_FROM", 100)
    async with opened(postgres_url, schema) as open_log, looking(postgres_url) as beside:
        log = await open_log()
        count = f'SELECT count(*) FROM "{schema}".message'
        for _ in range(3):
            drafts = [plain("/a", n, max_backlog_size=10) for n in range(200)]
            await append(log, drafts)
        async with asyncio.timeout(10):
            while await beside.fetchval(count) > 110:
                await asyncio.sleep(0.01)
        await log.trim(A, 598)
        await log.sweep()
        assert await beside.fetchval(count) == 2
