"""The bus: what message_bus's own suite asks of publish, subscribe and read (items 1 to 20)."""

from __future__ import annotations

import asyncio
import sys
from itertools import count
from pathlib import Path

import anyio
import pytest

from tests.interop.conftest import take
from trunkline import ANY_SITE, GapError, Trunkline
from trunkline.errors import ConfigError, InvalidMessageError, LineClosedError
from trunkline.gateway.options import GatewayOptions
from trunkline.model.message import Message


class Inbox:
    """Collect what a handler is called with, and wait for some of it."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._news = asyncio.Event()

    def __call__(self, message: Message) -> None:
        self.messages.append(message)
        self._news.set()

    @property
    def data(self) -> list[object]:
        return [message.data for message in self.messages]

    async def until(self, number: int) -> None:
        with anyio.fail_after(10):
            while len(self.messages) < number:
                self._news.clear()
                await self._news.wait()


async def test_opening_and_closing_again_and_again_never_blocks(log: str) -> None:
    line = Trunkline(log)
    with anyio.fail_after(30):
        for _ in range(10):
            line.on()
            await line.open()
            await line.publish("/foo", "x")
            await line.close()


def test_a_base_path_gets_its_slashes_right() -> None:
    spellings = ("events", "/events", "events/", "/events/", "//events//")
    assert {GatewayOptions(base_path=one).base_path for one in spellings} == {"/events"}
    assert GatewayOptions(base_path="/a//b").base_path == "/a/b"
    assert GatewayOptions(base_path="/").base_path == ""
    with pytest.raises(ConfigError):
        GatewayOptions(base_path="/events?x=1")


async def test_without_an_id_only_later_messages_come(line: Trunkline) -> None:
    await line.publish("/chat", "before")
    async with line.subscribe("/chat") as messages:
        await line.publish("/chat", "after")
        assert (await anext(messages)).data == "after"


async def test_from_zero_the_backlog_comes_and_then_what_is_new(line: Trunkline) -> None:
    for number in range(3):
        await line.publish("/chat", number)
    async with line.subscribe("/chat", after=0) as messages:
        assert [one.data for one in await take(messages, 3)] == [0, 1, 2]
        await line.publish("/chat", 3)
        assert (await anext(messages)).data == 3


async def test_from_the_last_id_only_later_messages_come(line: Trunkline) -> None:
    """message_bus replays the whole backlog here; we do what the words say."""
    receipt = await line.publish("/chat", "data1")
    assert receipt is not None
    async with line.subscribe("/chat", after=receipt.message_id) as messages:
        await line.publish("/chat", "data2")
        await line.publish("/chat", "data3")
        assert [one.data for one in await take(messages, 2)] == ["data2", "data3"]


async def test_a_message_tells_who_it_is_for(line: Trunkline) -> None:
    await line.publish("/a", 1, client_ids=["c1", "c2"])
    await line.publish("/a", 2, user_ids=[7, "u"], group_ids=["g"])
    first, second = await line.backlog("/a")
    assert first.client_ids == ("c1", "c2")
    assert first.user_ids is None
    assert second.user_ids == (7, "u")
    assert second.group_ids == ("g",)


async def test_a_live_subscriber_gets_what_is_published_after_a_reset(line: Trunkline) -> None:
    await line.publish("/a", "old")
    inbox = Inbox()
    await line.subscribe("/a", inbox)
    await line.reset()
    await line.publish("/a", "new")
    await inbox.until(1)
    assert inbox.data == ["new"]
    assert inbox.messages[0].global_id == 1


async def test_a_reset_is_told_to_a_subscriber_that_had_a_place(line: Trunkline) -> None:
    await line.publish("/a", "old")
    async with line.subscribe("/a", after=0) as messages:
        await anext(messages)
        await line.reset()
        await line.publish("/a", "new")
        with pytest.raises(GapError, match="reset"):
            await anext(messages)
        assert (await anext(messages)).data == "new"


async def test_a_live_subscriber_gets_what_is_published_after_all_was_trimmed(
    line: Trunkline,
) -> None:
    await line.publish("/a", "old")
    async with line.subscribe("/a") as messages:
        await line.trim("/a", 1)
        assert await line.backlog("/a") == []
        await line.publish("/a", "new")
        message = await anext(messages)
    assert (message.data, message.message_id) == ("new", 2)


async def test_a_mapping_arrives_as_a_mapping_with_text_keys(line: Trunkline) -> None:
    data = {"a": {"b": [1, 2.5, None, True]}, "ü": "é"}
    await line.publish("/a", data)
    message = await line.last_message("/a")
    assert message is not None
    assert message.data == data


async def test_a_message_has_its_site_and_its_channel_without_it(line: Trunkline) -> None:
    inbox = Inbox()
    await line.subscribe("/a", inbox, site_id="s1")
    await line.publish("/a", "x", site_id="s1", user_ids=[1])
    await inbox.until(1)
    message = inbox.messages[0]
    assert (message.channel, message.site_id, message.data) == ("/a", "s1", "x")
    assert message.user_ids == (1,)


async def test_a_subscriber_to_everything_gets_every_channel_of_every_site(
    line: Trunkline,
) -> None:
    async with line.subscribe("/**", site_id=ANY_SITE) as messages:
        await line.publish("/a", 1)
        await line.publish("/b/c", 2, site_id="s1")
        await line.publish("/global/d", 3, site_id="s2")
        got = [(one.channel, one.site_id, one.data) for one in await take(messages, 3)]
    assert got == [("/a", None, 1), ("/b/c", "s1", 2), ("/global/d", None, 3)]


async def test_a_backlog_is_of_its_channel_alone(line: Trunkline) -> None:
    for number in range(1, 4):
        await line.publish("/foo", number)
        await line.publish("/foobar", number * 10)
    assert [one.data for one in await line.backlog("/foo")] == [1, 2, 3]
    assert [one.data for one in await line.backlog("/foo", 1)] == [2, 3]
    assert [one.data for one in await line.backlog("/foobar", 2)] == [30]


async def test_a_size_of_one_at_a_publish_leaves_only_the_newest(line: Trunkline) -> None:
    await line.publish("/a", 1)
    await line.publish("/a", 2, max_backlog_size=1)
    assert [one.data for one in await line.backlog("/a")] == [2]


async def test_size_and_age_at_a_publish_both_hold(line: Trunkline) -> None:
    """message_bus forgets the size when both are given."""
    await line.publish("/a", 1)
    await line.publish("/a", 2, max_backlog_size=1, max_backlog_age=100)
    assert [one.data for one in await line.backlog("/a")] == [2]


async def test_off_stores_nothing(line: Trunkline) -> None:
    line.off()
    assert line.is_off
    assert await line.publish("/a", "x") is None
    line.on()
    assert not line.is_off
    assert await line.backlog("/a") == []


async def test_off_with_publishing_stores_and_delivers_nothing(line: Trunkline) -> None:
    line.off(disable_publish=False)
    assert line.is_off
    never = Inbox()
    await line.subscribe("/a", never)
    receipt = await line.publish("/a", "stored")
    assert receipt is not None
    line.on()
    assert [one.data for one in await line.backlog("/a")] == ["stored"]
    inbox = Inbox()
    await line.subscribe("/a", inbox)
    await line.publish("/a", "heard")
    await inbox.until(1)
    assert inbox.data == ["heard"]
    assert never.data == []


async def test_closing_three_times_is_fine_and_opening_again_too(log: str) -> None:
    line = Trunkline(log)
    await line.open()
    for _ in range(3):
        await line.close()
    with pytest.raises(LineClosedError):
        await line.publish("/a", 1)
    line.on()
    await line.open()
    assert await line.publish("/a", 1) is not None
    await line.close()


async def test_the_last_message_is_the_newest_or_none(line: Trunkline) -> None:
    assert await line.last_message("/nothing") is None
    await line.publish("/a", 1)
    await line.publish("/a", 2)
    message = await line.last_message("/a")
    assert message is not None
    assert message.data == 2


async def test_a_site_at_publish_wins_over_the_lookup(log: str) -> None:
    async with (
        Trunkline(log, site_lookup=lambda: "default") as line,
        line.subscribe("/a", site_id=ANY_SITE) as messages,
    ):
        await line.publish("/a", 1)
        await line.publish("/a", 2, site_id="other")
        got = [(one.site_id, one.data) for one in await take(messages, 2)]
        assert got == [("default", 1), ("other", 2)]
        assert [one.data for one in await line.backlog("/a")] == [1]
        assert [one.data for one in await line.backlog("/a", site_id="other")] == [2]
        assert await line.last_id("/a", site_id="third") == 0


async def test_a_global_channel_is_heard_whatever_the_site(log: str) -> None:
    sites = count()
    async with Trunkline(log, site_lookup=lambda: f"site{next(sites)}") as line:
        everything, one_channel = Inbox(), Inbox()
        await line.subscribe("/**", everything)
        await line.subscribe("/global/a", one_channel)
        await line.publish("/global/a", "x")
        message = await line.last_message("/global/a")
        assert message is not None
        assert (message.data, message.site_id) == ("x", None)
        await everything.until(1)
        await one_channel.until(1)


@pytest.mark.parametrize("who", [{"user_ids": [1]}, {"group_ids": [1]}, {"user_ids": []}])
async def test_users_and_groups_on_a_global_channel_are_refused(
    line: Trunkline, who: dict[str, list[int]]
) -> None:
    with pytest.raises(InvalidMessageError):
        await line.publish("/global/a", "x", **who)
    assert await line.last_id("/global/a") == 0


async def test_clients_on_a_global_channel_are_allowed(line: Trunkline) -> None:
    assert await line.publish("/global/a", "x", client_ids=["c"]) is not None


@pytest.mark.parametrize("empty", ["user_ids", "group_ids", "client_ids"])
@pytest.mark.parametrize("full", [None, "user_ids", "group_ids", "client_ids"])
async def test_an_empty_audience_is_refused(line: Trunkline, empty: str, full: str | None) -> None:
    who = {full: ["x"], empty: []} if full else {empty: []}
    with pytest.raises(InvalidMessageError, match=empty):
        await line.publish("/a", "x", **who)  # type: ignore[arg-type]
    assert await line.last_id("/a") == 0


CHILD = """
import asyncio, sys
from trunkline import Trunkline

