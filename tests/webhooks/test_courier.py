"""The courier delivers what is queued, whatever endpoints do, and records every attempt."""

from __future__ import annotations

import asyncio
import time

import msgspec
import standardwebhooks

from tests.webhooks.posting import KEY, come_true, decoded, until
from tests.webhooks.receiving import (
    answers,
    hangs,
    one_after_another,
    resets,
)
from trunkline.webhooks.outgoing import WithdrawnError

SOON = {"schedule": [0.01, 0.01, 0.01], "spread": 0}


async def test_what_is_queued_is_delivered_signed_and_recorded(post, receiver) -> None:
    await post.endpoint("e", receiver.url("/hook"))
    (ident,) = await post.queue("e")

    async with post.working():
        await post.all_are("sent")

    (request,) = receiver.requests
    standardwebhooks.Webhook(KEY).verify(request.body.decode(), request.headers)
    assert request.headers["webhook-id"] == ident
    assert request.headers["webhook-attempt"] == "1"
    state = await post.state(ident)
    assert (state["state"], state["attempts"], state["due_at"]) == ("sent", 1, None)
    (attempt,) = await post.attempts(ident)
    assert (attempt["outcome"], attempt["status"], attempt["number"]) == ("delivered", 200, 1)
    assert bytes(attempt["response_body"]) == b"ok"
    assert bytes(attempt["request_body"]) == request.body
    timing = decoded(attempt, "timing")
    assert timing["total"] >= timing["first_byte"] > 0
    assert "webhook-signature" not in decoded(attempt, "request")["headers"]


async def test_a_failed_delivery_is_tried_again_under_the_same_id(post, receiver) -> None:
    receiver.behave["/"] = one_after_another(answers(500, Connection="close"), resets, answers(204))
    await post.endpoint("e", receiver.url(), **SOON)
    (ident,) = await post.queue("e")

    async with post.working():
        await post.all_are("sent")

    assert {one.headers["webhook-id"] for one in receiver.requests} == {ident}
    assert [one.headers["webhook-attempt"] for one in receiver.requests] == ["1", "2", "3"]
    outcomes = [one["outcome"] for one in await post.attempts(ident)]
    assert outcomes == ["status", "broken", "delivered"]


async def test_when_the_schedule_is_used_up_it_is_dead(post, receiver) -> None:
    receiver.behave["/"] = answers(500, "no")
    await post.endpoint("e", receiver.url(), **SOON)
    (ident,) = await post.queue("e")

    async with post.working():
        await post.all_are("dead")

    assert len(receiver.requests) == 4
    assert (await post.state(ident))["last_error"] == "the endpoint answered 500"


async def test_the_first_endpoint_resets_and_the_others_get_theirs(post, receiver) -> None:
    receiver.behave["/bad"] = one_after_another(resets, answers(200))
    for name in ("bad", "b", "c"):
        await post.endpoint(name, receiver.url(f"/{name}"), **SOON)
        await post.queue(name)

    async with post.working():
        await post.all_are("sent")

    assert len(receiver.at("/b")) == len(receiver.at("/c")) == 1
    assert len(receiver.at("/bad")) == 2


async def test_gone_disables_the_endpoint_and_gives_up_what_waits(post, receiver) -> None:
    receiver.behave["/"] = answers(410)
    await post.endpoint("e", receiver.url(), concurrency=1)
    await post.queue("e", 20)

    async with post.working():
        await post.all_are("dead")
        await come_true(lambda: post.notices)

    assert len(receiver.requests) == 1
    assert post.notices[0].reason == "it answered 410 Gone"
    (row,) = await post.rows("SELECT * FROM {p}trunkline_endpoint")
    assert row["state"] == "disabled"


async def test_retry_after_is_obeyed_by_the_whole_endpoint(post, receiver) -> None:
    receiver.behave["/"] = answers(429, Retry_After="3600")
    await post.endpoint("e", receiver.url(), concurrency=1, **SOON)
    await post.queue("e", 3)

    async with post.working():
        await come_true(lambda: receiver.requests)

        async def is_parked() -> bool:
            return (await post.rows("SELECT parked_until AS p FROM {p}trunkline_endpoint"))[0][
                "p"
            ] > time.time() + 3000

        await until(is_parked)
        await asyncio.sleep(0.1)

    assert len(receiver.requests) == 1
    assert await post.count("attempts = 0") == 2  # waiting costs no attempt


