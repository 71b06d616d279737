"""Transmissions: listed, prepared in three formats, and purged by age, never the undelivered."""

from __future__ import annotations

import asyncio
import uuid

import msgspec

from tests.store.databases import until
from tests.webhooks.school import Lesson, LessonSignal, installed, resolved, school
from trunkline.webhooks.errors import PayloadError


async def states(line):
    return {one.object_id: one.state for one in await line.transmissions.list(limit=1000)}


async def put(line, mailbox, **states):
    """Fire a signal for each state, and put its transmission into that, long over."""
    name = "trunkline_transmissions"
    table = name if line.settings.log.startswith("sqlite") else f"{mailbox.schema}.{name}"
    await installed(line, 1)
    for state in states:
        await line.signal(LessonSignal(state, account_id=1), "destroyed")
    await resolved(line)
    async with line.transaction() as tx:
        for state, finished in states.items():
            await tx.execute(
                f"UPDATE {table} SET state = '{state}', finished_at = {finished}, due_at = NULL "
                f"WHERE object_id = '\"{state}\"'"
            )
        await tx.execute(
            f"INSERT INTO {table.replace('transmissions', 'attempts')} "
            "(transmission_id, endpoint_id, number, started_at, outcome) "
            f"SELECT id, endpoint_id, 1, 0, 'x' FROM {table}"
        )


async def test_purging_never_takes_the_undelivered(ground):
    old = {"queued": 1, "sending": 1, "failed": 1, "dead": 1, "sent": 1, "withdrawn": 1}
    async with school(ground) as (line, mailbox):
        await put(line, mailbox, **old)
        gone = {one.object_id: one.id for one in await line.transmissions.list()}
        assert await line.transmissions.purge(older_than=60) == 2
        assert set(await states(line)) == {"queued", "sending", "failed", "dead"}
        assert await line.transmissions.attempts(gone["sent"]) == []
        assert len(await line.transmissions.attempts(gone["dead"])) == 1
        assert await line.transmissions.purge(older_than=60, dead=True) == 1
        assert set(await states(line)) == {"queued", "sending", "failed"}


async def test_purging_leaves_what_is_young_and_takes_many(ground):
    async with school(ground) as (line, mailbox):
        await installed(line, 1)
        for number in range(1203):
            await line.signal(LessonSignal(number, account_id=1), "destroyed")
        await resolved(line)
        name = "trunkline_transmissions"
        table = name if ground.dialect == "sqlite" else f"{mailbox.schema}.{name}"
        async with line.transaction() as tx:
            await tx.execute(f"UPDATE {table} SET state = 'sent', finished_at = seq, due_at = NULL")
        assert await line.transmissions.purge(older_than=10**12) == 0
        assert await line.transmissions.purge(older_than=60) == 1203


async def test_a_worker_purges_by_itself(ground):
    async with school(ground, keep="1h", purge_interval=0.05) as (line, mailbox):
        await put(line, mailbox, sent=1, dead=1)
        line.start_services()

        async def is_purged() -> bool:
            return await states(line) == {"dead": "dead"}

        await until(is_purged)


async def test_they_are_listed_by_state_app_and_account(ground):
    async with school(ground) as (line, _):
        one, two = await installed(line, 1, "1"), await installed(line, 1)
        for account in (1, "1", 2):
            await line.signal(LessonSignal(4, account_id=account), "destroyed")
        await resolved(line)
        rows = await line.transmissions.list()
        assert [row.seq for row in rows] == sorted((row.seq for row in rows), reverse=True)
        assert sorted(row.app_id for row in rows) == sorted([one.id, one.id, two.id])
        assert len(await line.transmissions.list(app_id=one.id)) == 2
        assert len(await line.transmissions.list(account_id="1")) == 1
        assert len(await line.transmissions.list(account_id=1, state="queued")) == 2
        assert len(await line.transmissions.list(before=rows[0].seq)) == 2
        assert (await line.transmissions.counts())["queued"] == 3
        assert await line.transmissions.get(rows[0].id) == rows[0]


async def test_a_disabled_endpoint_gets_nothing_and_nothing_is_forgotten(ground):
    async with school(ground) as (line, mailbox):
        app = await installed(line, 1)
        table = "trunkline_endpoint"
        table = table if ground.dialect == "sqlite" else f"{mailbox.schema}.{table}"
        async with line.transaction() as tx:
            await tx.execute(f"UPDATE {table} SET state = 'disabled' WHERE app_id = '{app.id}'")
        await line.signal(LessonSignal(4, account_id=1), "destroyed")
        await resolved(line)
        [one] = await line.transmissions.list()
        assert (one.state, one.due_at, one.attempts) == ("dead", None, 0)
        assert "disabled" in one.last_error


