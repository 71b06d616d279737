"""The endpoint within an application: what message_bus's own suite asks of it (66 to 84)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.interop.replies import ask, poll, request
from tests.interop.shops import Who, a_shop, data_of, status_of
from trunkline import Request, Trunkline


async def test_a_base_path_moves_everything() -> None:
    async with a_shop(settings={"base_path": "events"}) as shop:
        await shop.line.publish("/a", 1)
        moved = request("/events/message-bus/c1/poll?dlp=t", "%2Fa=0")
        async with ask(shop.port, moved) as reply:
            assert data_of(await reply.json()) == [1]
        async with ask(shop.port, poll("%2Fa=0", query="?dlp=t")) as reply:
            assert reply.status == 404


async def test_channels_are_answered_in_the_order_of_the_request() -> None:
    async with a_shop() as shop:
        for number in range(3):
            await shop.line.publish("/b", f"b{number}")
            await shop.line.publish("/a", f"a{number}")
        assert data_of(await shop.poll({"/b": 1, "/a": 0})) == ["b1", "b2", "a0", "a1", "a2"]
        assert data_of(await shop.poll({"/a": 3, "/b": 3})) == []


async def test_ahead_positions_share_one_status() -> None:
    async with a_shop() as shop:
        await shop.line.publish("/a", 1)
        await shop.line.publish("/b", 1)
        answer = await shop.poll({"/a": 1000, "/b": 1, "/c": 5})
        assert data_of(answer) == []
        assert status_of(answer) == {"/a": 1, "/c": 0}


async def test_a_client_id_is_the_first_segment_whatever_follows() -> None:
    async with a_shop() as shop:
        await shop.line.publish("/a", "for the client", client_ids=["me"])
        asked = request("/message-bus/me/and/more/poll?dlp=t", "%2Fa=0")
        async with ask(shop.port, asked) as reply:
            assert data_of(await reply.json()) == ["for the client"]


async def test_a_global_channel_reaches_every_site_live_and_later() -> None:
    """In message_bus clients with a site get it only with their next poll."""
    async with a_shop() as shop:
        async with shop.stream("%2Fglobal%2Fa=0&%2Fa=0", Who(site="one")) as reply:
            await reply.block()
            await shop.line.publish("/a", "theirs", site_id="two")
            await shop.line.publish("/global/a", "everybody's", site_id="two")
            assert data_of(await reply.news()) == ["everybody's"]
        for site in ("one", "two", None):
            assert data_of(await shop.poll({"/global/a": 0}, Who(site=site))) == ["everybody's"]
        assert data_of(await shop.poll({"/a": 0}, Who(site="one"))) == []


async def test_a_refused_channel_looks_empty() -> None:
    async with a_shop(access=lambda identity, channel: str(channel) != "/secret") as shop:
        await shop.line.publish("/secret", 1)
        await shop.line.publish("/a", 2)
        answer = await shop.poll({"/secret": 0, "/a": 0})
        assert data_of(answer) == [2]
        assert "/secret" not in (status_of(answer) or {})


async def test_a_stranger_is_refused_with_a_problem() -> None:
    async with a_shop(identify=lambda request: None) as shop, ask(shop.port, poll("")) as reply:
        assert reply.status == 401
        assert reply.headers["content-type"] == "application/problem+json"


async def test_an_application_may_answer_for_its_hooks_failure() -> None:
    class OverloadError(Exception):
        pass

    def identify(request: Request) -> None:
        raise OverloadError

    def on_error(request: Request, error: Exception) -> Any:
        assert isinstance(error, OverloadError)
        return 429, {"retry-after": "23"}, b"slow down"

    hooks = {"identify": identify, "on_error": on_error}
    async with a_shop(**hooks) as shop, ask(shop.port, poll("%2Fa=0")) as reply:
        assert reply.status == 429
        assert reply.headers["retry-after"] == "23"
        assert await reply.body() == b"slow down"


async def test_the_wrapped_application_keeps_its_own_failures() -> None:
    told: list[Exception] = []

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b"theirs"})

    async with a_shop(wrapped=wrapped, on_error=lambda _, e: told.append(e)) as shop:
        async with ask(shop.port, request("/shop")) as reply:
            assert (reply.status, await reply.body()) == (500, b"theirs")
        async with ask(shop.port, request("/message-bus")) as reply:
            assert await reply.body() == b"theirs"
    assert told == []


async def test_no_cookie_is_ever_written() -> None:
    async with a_shop() as shop:
        for asked in (poll("%2Fa=0", "cookie: session=1"), poll("%2Fa=0", query="?dlp=t")):
            async with ask(shop.port, asked) as reply:
                assert "set-cookie" not in reply.headers


def test_without_hooks_there_is_no_gateway() -> None:
    """message_bus lets everybody read everything until told otherwise."""
    from trunkline.errors import ConfigError

    with pytest.raises(ConfigError, match="identify"):
        Trunkline("memory://").gateway()