async def main():
    async with Trunkline(sys.argv[1]) as line:
        await line.publish("/forked", "child")

asyncio.run(main())
"""


async def test_a_subscriber_hears_its_own_process_and_others_in_order(tmp_path: Path) -> None:
    """message_bus survives a fork; a line is opened anew in each process instead."""
    url = f"sqlite:///{tmp_path / 'line.db'}"
    async with Trunkline(url) as line, line.subscribe("/forked") as messages:
        await line.publish("/forked", "before")
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", CHILD, url)
        assert await child.wait() == 0
        await line.publish("/forked", "after")
        with anyio.fail_after(10):
            got = await take(messages, 3)
    assert [one.data for one in got] == ["before", "child", "after"]
    assert [one.message_id for one in got] == [1, 2, 3]


async def test_a_handler_that_raises_stops_nobody(
    line: Trunkline, caplog: pytest.LogCaptureFixture
) -> None:
    calls = Inbox()

    def broken(message: Message) -> None:
        calls(message)
        raise RuntimeError("boom")

    inbox = Inbox()
    await line.subscribe("/a", broken)
    await line.subscribe("/a", inbox)
    await line.publish("/a", 1)
    await line.publish("/a", 2)
    await inbox.until(2)
    await calls.until(2)
    assert inbox.data == calls.data == [1, 2]
    assert "boom" in caplog.text
