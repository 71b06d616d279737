"""The courier looks for what is queued: soon, seldom enough, and whatever hangs meanwhile."""

from __future__ import annotations

import asyncio

from tests.webhooks.posting import come_true, until
from tests.webhooks.receiving import answers


async def test_what_others_queue_is_found_at_once_though_an_endpoint_hangs(
    post, receiver, monkeypatch
) -> None:
    monkeypatch.setattr("trunkline.webhooks.courier.LOOK_EVERY", 600.0)
    may_answer = asyncio.Event()

    async def hangs(request):
        await may_answer.wait()
        return await answers(200)(request)

    receiver.behave["/hangs"] = hangs
    await post.endpoint("hangs", receiver.url("/hangs"))
    await post.queue("hangs", 50)
    await post.endpoint("well", receiver.url("/well"))

    async with post.working() as courier:
        await come_true(lambda: receiver.at("/hangs"))
        for _ in range(20):  # whenever it comes, soon after a look or not
            (ident,) = await post.queue("well")
            number = ident.removeprefix("msg_")
            await until(lambda n=number: is_sent(post, n))
        courier.stop()
        may_answer.set()


async def is_sent(post, number) -> bool:
    return await post.count(f"id = 'msg_{number}' AND state = 'sent'") == 1


async def test_a_poke_soon_after_a_look_keeps_nothing_else_waiting(post, monkeypatch) -> None:
    monkeypatch.setattr("trunkline.webhooks.courier.TICK", 0.3)
    courier = post.courier()
    looks = turns = 0
    look, turn = courier._table.look, courier._turn

    async def looking(*given):
        nonlocal looks
        looks += 1
        await asyncio.sleep(0.1)  # dear, so that the next one may not follow at once
        return await look(*given)

    async def counting(group):
        nonlocal turns
        turns += 1
        return await turn(group)

    courier._table.look, courier._turn = looking, counting
    async with post.working(courier):
        await come_true(lambda: looks == 1)
        courier.poke()
        await come_true(lambda: looks == 2)

    assert turns < 20


async def test_a_courier_that_is_poked_and_stopped_awaits_what_is_under_way(post, receiver) -> None:
    may_answer = asyncio.Event()

    async def behave(request):
        await may_answer.wait()
        return await answers(200)(request)

    receiver.behave["/"] = behave
    await post.endpoint("e", receiver.url())
    (ident,) = await post.queue("e")

    async with post.working() as courier:
        await come_true(lambda: receiver.requests)
        courier.poke()
        courier.stop()
        await asyncio.sleep(0.02)  # turns in which there is nothing to do
        may_answer.set()
        await post.all_are("sent")

    assert (await post.state(ident))["attempts"] == 1


async def test_successes_soon_after_each_other_store_health_once(
    post, receiver, monkeypatch
) -> None:
    monkeypatch.setattr("trunkline.webhooks.courier.RENEW_EVERY", 0.0)  # forgets at every look
    monkeypatch.setattr("trunkline.webhooks.courier.SAVE_EVERY", 600.0)
    await post.endpoint("e", receiver.url())
    courier = post.courier()
    set_health, written = courier._table.set_health, []

    async def writing(tx, endpoint, now):
        written.append(endpoint.health)
        await set_health(tx, endpoint, now)

    courier._table.set_health = writing
    async with post.working(courier):
        for _ in range(3):
            await post.queue("e")
            await post.all_are("sent")
            await come_true(lambda: written)
            courier.poke()
            await come_true(lambda: courier._fairness.find("e") is None)

    assert len(written) == 1
