"""Held connections together: what message_bus's own suite asks of their manager (58 to 65)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from tests.interop.replies import ask, poll
from tests.interop.shops import Shop, Who, a_shop, data_of


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


def held(shop: Shop) -> int:
    return len(shop.gateway.gateway.board.connections)


async def test_an_answered_client_is_forgotten_with_its_timeout() -> None:
    async with a_shop(settings={"long_polling_interval": 0.3}) as shop:
        asked = poll("%2Fa=0", "Dont-Chunk: true")
        waiting = asyncio.create_task(_whole_answer(shop.port, asked))
        await until(lambda: held(shop) == 1)
        await shop.line.publish("/a", "x")
        answer = await waiting
        assert answer.endswith(b'"data":"x"}]')
        assert answer.count(b"HTTP/1.1") == 1
        await until(lambda: held(shop) == 0)


async def _whole_answer(port: int, asked: bytes) -> bytes:
    async with ask(port, asked) as reply:
        await reply.body()
        assert await reply.is_closed()
        return reply.raw


async def test_a_client_is_found_by_its_id() -> None:
    async with (
        a_shop() as shop,
        shop.stream("%2Fa=0", Who(client="one")) as one,
        shop.stream("%2Fa=0", Who(client="two")) as two,
    ):
        await one.block()
        await two.block()
        await shop.line.revoke(client_id="one")
        await one.body()
        assert await one.is_closed()
        await until(lambda: held(shop) == 1)
        await shop.line.publish("/a", "still here")
        assert data_of(await two.news()) == ["still here"]


async def test_messages_reach_their_site_and_no_other() -> None:
    async with (
        a_shop() as shop,
        shop.stream("%2Fa=0", Who(site="one", client="1")) as one,
        shop.stream("%2Fa=0", Who(site="two", client="2")) as two,
    ):
        await shop.line.publish("/a", "for two", site_id="two")
        await shop.line.publish("/a", "for one", site_id="one")
        assert data_of(await one.news()) == ["for one"]
        assert data_of(await two.news()) == ["for two"]


async def test_a_message_shows_neither_site_nor_audience() -> None:
    async with a_shop() as shop, shop.stream("%2Fa=0", Who(user=7, site="s")) as reply:
        await shop.line.publish("/a", "x", user_ids=[7], site_id="s", headers={"h": 1})
        [message] = await reply.news()
        assert list(message) == ["global_id", "message_id", "channel", "data"]


async def test_clients_that_leave_leave_nothing_behind() -> None:
    async with a_shop() as shop:
        hub = shop.gateway.gateway.board.hub
        async with shop.stream("%2Fa=0") as reply:
            await reply.block()
        await until(lambda: held(shop) == 0)
        before = len(list(hub.tracks))  # the gateway's own, which listens to revocations
        for number in range(5):
            who = Who(client=f"c{number}", site=f"site{number}")
            async with shop.stream("%2Fa=0&%2Fb=0", who) as reply:
                await reply.block()
        async with shop.stream("%2Fa=0", Who(client="stays")) as reply:
            await reply.block()
            await until(lambda: held(shop) == 1 and len(list(hub.tracks)) == before + 1)
            await shop.line.publish("/a", "x")
            assert data_of(await reply.news()) == ["x"]
        await until(lambda: held(shop) == 0 and len(list(hub.tracks)) == before)


async def test_a_rejected_newcomer_does_not_silence_the_next_one() -> None:
    """In message_bus the newcomer's timer later removes whoever has its client id then."""
    soon = {"long_polling_interval": 0.8}
    async with a_shop(settings=soon) as shop, shop.stream("%2Fa=0&__seq=5") as first:
        await first.block()
        async with shop.stream("%2Fa=0&__seq=3") as late:
            assert await late.body() == b"[]\r\n|\r\n[]\r\n|\r\n"
        shop.line.gateway_options.long_polling_interval = 25
        async with shop.stream("%2Fa=0&__seq=6") as newer:
            await newer.block()
            assert await first.body() == b"[]\r\n|\r\n"
            async with shop.stream("%2Fb=0", Who(client="clock")) as clock:
                shop.line.gateway_options.long_polling_interval = 0.8
                await clock.block()
            async with shop.stream("%2Fb=0", Who(client="clock")) as clock:
                await clock.body()  # ends later than the rejected one would have
            await shop.line.publish("/a", "heard")
            assert data_of(await newer.news()) == ["heard"]


async def test_ten_come_and_go_while_ten_publish_and_nobody_misses_anything() -> None:
    each, rounds = 10, 20
    async with a_shop(settings={"long_polling_interval": 0.05}) as shop:
        total = each * rounds

        async def listen(name: str) -> list[int]:
            got: list[int] = []
            seen = 0
            while len(got) < total:
                who = Who(client=name)
                async with shop.stream(f"%2Fa={seen}", who) as reply:
                    while block := await reply.chunk():
                        for message in _messages(block):
                            got.append(message["data"])
                            seen = message["message_id"]
            return got

        async def publish(number: int) -> None:
            for turn in range(rounds):
                await shop.line.publish("/a", number * rounds + turn)
                await asyncio.sleep(0.002)

        async with asyncio.TaskGroup() as tasks:
            listeners = [tasks.create_task(listen(f"c{number}")) for number in range(each)]
            for number in range(each):
                tasks.create_task(publish(number))
        stored = [message.data for message in await shop.line.backlog("/a")]
        assert sorted(stored) == list(range(total))
        for listener in listeners:
            assert listener.result() == stored


def _messages(block: bytes) -> list[dict[str, int]]:
    parts = block.split(b"\r\n|\r\n")
    return [message for part in parts if part for message in msgspec.json.decode(part)]
