"""Operators see how endpoints fare, and have things sent again; background work survives."""

from __future__ import annotations

import time

import pytest

from tests.webhooks.posting import until
from tests.webhooks.receiving import answers
from trunkline.webhooks.endpoints import Endpoints
from trunkline.webhooks.errors import UnknownAppError
from trunkline.webhooks.recoverer import Recoverer

SOON = {"schedule": [], "spread": 0}


def endpoints_of(post) -> Endpoints:
    async def ready():
        return post.database

    return Endpoints(ready, post.clock, lambda: None)


def recoverer_of(post) -> Recoverer:
    return Recoverer(post.database, post.clock, lambda: None)


async def test_an_endpoint_is_described_throttled_ones_too(post, receiver) -> None:
    await post.endpoint("e", receiver.url())
    now = time.time()
    await post.run("UPDATE {p}trunkline_endpoint SET parked_until = ?", now + 1000)
    await post.queue("e", 3, due_at=now - 60)
    await post.queue("e", 1, due_at=now + 60)
    await post.queue("e", 1, state="sending", due_at=now + 60)

    (found,) = await endpoints_of(post).list()

    assert (found.waiting, found.sending) == (4, 1)
    assert found.oldest_due == pytest.approx(now - 60)
    assert found.success_rate is None


async def test_the_success_rate_is_that_of_the_attempts(post, receiver) -> None:
    receiver.behave["/bad"] = answers(500)
    for name in ("bad", "good"):
        await post.endpoint(name, receiver.url(f"/{name}"), **SOON)
        await post.queue(name)

    async with post.working() as courier:

        async def are_over() -> bool:
            return await post.count("due_at IS NOT NULL") == 0

        await until(are_over)
        assert courier.tally.success_rate == 0.5

    rates = {one.id: one.success_rate for one in await endpoints_of(post).list()}
    assert rates == {"bad": 0.0, "good": 1.0}


async def test_what_was_given_up_is_sent_again_under_its_own_id(post, receiver) -> None:
    receiver.behave["/"] = answers(500)
    await post.endpoint("e", receiver.url(), **SOON)
    (ident,) = await post.queue("e")
    async with post.working():
        await post.all_are("dead")
    receiver.behave.clear()

    assert await endpoints_of(post).resend(ident) == ident
    async with post.working():
        await post.all_are("sent")

    assert [one.headers["webhook-attempt"] for one in receiver.requests] == ["1", "2"]
    assert {one.headers["webhook-id"] for one in receiver.requests} == {ident}


async def test_what_was_delivered_is_sent_again_as_a_new_one(post, receiver) -> None:
    await post.endpoint("e", receiver.url())
    (ident,) = await post.queue("e")
    async with post.working():
        await post.all_are("sent")

    again = await endpoints_of(post).resend(ident)
    async with post.working():
        await post.all_are("sent")

    assert again != ident
    assert (await post.state(again))["resend_of"] == ident
    assert [one.headers["webhook-id"] for one in receiver.requests] == [ident, again]


async def test_a_window_of_failures_is_recovered_with_progress(post, receiver, monkeypatch) -> None:
    monkeypatch.setattr("trunkline.webhooks.recoverer.STRETCH", 7)
    await post.endpoint("e", receiver.url())
    await post.endpoint("other", receiver.url())
    now = post.clock.now()
    over = {"state": "dead", "due_at": None, "attempts": 3, "tries": 3}
    await post.queue("e", 10, created_at=now - 1000, **over)
    inside = await post.queue("e", 20, created_at=now - 100, **over)
    await post.queue("other", 5, created_at=now - 100, **over)
    await post.queue("e", 5, created_at=now - 100, **{**over, "attempts": 0})
    endpoints, recoverer = endpoints_of(post), recoverer_of(post)

    begun = await endpoints.recover("e", since=now - 500)
    assert (begun.state, begun.progress, begun.found) == ("running", 0.0, 0)
    assert await recoverer.step()
    half = await endpoints.recovery(begun.id)
    assert 0 < half.progress < 1
    recoverer = recoverer_of(post)  # as after a restart: it goes on
    while await recoverer.step():
        pass

    done = await endpoints.recovery(begun.id)
    assert (done.state, done.progress, done.found) == ("done", 1.0, 20)
    async with post.working():

        async def are_sent() -> bool:
            return await post.count("state = 'sent'") == 20

        await until(are_sent)
    assert {one.headers["webhook-id"] for one in receiver.requests} == set(inside)


async def test_what_was_missed_while_disabled_is_replayed(post, receiver) -> None:
    await post.endpoint("e", receiver.url())
    endpoints = endpoints_of(post)
    await endpoints.disable("e", "maintenance")
    idents = await post.queue("e", 3)
    async with post.working():
        await post.all_are("dead")
    assert not receiver.requests

    await endpoints.enable("e")
    await endpoints.replay("e", since=0)
    while await recoverer_of(post).step():
        pass
    async with post.working():
        await post.all_are("sent")

    assert {one.headers["webhook-id"] for one in receiver.requests} == set(idents)


async def test_background_work_can_be_cancelled(post, receiver) -> None:
    await post.endpoint("e", receiver.url())
    endpoints = endpoints_of(post)
    begun = await endpoints.recover("e", since=0)

    await endpoints.cancel(begun.id)

    assert not await recoverer_of(post).step()
    assert [one.state for one in await endpoints.recoveries()] == ["cancelled"]


async def test_what_is_not_there_is_told(post) -> None:
    endpoints = endpoints_of(post)
    for call in (
        endpoints.show("x"),
        endpoints.enable("x"),
        endpoints.disable("x"),
        endpoints.resend("x"),
        endpoints.recover("x", since=0),
        endpoints.recovery("x"),
        endpoints.cancel("x"),
    ):
        with pytest.raises(UnknownAppError):
            await call