async def test_an_endpoint_that_hangs_costs_only_itself(post, receiver) -> None:
    receiver.behave["/hangs"] = hangs
    await post.endpoint("hangs", receiver.url("/hangs"), timeout=50)
    await post.queue("hangs", 200)
    await post.endpoint("well", receiver.url("/well"))
    await post.queue("well", 200)

    async with post.working(concurrency=20) as courier:

        async def well_is_done() -> bool:
            return await post.count("endpoint_id = 'well' AND state <> 'sent'") == 0

        await until(well_is_done)
        assert len(receiver.at("/hangs")) <= 10
        courier.stop()


async def test_the_breaker_opens_and_a_probe_closes_it(post, receiver, monkeypatch) -> None:
    monkeypatch.setattr("trunkline.webhooks.breaker.FIRST_PROBE", 0.05)
    is_well = False

    async def behave(request):
        return await answers(200 if is_well else 503)(request)

    receiver.behave["/"] = behave
    await post.endpoint("e", receiver.url(), schedule=[0.01] * 90, concurrency=2)
    await post.queue("e", 30)

    async with post.working():

        async def is_open() -> bool:
            rows = await post.rows("SELECT breaker AS b FROM {p}trunkline_endpoint")
            return rows[0]["b"] == "open"

        await until(is_open)
        assert len(receiver.requests) < 12
        is_well = True
        await post.all_are("sent")

    (row,) = await post.rows("SELECT * FROM {p}trunkline_endpoint")
    assert (row["breaker"], row["failures"], row["failing_since"]) == ("closed", 0, None)


async def test_a_withdrawn_one_is_no_attempt(post, receiver) -> None:
    async def prepare(sent):
        raise WithdrawnError("connection revoked")

    await post.endpoint("e", receiver.url())
    (ident,) = await post.queue("e")

    async with post.working(prepare=prepare):
        await post.all_are("withdrawn")

    assert not receiver.requests
    assert not await post.attempts(ident)
    assert (await post.state(ident))["last_error"] == "connection revoked"


async def test_a_payload_that_fails_is_a_recorded_attempt(post, receiver) -> None:
    async def prepare(sent):
        raise LookupError("no such lesson \x00 \ud800")

    await post.endpoint("e", receiver.url(), **SOON)
    (ident,) = await post.queue("e")

    async with post.working(prepare=prepare):
        await post.all_are("dead")

    attempts = await post.attempts(ident)
    assert [one["outcome"] for one in attempts] == ["payload"] * 4
    assert attempts[0]["error"].startswith("LookupError: no such lesson")


async def test_the_payload_is_made_after_the_claim(post, receiver) -> None:
    states = []

    async def prepare(sent):
        states.append((await post.state(sent.id))["state"])
        return await post.prepare(sent)

    await post.endpoint("e", receiver.url())
    await post.queue("e")

    async with post.working(prepare=prepare):
        await post.all_are("sent")

    assert states == ["sending"]


async def test_one_with_a_key_waits_for_those_before_it(post, receiver) -> None:
    receiver.behave["/"] = one_after_another(answers(500), answers(200))
    await post.endpoint("e", receiver.url(), **SOON)
    first = await post.queue("e", 20, order_key="a")
    await post.queue("e", 20)

    async with post.working():
        await post.all_are("sent")

    keyed = [one.headers["webhook-id"] for one in receiver.requests]
    keyed = [one for one in keyed if one in first]
    assert sorted(set(keyed), key=keyed.index) == first
    assert len(receiver.requests) == 41


async def test_tenants_of_one_endpoint_take_turns(post, receiver) -> None:
    await post.endpoint("e", receiver.url(), concurrency=1)
    await post.queue("e", 300, tenant="large")
    small = await post.queue("e", 1, tenant="small")

    async with post.working(batch=1):
        await post.all_are("sent")

    order = [one.headers["webhook-id"] for one in receiver.requests]
    assert order.index(small[0]) <= 2


async def test_what_a_dead_process_held_is_sent_again_and_its_attempt_noted(post, receiver) -> None:
    await post.endpoint("e", receiver.url())
    (ident,) = await post.queue("e", state="sending", lease_owner="gone", lease_epoch=7)

    async with post.working():
        await post.all_are("sent")

    attempts = await post.attempts(ident)
    assert [(one["number"], one["outcome"]) for one in attempts] == [(1, "lost"), (2, "delivered")]
    assert receiver.requests[0].headers["webhook-attempt"] == "2"


