"""Defects that Toot had, each by the name it is known by; none of them comes back."""

from __future__ import annotations

import json

import pytest

from tests.store.databases import until
from tests.webhooks.receiving import answers, receiving
from tests.webhooks.services import PREFIX, ask, come, hearing, pair, publishing
from trunkline.runtime.clock import SystemClock

CHANNEL = "org.example.a"


async def subscribed(line, url: str, *callbacks: str, channel: str = CHANNEL) -> None:
    for callback in callbacks:
        body = json.dumps({"channel": channel, "callback_url": callback})
        assert (await ask("POST", url, data=body))[0] == 201


async def settled(line, count: int) -> None:
    async def it_is() -> bool:
        found = await line.transmissions.counts()
        return found.get("sent", 0) + found.get("dead", 0) + found.get("withdrawn", 0) >= count

    await until(it_is)


@pytest.mark.parametrize(
    "channel",
    ["queue:default", "queues", "trunkline.events", "/__trunkline/events", "com.other.a", "*", ""],
)
async def test_11_a_reserved_or_foreign_channel_is_refused_and_touches_nothing(
    ground, channel
) -> None:
    async with publishing(ground.url, open=True, format="toot") as (line, url):
        database = line._store.database

        async def rows() -> list:
            tables = ("transmissions", "endpoint", "callback", "inbox")
            return [
                await database.fetch(f"SELECT count(*) FROM {database.schema}trunkline_{one}")
                for one in tables
            ]

        before = [row[0][0] for row in await rows()]
        body = json.dumps({"channel": channel, "callback_url": "http://127.0.0.1:8009/"})
        assert (await ask("POST", url, data=body))[0] == 422
        assert [row[0][0] for row in await rows()] == before
        await line.siblings.publish("a", {})  # and publishing goes on


async def test_12_a_header_that_says_false_does_not_unsubscribe_and_410_does(ground) -> None:
    async with (
        publishing(ground.url, open=True, format="toot") as (line, url),
        receiving() as receiver,
    ):
        receiver.behave = {
            "/false": answers(200, X_Toot_Unsubscribe="False"),
            "/empty": answers(200, X_Toot_Unsubscribe=""),
            "/true": answers(200, X_Toot_Unsubscribe="True"),
            "/gone": answers(410),
            "/failed": answers(500, X_Toot_Unsubscribe="True"),
        }
        paths = ("/false", "/empty", "/true", "/gone", "/failed")
        await subscribed(line, url, *(receiver.url(path) for path in paths))
        other = "org.example.b"
        both = (receiver.url("/true"), receiver.url("/gone"))
        await subscribed(line, url, *both, channel=other)
        await line.siblings.publish("a", {})

        async def two_left() -> bool:
            return len(await line.siblings.subscribers.list()) == 4

        await until(two_left)
        await come(lambda: receiver.at("/failed"))
        left = {(one.channel, one.callback_url) for one in await line.siblings.subscribers.list()}
        assert left == {
            (CHANNEL, receiver.url("/false")),
            (CHANNEL, receiver.url("/empty")),
            (CHANNEL, receiver.url("/failed")),
            (other, receiver.url("/true")),
        }
        await subscribed(line, url, receiver.url("/gone"))  # it may come back, and is called again
        await line.siblings.publish("a", {})
        await come(lambda: len(receiver.at("/gone")) == 2)


@pytest.mark.parametrize("body", [b"", b"[]", b"7", b'"a"', b"null", b"{", b"\xff", b"{}", b"[[["])
async def test_13_what_is_no_object_is_the_callers_fault_everywhere(sqlite_ground, body) -> None:
    async with (
        publishing(sqlite_ground.url, open=True) as (_, url),
        hearing(f"{sqlite_ground.url[:-3]}-b.db") as hearer,
    ):
        siblings = hearer.line.siblings
        siblings.source("school", subscription_url=url, channel_prefix=PREFIX, open=True)
        assert (await ask("POST", url, data=body))[0] == 422
        assert (await ask("POST", siblings.options.callback_url, data=body))[0] == 422
        skip = ["accept"]
        status, headers, _ = await ask("GET", url, skip_auto_headers=skip)
        assert (status, headers["content-type"]) == (200, "application/json")


async def test_14_a_handler_that_raises_is_retried_alone(ground) -> None:
    async with pair(ground) as (line, hearer, _):
        calls = []

        def first(event) -> None:
            calls.append("first")

        async def second(event) -> None:
            calls.append("second")
            if calls.count("second") < 3:
                raise RuntimeError

        async def third(event, tx) -> None:
            calls.append("third")

        from trunkline.channels.consumer import Retry

        for handler in (first, second, third):
            hearer.line.siblings.subscribe(
                "school", "a", handler, retry=Retry(attempts=9, first=0.01, limit=0.01)
            )
        await hearer.line.open(run_consumers=True)
        await hearer.line.siblings.register()
        await line.siblings.publish("a", {})
        await come(lambda: calls.count("second") == 3)
        await come(lambda: "first" in calls and "third" in calls)
        assert sorted(calls) == ["first", "second", "second", "second", "third"]


async def test_15_a_source_that_is_down_does_not_stop_the_others(ground) -> None:
    async with receiving() as sources, hearing(ground.url) as hearer:
        sources.behave = {"/bad": answers(503), "/odd": answers(302, Location="/good")}
        siblings = hearer.line.siblings
        dead = "http://127.0.0.1:8009/"
        urls = [dead, *(sources.url(path) for path in ("/bad", "/odd", "/good"))]
        for number, url in enumerate(urls):
            siblings.source(f"s{number}", subscription_url=url, channel_prefix=PREFIX)
            siblings.subscribe(f"s{number}", "a", hearer.hear)
        await hearer.line.open()
        found = {one.source: one for one in await siblings.register()}
        assert [one.is_ok for one in found.values()] == [False, False, False, True]
        assert found["s0"].error == "could not connect"
        assert (found["s1"].status, found["s1"].error) == (503, "Response code: 503")
        assert found["s2"].status == 302
        kept = {one["source"]: one for one in await siblings.registrations()}
        assert (kept["s1"]["failures"], kept["s3"]["failures"]) == (1, 0)
        assert kept["s1"]["renew_at"] < SystemClock().now() + 10
        assert len(sources.at("/good")) == 1


async def test_18_a_handler_declared_twice_is_called_once(ground) -> None:
    async with pair(ground) as (line, hearer, url):
        siblings = hearer.line.siblings
        once = siblings.subscribe("school", "a", hearer.hear)
        assert siblings.subscribe("school", "a", hearer.hear) is once
        siblings.source("school", subscription_url=url, channel_prefix=PREFIX)
        await hearer.line.open(run_consumers=True)
        for _ in range(2):
            assert len(await siblings.register()) == 1
        await line.siblings.publish("a", {"n": 1})
        await settled(line, 1)
        await line.siblings.publish("a", {"n": 2})
        await come(lambda: len(hearer.heard) >= 2)
        assert [event["n"] for event in hearer.heard] == [1, 2]
