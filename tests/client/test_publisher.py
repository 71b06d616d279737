"""Publishing over HTTP: stored once, however often it is sent; refused locally where possible."""

from __future__ import annotations

from typing import Any

import pytest

from tests.client.scripted import Dialogue, scripted
from tests.client.scripted import napping_client as client
from trunkline.errors import (
    AccessDeniedError,
    ConflictError,
    GrammarError,
    InvalidTargetError,
    KeyReusedError,
    ServerUnavailableError,
    TrunklineError,
    UnencodableDataError,
    UsageError,
)
from trunkline.model.channel import ChannelKey
from trunkline.model.position import Position

RECEIPT = {
    "channel": "/a",
    "message_id": 3,
    "global_id": 9,
    "position": "e1-9",
    "repeated": False,
}


async def test_publishes_with_all_options_and_returns_the_receipt() -> None:
    async def script(server: Dialogue) -> None:
        await server.answer_json(RECEIPT)

    async with scripted(script) as server:
        api, _ = client(server.url + "/base", token="secret")
        async with api:
            receipt = await api.publish(
                "/a", {"x": 1}, user_ids=(1, "2"), site_id="s", headers={"h": 1}, max_backlog_size=5
            )
    assert receipt.channel == ChannelKey("/a", "s")
    assert (receipt.message_id, receipt.global_id, receipt.is_repeat) == (3, 9, False)
    assert receipt.position == Position("e1", 9)
    (seen,) = server.seen
    assert (seen.method, seen.path) == ("POST", "/base/api/publish")
    assert seen.headers["authorization"] == "Bearer secret"
    key = seen.json["key"]
    assert len(key) == 32
    assert seen.json == {
        "channel": "/a", "data": {"x": 1}, "user_ids": [1, "2"], "site_id": "s",
        "headers": {"h": 1}, "max_backlog_size": 5, "key": key,
    }  # fmt: skip


async def test_a_lost_answer_is_repeated_under_the_same_key() -> None:
    async def lost(server: Dialogue) -> None:
        server.writer.close()

    async def busy(server: Dialogue) -> None:
        await server.answer(503, retry_after="4")

    async def script(server: Dialogue) -> None:
        await server.answer_json({**RECEIPT, "repeated": True})

    async with scripted(lost, busy, script) as server:
        api, naps = client(server.url)
        async with api:
            receipt = await api.publish("/a", 1)
            await api.publish("/a", 1)
    assert receipt.is_repeat
    keys = [one.json["key"] for one in server.seen]
    assert keys[0] == keys[1] == keys[2] != keys[3]
    assert naps.taken[1] == 4.0


async def test_a_batch_goes_as_a_list_and_each_message_has_a_key() -> None:
    async def script(server: Dialogue) -> None:
        await server.answer_json([RECEIPT, {**RECEIPT, "global_id": 10, "position": "e1-10"}])

    async with scripted(script) as server:
        api, _ = client(server.url)
        async with api:
            receipts = await api.publish_many([("/a", 1), ("/a", 2, {"key": "mine"})])
            assert await api.publish_many([]) == []
    assert [one.global_id for one in receipts] == [9, 10]
    assert [one["data"] for one in server.seen[0].json] == [1, 2]
    assert server.seen[0].json[1]["key"] == "mine"
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("channel", "data", "options", "kind"),
    [
        ("a", 1, {}, GrammarError),
        ("/a", float("nan"), {}, UnencodableDataError),
        ("/a", "\ud800", {}, UnencodableDataError),
        ("/a", 1, {"user_ids": []}, InvalidTargetError),
        ("/a", 1, {"user_ids": "bob"}, UsageError),
        ("/a", 1, {"key": ""}, UsageError),
        ("/a", 1, {"max_backlog_size": 0}, UsageError),
        ("/a", 1, {"wrong": 1}, TypeError),
    ],
)
async def test_what_can_never_be_accepted_is_not_even_sent(
    channel: str, data: Any, options: dict[str, Any], kind: type[Exception]
) -> None:
    async with scripted() as server:
        api, _ = client(server.url)
        async with api:
            with pytest.raises(kind):
                await api.publish(channel, data, **options)
    assert server.seen == []


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "unauthenticated", AccessDeniedError),
        (403, "access-denied", AccessDeniedError),
        (409, "key-reused", KeyReusedError),
        (409, "version-conflict", ConflictError),
        (422, "invalid-target", InvalidTargetError),
        (413, "max-batch", UsageError),
    ],
)
async def test_refusals_are_raised_with_the_servers_words(
    status: int, code: str, kind: type[Exception]
) -> None:
    async def script(server: Dialogue) -> None:
        problem = {
            "type": f"urn:trunkline:problem:{code}", "title": "T", "status": status,
            "detail": "the reason",
        }  # fmt: skip
        await server.answer_json(problem, status)

    async with scripted(script) as server:
        api, naps = client(server.url)
        async with api:
            with pytest.raises(kind) as raised:
                await api.publish("/a", 1, key="k")
    assert isinstance(raised.value, TrunklineError)
    assert raised.value.code == code
    assert "the reason" in str(raised.value) or kind is KeyReusedError
    assert naps.taken == []


async def test_gives_up_in_time_and_names_the_key() -> None:
    async def script(server: Dialogue) -> None:
        await server.answer(500)

    async with scripted(script) as server:
        api, naps = client(server.url, publish_timeout=100.0)
        async with api:
            with pytest.raises(ServerUnavailableError) as raised:
                await api.publish("/a", 1)
    assert raised.value.key == server.seen[0].json["key"]
    assert 40 < sum(naps.taken) <= 100


@pytest.mark.parametrize("body", [b"", b"ok", b"{}", b'{"position":"0"}', b"[]"])
async def test_an_answer_that_is_no_receipt_is_no_success(body: bytes) -> None:
    async def script(server: Dialogue) -> None:
        await server.answer(200, body, "application/json")

    async with scripted(script) as server:
        api, _ = client(server.url)
        async with api:
            with pytest.raises(ServerUnavailableError):
                await api.publish("/a", 1)