async def prepared(line, mailbox, *, account=1, ident=4, **fields):
    """Install an app, fire, and return what goes out to it, and its delivery id."""
    await installed(line, account, **fields)
    Lesson.save(ident, "algebra")
    await line.signal(LessonSignal(ident, account_id=account), "updated")
    await resolved(line)
    claims = await mailbox.claim()
    [outgoing] = await mailbox.prepare(claims)
    return outgoing, claims[0].id


async def test_demuxs_format_is_its_body_with_the_action_first(ground):
    async with school(ground) as (line, mailbox):
        outgoing, _ = await prepared(
            line, mailbox, options={"format": "demux"}, secret="s" * 24, account=1
        )
        assert outgoing.body == (
            b'{"action":"updated","company_id":1,"lesson":{"id":4,"name":"algebra"}}'
        )
        assert outgoing.headers["user-agent"] == "Demux"
        assert outgoing.headers["content-type"] == "application/json"
        assert outgoing.secrets[0].key == b"s" * 24


async def test_cloudevents_format_is_structured(ground):
    async with school(ground, source="https://school.example") as (line, mailbox):
        ident = uuid.UUID(int=9)
        outgoing, delivery = await prepared(
            line, mailbox, options={"format": "cloudevents"}, ident=ident
        )
        event = msgspec.json.decode(outgoing.body)
        assert event.pop("time").endswith("Z")
        assert event == {
            "specversion": "1.0",
            "id": delivery,
            "source": "https://school.example",
            "type": "lesson.updated",
            "subject": str(ident),
            "datacontenttype": "application/json",
            "accounttype": "account",
            "accountid": "1",
            "data": {"company_id": 1, "lesson": {"id": str(ident), "name": "algebra"}},
        }
        kind = outgoing.headers["content-type"]
        assert kind.startswith("application/cloudevents+json")


async def test_a_payload_too_large_for_a_request_is_told(sqlite_ground):
    async with school(sqlite_ground) as (line, mailbox):
        await installed(line, 1)
        Lesson.save(4, "x" * (1024 * 1024))
        await line.signal(LessonSignal(4, account_id=1), "updated")
        await resolved(line)
        [error] = await mailbox.prepare(await mailbox.claim())
        assert "bytes" in str(error)


async def test_signals_wait_for_a_worker_however_many_there_are(ground):
    """Neither the default limits of channels nor a restart loses what was fired meanwhile."""
    line = ground.line(max_backlog_size=10, sweep_interval=0.05)
    line.webhooks.declare(LessonSignal)
    async with line:
        await installed(line, 1)
        for number in range(60):
            await line.signal(LessonSignal(number, account_id=1), "destroyed")
        await asyncio.sleep(0.2)  # sweeps pass; nothing waits for this
        assert await line.transmissions.list() == []
    async with school(ground) as (line, _):
        await resolved(line)
        assert len(await line.transmissions.list()) == 60


async def test_an_endpoint_keeps_no_more_than_its_share_of_the_undelivered(ground):
    async with school(ground) as (line, _):
        await installed(line, 1)
        for number in range(12):
            await line.signal(LessonSignal(number, account_id=1), "destroyed")
        await resolved(line)
        assert await line.transmissions.bound(20) == 0
        assert await line.transmissions.bound(5) == 7
        found = await states(line)
        assert [number for number in range(12) if found[number] == "queued"] == [7, 8, 9, 10, 11]
        gone = [one for one in await line.transmissions.list() if one.state == "withdrawn"]
        assert {one.last_error for one in gone} == {"the endpoint had more than 5 undelivered"}
        await line.transmissions.purge(older_than=-1)
        assert len(await states(line)) == 5


class LargeSignal(LessonSignal):
    signal_name = "large"

    async def payload(self):
        return {"text": "x" * 400_000}


async def test_a_payload_over_the_limit_is_an_error_before_anything_is_sent(ground):
    async with school(ground, LargeSignal) as (line, mailbox):
        await installed(line, 1, signals=["large"])
        await line.signal(LargeSignal(1, account_id=1), "updated")
        await resolved(line)
        [error] = await mailbox.prepare(await mailbox.claim())
        assert isinstance(error, PayloadError)
        assert "payload_limit=350000" in str(error)