async def test_what_was_taken_over_is_not_recorded_twice(post, receiver) -> None:
    taken = asyncio.Event()

    async def behave(request):
        await post.run("UPDATE {p}trunkline_transmissions SET lease_epoch = lease_epoch + 5")
        taken.set()
        return await answers(200)(request)

    receiver.behave["/"] = behave
    await post.endpoint("e", receiver.url())
    (ident,) = await post.queue("e")

    async with post.working():
        await taken.wait()
        await asyncio.sleep(0.1)

    assert (await post.state(ident))["state"] == "sending"
    assert not await post.attempts(ident)


async def test_two_couriers_share_the_work_and_send_nothing_twice(post, receiver) -> None:
    await post.endpoint("e", receiver.url())
    await post.queue("e", 300)

    async with post.working(owner="one"), post.working(owner="two"):
        await post.all_are("sent")

    ids = [one.headers["webhook-id"] for one in receiver.requests]
    assert len(ids) == len(set(ids)) == 300


async def test_transmit_tries_once_whether_due_or_not(post, receiver) -> None:
    receiver.behave["/"] = one_after_another(answers(500), answers(200))
    await post.endpoint("e", receiver.url())
    due = post.clock.now() + 300
    first, second = await post.queue("e", 2, due_at=due)
    courier = post.courier()

    await courier.transmit([first, second, "unknown"])
    await courier.transmit([first, second])
    await courier.close()

    states = sorted([(await post.state(one))["state"] for one in (first, second)])
    assert states == ["failed", "sent"]
    assert len(receiver.requests) == 2


async def test_a_rate_limit_holds(post, receiver) -> None:
    await post.endpoint("e", receiver.url(), rate=5)
    await post.queue("e", 50)

    async with post.working():
        await come_true(lambda: len(receiver.requests) >= 5)
        await asyncio.sleep(0.1)
        assert len(receiver.requests) <= 7


async def test_an_endpoint_that_was_removed_leaves_nothing_behind(post, receiver) -> None:
    await post.queue("nobody", 3)

    async with post.working():
        await post.all_are("dead")


async def test_what_has_expired_is_not_sent(post, receiver) -> None:
    await post.endpoint("e", receiver.url())
    await post.queue("e", expires_at=post.clock.now() - 1)

    async with post.working():
        await post.all_are("dead")

    assert not receiver.requests


async def test_the_hook_wraps_every_call_and_cannot_go_around_the_guard(post, receiver) -> None:
    async def hook(call, send):
        url = call.url if "/well" in call.url else "http://169.254.169.254/latest"
        call = msgspec.structs.replace(
            call, url=url, headers={**call.headers, "Authorization": "Bearer x"}
        )
        return await send(call)

    for name in ("well", "evil"):
        await post.endpoint(name, receiver.url(f"/{name}"))
    (well,) = await post.queue("well")
    (evil,) = await post.queue("evil")

    async with post.working(hook=hook):

        async def are_over() -> bool:
            return await post.count("due_at IS NOT NULL") == 0

        await until(are_over)

    assert receiver.requests[0].headers["authorization"] == "Bearer x"
    assert (await post.state(well))["state"] == "sent"
    assert (await post.attempts(evil))[0]["outcome"] == "blocked"
    assert "Bearer" not in str(await post.attempts(well))


async def test_an_outcome_that_cannot_be_recorded_holds_up_no_other(post, receiver) -> None:
    await post.endpoint("e", receiver.url())
    idents = await post.queue("e", 20)
    courier = post.courier()
    record = courier._table.record
    is_poisoned = True

    async def recording(tx, outcomes, now):
        if is_poisoned and any(one.claim.transmission.id == idents[7] for one in outcomes):
            raise ValueError("the store can't take it")
        return await record(tx, outcomes, now)

    courier._table.record = recording
    async with post.working(courier):

        async def others_are_sent() -> bool:
            return await post.count("state = 'sent'") == 19

        await until(others_are_sent)
        is_poisoned = False
        await post.all_are("sent")

    assert len(receiver.requests) == 20
