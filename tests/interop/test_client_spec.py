"""A connected client: what message_bus's own suite asks of it (items 40 to 57), over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.interop.shops import Who, a_shop, data_of, status_of
from trunkline import Message

NOBODY = Who()


async def test_a_preset_content_type_does_not_change_a_stream() -> None:
    def extra(request: object) -> dict[str, str]:
        return {"Content-Type": "text/html", "X-A": "1"}

    async with a_shop(extra_headers=extra) as shop, shop.stream("%2Fa=0") as reply:
        assert reply.headers["content-type"] == "text/plain; charset=utf-8"
        assert reply.headers["x-a"] == "1"
        await reply.block()
        await shop.line.publish("/a", "|\r\n|\r\n|")
        assert data_of(await reply.news()) == ["|\r\n|\r\n|"]


async def test_a_null_position_hears_its_own_site_alone() -> None:
    async with a_shop() as shop:
        await shop.line.publish("/a", "before", site_id="one")
        await shop.line.publish("/a", "before", site_id="two")
        async with shop.stream("%2Fa=", Who(site="one")) as reply:
            assert await reply.block() == []
            await shop.line.publish("/a", "theirs", site_id="two")
            await shop.line.publish("/a", "mine", site_id="one")
            assert data_of(await reply.news()) == ["mine"]


async def test_a_status_counts_the_clients_own_site() -> None:
    async with a_shop() as shop:
        await shop.line.publish("/a", "theirs", site_id="two")
        assert status_of(await shop.poll({"/a": -1}, Who(site="one"))) == {"/a": 0}
        assert status_of(await shop.poll({"/a": -1}, Who(site="two"))) == {"/a": 1}


async def test_the_last_message_and_the_current_id() -> None:
    async with a_shop() as shop:
        await shop.line.publish("/a", 1)
        await shop.line.publish("/a", 2)
        answer = await shop.poll({"/a": -2})
        assert data_of(answer) == [2]
        assert status_of(answer) is None
        answer = await shop.poll({"/a": -1})
        assert data_of(answer) == []
        assert status_of(answer) == {"/a": 2}


async def test_a_client_left_out_learns_the_id_and_the_other_the_message() -> None:
    async with a_shop() as shop:
        await shop.line.publish("/a", "for c2", client_ids=["c2"])
        left_out = await shop.poll({"/a": 0}, Who(client="c1"))
        assert (data_of(left_out), status_of(left_out)) == ([], {"/a": 1})
        included = await shop.poll({"/a": 0}, Who(client="c2"))
        assert (data_of(included), status_of(included)) == (["for c2"], None)


JUST_C1 = {"client_ids": ["c1"]}
USER_7 = {"user_ids": [7, "u"]}
GROUP_G = {"group_ids": ["g", 3]}


@pytest.mark.parametrize(
    ("audience", "who", "seen"),
    [
        ({}, NOBODY, True),
        (JUST_C1, Who(client="c1"), True),
        (JUST_C1, Who(client="c2"), False),
        (USER_7, Who(user=7), True),
        (USER_7, Who(user="u"), True),
        (USER_7, Who(user="7"), False),
        (USER_7, Who(user=8), False),
        (USER_7, NOBODY, False),
        (USER_7 | JUST_C1, Who(user=7, client="c1"), True),
        (USER_7 | JUST_C1, Who(user=7, client="c2"), False),
        (USER_7 | JUST_C1, Who(user=8, client="c1"), False),
        (GROUP_G, Who(groups=("g",)), True),
        (GROUP_G, Who(groups=("x", 3)), True),
        (GROUP_G, Who(groups=("3",)), False),
        (GROUP_G, Who(groups=("x",)), False),
        (GROUP_G, NOBODY, False),
        (GROUP_G | JUST_C1, Who(groups=("g",), client="c1"), True),
        (GROUP_G | JUST_C1, Who(groups=("g",), client="c2"), False),
        (GROUP_G | JUST_C1, Who(groups=("x",), client="c1"), False),
        (USER_7 | GROUP_G, Who(user=7), True),
        (USER_7 | GROUP_G, Who(groups=("g",)), True),
        (USER_7 | GROUP_G, Who(user=8, groups=("x",)), False),
        (USER_7 | GROUP_G | JUST_C1, Who(user=7), True),
        (USER_7 | GROUP_G | JUST_C1, Who(user=8, groups=("g",)), True),
        (USER_7 | GROUP_G | JUST_C1, Who(user=8), False),
        (USER_7 | GROUP_G | JUST_C1, Who(user=7, groups=("g",), client="c2"), False),
    ],
)
async def test_who_receives_a_message_live_and_from_the_backlog(
    audience: dict[str, Any], who: Who, seen: bool
) -> None:
    async with a_shop() as shop:
        async with shop.stream("%2Fa=0", who) as reply:
            assert await reply.block() == []
            await shop.line.publish("/a", "secret", **audience)
            await shop.line.publish("/a", "open")
            live = data_of(await reply.news())
            while live[-1] != "open":
                live += data_of(await reply.news())
        backlog = await shop.poll({"/a": 0}, who)
        assert live == data_of(backlog) == (["secret", "open"] if seen else ["open"])
        assert status_of(backlog) == (None if seen else {"/a": 2})


async def test_filters_hide_messages_by_the_start_of_the_channel_and_all_must_agree() -> None:
    async with a_shop() as shop:

        def short(message: Message, viewer: object) -> bool:
            return len(message.data) < 6

        def polite(message: Message, viewer: object) -> bool:
            return message.data != "rude"

        shop.line.add_filter("/test", short)
        added = shop.line.add_filter("/test", polite)
        for channel in ("/test/5", "/other"):
            for data in ("fine", "rude", "far too long"):
                await shop.line.publish(channel, data)
        hidden = await shop.poll({"/test/5": 0})
        assert (data_of(hidden), status_of(hidden)) == (["fine"], {"/test/5": 3})
        assert data_of(await shop.poll({"/other": 0})) == ["fine", "rude", "far too long"]
        async with shop.stream("%2Ftest%2F5=3") as reply:
            assert await reply.block() == []
            await shop.line.publish("/test/5", "rude")
            await shop.line.publish("/test/5", "kind")
            assert data_of(await reply.news()) == ["kind"]
        shop.line.remove_filter(added)
        assert data_of(await shop.poll({"/test/5": 0})) == ["fine", "rude", "rude", "kind"]


async def test_a_filter_that_raises_hides_one_message_and_stops_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In message_bus it ends the fan-out to all clients that come after."""
    async with a_shop() as shop:
        shop.line.add_filter("/a", lambda message, viewer: message.data["ok"])
        async with (
            shop.stream("%2Fa=0") as first,
            shop.stream("%2Fa=0", Who(client="c2")) as second,
        ):
            await shop.line.publish("/a", "no mapping")
            await shop.line.publish("/a", {"ok": True})
            for reply in (first, second):
                assert data_of(await reply.news()) == [{"ok": True}]
        assert "withheld" in caplog.text
