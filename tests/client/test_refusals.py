"""What a server refuses: a subscription, a handshake, or what a limit dropped."""

from __future__ import annotations

import pytest

from tests.client.scripted import Dialogue, pushed, scripted, take
from tests.client.scripted import napping_client as client
from trunkline.errors import AccessDeniedError, GrammarError, UsageError


async def test_a_refusal_reaches_its_subscription_only() -> None:
    async def script(server: Dialogue) -> None:
        await server.accept_socket()
        await server.grant(0)
        request = await server.hear()
        refusal = {"channel": "/x", "code": "access-denied", "detail": "not yours"}
        await server.say(
            {"type": "subscribed", "id": request["id"], "channels": [], "refused": [refusal],
             "position": "e1-0"},
            {"type": "live", "id": request["id"], "position": "e1-0"},
        )  # fmt: skip
        request = await server.hear()
        error = {"type": "error", "code": "grammar", "detail": "what is this"}
        await server.say({**error, "id": request["id"]}, {**error, "id": None}, pushed(1))
        await server.wait_for_close()

    async with scripted(script) as server:
        api, _ = client(server.url)
        async with api:
            good = await api.subscribe("/a").open()
            denied, odd = api.subscribe("/x"), api.subscribe("/odd")
            with pytest.raises(AccessDeniedError, match="not yours"):
                await anext(denied)
            with pytest.raises(GrammarError, match="what is this"):
                await odd.open()
            assert await take(good, 1) == [1]


async def test_a_refused_handshake_reaches_all() -> None:
    async def script(server: Dialogue) -> None:
        await server.answer(401)

    async with scripted(script) as server:
        api, naps = client(server.url)
        async with api:
            subscriptions = [api.subscribe("/a"), api.subscribe("/b")]
            for one in subscriptions:
                with pytest.raises(AccessDeniedError):
                    await anext(one)
    assert naps.taken == []


async def test_the_handshake_honours_retry_after_and_the_goodbye_its_retry() -> None:
    async def first(server: Dialogue) -> None:
        await server.answer(503, retry_after="40")

    async def second(server: Dialogue) -> None:
        await server.accept_socket()
        await server.grant(0)
        await server.say({"type": "goodbye", "reason": "shutdown", "retry": 9000})
        await server.close_socket(1012)

    async def third(server: Dialogue) -> None:
        await server.accept_socket()
        await server.grant(0, pushed(1))
        await server.wait_for_close()

    async with scripted(first, second, third) as server:
        api, naps = client(server.url)
        async with api:
            assert await take(api.subscribe("/a"), 1) == [1]
    assert naps.taken == [40.0, 9.0]


async def test_an_error_without_an_id_for_what_a_limit_dropped_asks_again() -> None:
    """Nobody knows which request was dropped; waiting for its answer would have no end."""

    async def dropping(server: Dialogue) -> None:
        await server.accept_socket()
        await server.hear()
        detail = "the limit requests_per_second=5 is exceeded"
        await server.say({"type": "error", "id": None, "code": "limit-exceeded", "detail": detail})
        await server.wait_for_close()

    async def serving(server: Dialogue) -> None:
        await server.accept_socket()
        await server.grant(0, pushed(1, "/a"))
        await server.wait_for_close()

    async with scripted(dropping, serving) as server:
        api, naps = client(server.url)
        async with api:
            assert await take(api.subscribe("/a", position=0), 1) == [1]
    assert len(naps.taken) == 1


async def test_a_limit_that_waiting_does_not_lift_fails_what_exceeds_it_alone() -> None:
    async def script(server: Dialogue) -> None:
        await server.accept_socket()
        await server.grant(0)
        request = await server.hear()
        detail = "the limit max_subscriptions=1 is exceeded"
        await server.say(
            {"type": "error", "id": request["id"], "code": "limit-exceeded", "detail": detail},
            pushed(1, "/a"),
        )
        await server.wait_for_close()

    async with scripted(script, script) as server:
        api, _ = client(server.url)
        async with api:
            one = await api.subscribe("/a").open()
            two = api.subscribe("/b")
            with pytest.raises(UsageError, match="max_subscriptions"):
                await anext(two)
            assert await take(one, 1) == [1]
    assert len(server.seen) == 1
