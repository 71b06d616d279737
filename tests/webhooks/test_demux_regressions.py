"""What Demux got wrong, by name: each of these was a verified defect of the original."""

from __future__ import annotations

import contextlib
import uuid

import pytest

from tests.webhooks.school import Lesson, LessonSignal, installed, resolved, school
from trunkline.webhooks.errors import PayloadError, SignalError
from trunkline.webhooks.outgoing import WithdrawnError


async def test_1_a_wildcard_in_one_tenant_hears_nothing_of_another(ground):
    async with school(ground) as (line, mailbox):
        nosy = await installed(line, 777, signals=["*"])
        mine = await installed(line, 1)
        Lesson.save(4, "algebra")
        await line.signal(LessonSignal(4, account_id=1), "updated")
        await line.signal(LessonSignal(4, account_id="777"), "updated")  # text is not a number
        await resolved(line)
        assert [app for app, _ in await mailbox.take()] == [mine.id]
        await line.signal(LessonSignal(4, account_id=777), "updated")
        await resolved(line)
        assert [app for app, _ in await mailbox.take()] == [nosy.id]


async def test_2_an_app_installed_twice_on_an_account_gets_one_request(ground):
    async with school(ground) as (line, mailbox):
        app = await installed(line, 1)
        first = await line.connections.connect(app.id, account_id=1)
        again = await line.connections.connect(app.id, account_id=1, signals=["lesson", "user"])
        assert first.id == again.id
        assert again.signals == ("lesson",)
        Lesson.save(4, "algebra")
        await line.signal(LessonSignal(4, account_id=1), "updated")
        await resolved(line)
        assert len(await mailbox.take()) == 1


async def test_3_three_identical_signals_become_one_request_with_the_last_state(ground):
    async with school(ground) as (line, mailbox):
        await installed(line, 1)
        for name in ("a", "b", "c"):
            Lesson.save(4, name)
            await line.signal(LessonSignal(4, account_id=1), "updated")
        await resolved(line)
        [(_, body)] = await mailbox.take()
        assert body["data"]["lesson"]["name"] == "c"
        assert body["type"] == "lesson.updated"
        assert body["account"] == {"type": "account", "id": 1}


async def test_4_a_change_between_claim_and_send_is_delivered(ground):
    async with school(ground) as (line, mailbox):
        await installed(line, 1)
        Lesson.save(4, "old")
        await line.signal(LessonSignal(4, account_id=1), "updated")
        await resolved(line)
        claims = await mailbox.claim()
        [old] = await mailbox.prepare(claims)  # it has read; now the state changes
        Lesson.save(4, "new")
        await line.signal(LessonSignal(4, account_id=1), "updated")
        await resolved(line)
        assert b"old" in old.body
        [(_, body)] = await mailbox.take()
        assert body["data"]["lesson"]["name"] == "new"


async def test_4_a_change_between_claim_and_read_is_read(ground):
    async with school(ground) as (line, mailbox):
        await installed(line, 1)
        Lesson.save(4, "old")
        await line.signal(LessonSignal(4, account_id=1), "updated")
        await resolved(line)
        claims = await mailbox.claim()
        Lesson.save(4, "new")
        [outgoing] = await mailbox.prepare(claims)
        assert b"new" in outgoing.body


async def test_7_a_signal_in_a_transaction_that_is_rolled_back_is_not_sent(ground):
    async with school(ground) as (line, mailbox):
        await installed(line, 1)
        Lesson.save(4, "a")
        with contextlib.suppress(LookupError):
            async with line.transaction() as tx:
                await line.signal(LessonSignal(4, account_id=1), "updated", tx=tx)
                raise LookupError
        await resolved(line)
        assert await mailbox.take() == []


async def test_7_a_signal_fired_twice_poisons_no_transaction(ground):
    async with school(ground) as (line, mailbox):
        await installed(line, 1)
        Lesson.save(4, "a")
        await line.signal(LessonSignal(4, account_id=1), "updated")
        await resolved(line)  # there is a queued one already
        async with line.transaction() as tx:
            await line.signal(LessonSignal(4, account_id=1), "updated", tx=tx)
            await line.signal(LessonSignal(4, account_id=1), "updated", tx=tx)
            await tx.execute(f"INSERT INTO note VALUES ({ground.mark})", "kept")
        await resolved(line)
        assert len(await mailbox.take()) == 1


