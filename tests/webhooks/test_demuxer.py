"""Demuxers: signals are resolved after the commit, by whomever settings or the signal choose."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3

import asyncpg
import msgspec
import pytest

from tests.channels.consuming import come_true
from tests.webhooks.school import Lesson, LessonSignal, installed, resolved, school
from trunkline.errors import ConfigError, UsageError
from trunkline.webhooks.demuxer import Demuxer, InlineDemuxer, JobDemuxer


class InlineSignal(LessonSignal):
    signal_name = "inline"
    demuxer = InlineDemuxer


async def test_an_inline_signal_is_sent_before_the_call_returns(ground):
    async with school(ground, LessonSignal, InlineSignal) as (line, mailbox):
        await installed(line, 1, signals=["inline"])
        await line.signal(InlineSignal(4, account_id=1), "updated")
        [one] = await line.transmissions.list()
        assert mailbox.transmitted == [one.id]
        assert one.due_at > one.created_at + 10  # the worker would only come later


async def test_an_inline_signal_waits_for_its_transaction(ground):
    async with school(ground, InlineSignal) as (line, mailbox):
        await installed(line, 1, signals=["inline"])
        async with line.transaction() as tx:
            await line.signal(InlineSignal(4, account_id=1), "updated", tx=tx)
            with contextlib.suppress(LookupError):
                async with tx.savepoint():
                    await line.signal(InlineSignal(5, account_id=1), "updated", tx=tx)
                    raise LookupError
            assert mailbox.transmitted == []
        [one] = await line.transmissions.list()
        assert one.object_id == 4
        assert mailbox.transmitted == [one.id]
        with contextlib.suppress(LookupError):
            async with line.transaction() as tx:
                await line.signal(InlineSignal(6, account_id=1), "updated", tx=tx)
                raise LookupError
        assert len(await line.transmissions.list()) == 1


async def test_the_settings_choose_for_signals_that_do_not(ground):
    async with school(ground, demuxer="trunkline.webhooks.demuxer:InlineDemuxer") as (
        line,
        mailbox,
    ):
        await installed(line, 1)
        await line.signal(LessonSignal(4, account_id=1), "updated")
        assert len(mailbox.transmitted) == 1


async def test_a_custom_demuxer_passes_json_to_jobs(ground):
    jobs = []

    class Jobs(JobDemuxer):
        async def enqueue(self, job):
            jobs.append(msgspec.json.encode(job))

    async with school(ground, demuxer=Jobs) as (line, mailbox):
        await installed(line, 1)
        context = {"by": [1, {"é": None}]}
        for _ in range(2):  # equal: two jobs to resolve, one transmission
            await line.signal(LessonSignal("4", account_id=1), "updated", context=context)
        await come_true(lambda: len(jobs) == 2)
        assert await line.transmissions.list() == []
        for job in tuple(jobs):
            await line.webhooks.work(msgspec.json.decode(job))
        [one] = await line.transmissions.list()
        assert (one.object_id, one.context) == ("4", context)
        assert [msgspec.json.decode(job) for job in jobs[2:]] == [{"transmit": [one.id]}] * 2
        await line.webhooks.work(msgspec.json.decode(jobs[-1]))
        assert mailbox.transmitted == [one.id]
        await line.webhooks.work(msgspec.json.decode(jobs[0]))  # a job may come twice
        assert len(await line.transmissions.list()) == 1


@pytest.mark.parametrize("job", [{}, {"resolve": {}}, {"resolve": 1}, {"transmit": "x"}, {"a": 1}])
async def test_a_job_that_is_none_is_refused(sqlite_ground, job):
    async with school(sqlite_ground) as (line, _):
        with pytest.raises(UsageError):
            await line.webhooks.work(job)


async def test_a_demuxer_that_fails_is_asked_again_and_holds_nobody_up(ground, caplog):
    seen = []

    class Moody(Demuxer):
        async def resolve(self):
            seen.append(self.notice.object_id)
            if self.notice.object_id == 1 and seen.count(1) < 2:
                raise ConnectionError("the queue is away")

    async with school(ground, demuxer=Moody) as (line, _):
        for ident in (1, 2):
            await line.signal(LessonSignal(ident, account_id=1), "updated")
        await come_true(lambda: seen == [1, 2, 1])


async def test_resolving_a_notice_again_after_it_was_sent_sends_nothing(ground):
    from trunkline.webhooks.notice import notice_of

    async with school(ground) as (line, mailbox):
        await installed(line, 1)
        Lesson.save(4, "a")
        notice = notice_of(LessonSignal(4, account_id=1), "updated", {}, fired_at=0.0)
        await line.webhooks.resolve_now(notice)
        assert len(await mailbox.take()) == 1
        await line.webhooks.resolve_now(notice)
        assert await mailbox.take() == []


async def test_a_synchronous_guests_transaction_carries_a_signal(sqlite_ground):
    async with school(sqlite_ground) as (line, mailbox):
        await installed(line, 1)
        Lesson.save(4, "a")

        def work() -> None:
            path = sqlite_ground.bare.removeprefix("sqlite:///")
            connection = sqlite3.connect(path, isolation_level="IMMEDIATE")
            with contextlib.closing(connection):
                with connection:
                    connection.execute("INSERT INTO note VALUES ('x')")
                    line.signal_in(connection, LessonSignal(4, account_id=1), "updated")
                with contextlib.suppress(LookupError), connection:
                    connection.execute("INSERT INTO note VALUES ('y')")
                    line.signal_in(connection, LessonSignal(5, account_id=1), "updated")
                    raise LookupError

        await asyncio.to_thread(work)
        await line.relay()
        await resolved(line)
        assert [body["type"] for _, body in await mailbox.take()] == ["lesson.updated"]


async def test_an_asynchronous_guests_transaction_carries_a_signal(postgres_ground):
    async with school(postgres_ground) as (line, mailbox):
        await installed(line, 1)
        Lesson.save(4, "a")
        connection = await asyncpg.connect(postgres_ground.bare)
        try:
            async with connection.transaction():
                await line.signal(LessonSignal(4, account_id=1), "updated", tx=connection)
                await line.signal(LessonSignal(4, account_id=1), "updated", tx=connection)
            with contextlib.suppress(LookupError):
                async with connection.transaction():
                    await line.signal(LessonSignal(5, account_id=1), "updated", tx=connection)
                    raise LookupError
        finally:
            await connection.close()
        await resolved(line)
        assert [body["type"] for _, body in await mailbox.take()] == ["lesson.updated"]


async def test_what_is_no_demuxer_fails_at_start(sqlite_ground):
    for given in ("nowhere:None", "trunkline:Trunkline", 7, Demuxer(None, None)):
        with pytest.raises(ConfigError):
            sqlite_ground.line(webhooks={"demuxer": given}).webhooks.declare(LessonSignal)

        class Odd(LessonSignal):
            signal_name = "odd"
            demuxer = given

        with pytest.raises(ConfigError):
            sqlite_ground.line().webhooks.declare(Odd)