IDS = ["4", "lesson-ü", uuid.UUID(int=7), 0, -1, 2**53 + 1, 2**63 - 1]


@pytest.mark.parametrize("ident", IDS, ids=str)
async def test_8_ids_of_every_kind_deliver(sqlite_ground, ident):
    async with school(sqlite_ground) as (line, mailbox):
        await installed(line, ident)
        Lesson.save(ident, "a")
        await line.signal(LessonSignal(ident, account_id=ident), "updated")
        await resolved(line)
        [(_, body)] = await mailbox.take()
        wanted = str(ident) if isinstance(ident, uuid.UUID) else ident
        assert body["data"] == {"company_id": wanted, "lesson": {"id": wanted, "name": "a"}}


@pytest.mark.parametrize("ident", [True, 2**63, 1.5, b"4", "", "a\0b", "x" * 256, "\ud800"])
async def test_8_ids_of_other_kinds_are_refused_loudly(sqlite_ground, ident):
    with pytest.raises(SignalError):
        LessonSignal(4, account_id=ident)
    if not isinstance(ident, float | bytes):  # those would be objects without an id
        with pytest.raises(SignalError):
            LessonSignal(ident, account_id=1)
    with pytest.raises(SignalError):
        LessonSignal(Lesson(ident, "a"), account_id=1)


async def test_8_the_number_four_is_not_the_text_four(ground):
    async with school(ground) as (line, mailbox):
        await installed(line, 1)
        Lesson.save(4, "number")
        Lesson.save("4", "text")
        for ident in (4, "4"):
            await line.signal(LessonSignal(ident, account_id=1), "updated")
        await resolved(line)
        names = [body["data"]["lesson"]["name"] for _, body in await mailbox.take()]
        assert names == ["number", "text"]


async def test_9_a_nested_context_keeps_its_shape_and_key_order_makes_no_difference(ground):
    context = {"by": {"name": "Ann", "tags": ["x", {"deep": [1, 2.5, None, True]}]}, "n": 1}
    turned = {"n": 1, "by": {"tags": ["x", {"deep": [1, 2.5, None, True]}], "name": "Ann"}}
    async with school(ground) as (line, mailbox):
        await installed(line, 1)
        for one in (context, turned, {**context, "n": 2}):
            await line.signal(LessonSignal(4, account_id=1), "destroyed", context=one)
        await resolved(line)
        found = [body["data"]["context"] for _, body in await mailbox.take()]
        assert found == [context, {**context, "n": 2}]


async def test_10_a_connection_revoked_after_queueing_gets_nothing(ground):
    async with school(ground) as (line, mailbox):
        gone, declined, kept = [await installed(line, 1) for _ in range(3)]
        Lesson.save(4, "a")
        await line.signal(LessonSignal(4, account_id=1), "updated")
        await resolved(line)
        connection = await line.connections.between(gone.id, account_id=1)
        await line.connections.disconnect(connection.id)
        connection = await line.connections.between(declined.id, account_id=1)
        await line.connections.decline(connection.id, "lesson")
        claims = await mailbox.claim()
        outcomes = dict(
            zip((one.app_id for one in claims), await mailbox.prepare(claims), strict=True)
        )
        assert isinstance(outcomes[gone.id], WithdrawnError)
        assert isinstance(outcomes[declined.id], WithdrawnError)
        assert b"lesson.updated" in outcomes[kept.id].body


async def test_an_object_without_an_id_is_sent_from_its_context_alone(ground):
    async with school(ground) as (line, mailbox):
        await installed(line, 1)
        lesson = Lesson(None, "unsaved")
        for _ in range(2):  # without an id there is no telling whether these are the same
            await line.signal(LessonSignal(lesson, account_id=1), "archived")
        await resolved(line)
        assert [body["data"] for _, body in await mailbox.take()] == [{"was": "unsaved"}] * 2
        await line.signal(LessonSignal(lesson, account_id=1), "updated")  # its payload looks
        await resolved(line)
        [error] = await mailbox.prepare(await mailbox.claim())
        assert isinstance(error, PayloadError)
        assert "without an id" in str(error)
