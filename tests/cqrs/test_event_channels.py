"""Channels by event pattern: told after the commit, in order, to those who may read them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cqrs.following import Create, Created, Rename, Renamed, come_true, with_tests, working
from tests.gateway.serving import serving
from tests.gateway.talker import talking
from tests.store.databases import until
from trunkline.cqrs.channel_options import Push
from trunkline.errors import ConfigError
from trunkline.model.identity import Identity


async def listened(line: Any, *channels: str) -> list[Any]:
    """Return the list that grows with what channels tell."""
    seen: list[Any] = []

    async def hear(message):
        seen.append((message.channel, message.data))

    for channel in channels:
        await line.subscribe(channel, hear)
    return seen


async def test_events_are_told_under_their_names(ground):
    """By name or by pattern, shaped, with the event's own id beside."""
    line = with_tests(ground.line())

    @line.channel("test.:test_id.*")
    def told(event, test_id: str):
        return {"title": event.title, "of": test_id}

    async with working(line):
        result = await line.send(Create("a.b/c", "t"))
        one = "/events/test/a%2Eb%2Fc/created"
        await told_on(line, one)
        (message,) = await line.backlog(one)

    assert message.data == {"title": "t", "of": "a.b/c"}
    assert message.headers["event"] == "test.a%2Eb%2Fc.created"
    assert message.headers["id"] == result.events[0].id
    assert message.position.global_id > result.position.global_id


async def told_on(line: Any, channel: str, count: int = 1) -> None:
    async def is_there() -> bool:
        return len(await line.backlog(channel)) >= count

    await until(is_there)


async def test_a_pattern_hears_all_a_name_hears_one(ground):
    """In the order of the log."""
    line = with_tests(ground.line())

    @line.channel("test.**")
    def told(event):
        return type(event).__name__

    async with working(line):
        everything = await listened(line, "/events/test/**")
        only = await listened(line, "/events/test/1/renamed")
        for test_id in ("1", "2"):
            await line.send(Create(test_id))
            await line.send(Rename(test_id, "x"))
        await come_true(lambda: len(everything) == 4 and len(only) == 1)

    assert [data for _, data in everything] == ["Created", "Renamed"] * 2
    assert only == [("/events/test/1/renamed", "Renamed")]


async def test_types_filter_and_none_tells_nobody(ground):
    """A function that takes one type hears no other."""
    line = with_tests(ground.line())

    @line.channel("test.**", to="/titles")
    def told(event: Renamed):
        return None if event.title == "secret" else event.title

    async with working(line):
        await line.send(Create("1", "no"))
        await line.send(Rename("1", "secret"))
        await line.send(Rename("1", "yes"))
        await told_on(line, "/titles")
        assert [one.data for one in await line.backlog("/titles")] == ["yes"]


async def test_places_are_named_by_parameters_and_told_by_priority(ground):
    """What the pattern captured, or else a field of the event."""
    line = with_tests(ground.line())

    @line.channel(Created, to="/board/:title")
    def second(event):
        return "second"

    @line.channel(Created, to="/board/:title", priority=1)
    def first(event):
        return "first"

    async with working(line):
        await line.send(Create("1", "x/y"))
        await told_on(line, "/board/x%2Fy", 2)
        found = await line.backlog("/board/x%2Fy")

    assert [one.data for one in found] == ["first", "second"]


async def test_an_ephemeral_channel_is_gone_after_its_first_message(ground):
    """Each by its name, over restarts too."""
    for _ in range(2):
        line = with_tests(ground.line())

        @line.channel(Renamed, lifespan="ephemeral")
        def once(event):
            return event.title

        @line.channel(Renamed, to="/all")
        def always(event):
            return event.title

        async with working(line):
            for title in ("a", "b"):
                for test_id in ("1", "2"):
                    await line.send(Rename(test_id, title))
            await line.consumers.caught_up("main.channels")
            told = [
                [one.data for one in await line.backlog(f"/events/test/{n}/renamed")]
                for n in ("1", "2")
            ]
            assert told == [["a"], ["a"]]

    async with line:
        assert len(await line.backlog("/all")) == 8


async def test_one_that_fails_keeps_no_other_from_telling(ground, caplog):
    """The failure names the channel and the event."""
    line = with_tests(ground.line())

    @line.channel(Created, priority=1)
    async def bad(event, tx):
        await tx.publish("/half", 1)
        raise ValueError("no shape")

    @line.channel(Created, to="/good")
    def good(event):
        return event.test_id

    async with working(line):
        for number in range(3):
            await line.send(Create(str(number)))
        await line.consumers.caught_up("main.channels")
        assert [one.data for one in await line.backlog("/good")] == ["0", "1", "2"]
        assert await line.backlog("/half") == []

    assert "main.bad can't tell of test.0.created" in caplog.text


async def test_one_that_fails_is_shown_in_the_trace(ground, caplog):
    """As failed, with its error, as other handlers are; those that told aren't listed."""
    caplog.set_level("CRITICAL", "trunkline")
    line = with_tests(ground.line())

    @line.channel(Created)
    def bad(event):
        raise ValueError("no shape")

    @line.channel(Created, to="/good")
    def good(event):
        return event.test_id

    async with working(line):
        result = await line.send(Create("1"))
        await line.consumers.caught_up("main.channels")
        tree = await line.traces.show(result.events[0].id)

    [run] = tree.commands[0].events[0].handlers
    assert (run.handler, run.role, run.state) == ("main.bad", "channel", "failed")
    assert "ValueError: no shape" in run.error
    assert "channel main.bad failed" in str(tree)


async def test_what_is_rolled_back_is_never_told(ground):
    """Channels follow the log, and it has only what was committed."""
    line = with_tests(ground.line())

    @line.channel("test.**", to="/all")
    def told(event):
        return event.test_id

    @line.projector(Created)
    async def row(event):
        if event.test_id == "bad":
            raise ValueError("no")

    async with working(line):
        with pytest.raises(Exception, match="no"):
            await line.send(Create("bad"))
        await line.send(Create("good"))
        await line.consumers.caught_up("main.channels")
        assert [one.data for one in await line.backlog("/all")] == ["good"]


async def test_sockets_get_one_copy_of_what_they_may_read(ground):
    """Joined by a name and a pattern that both match, and never what is refused or not theirs."""
    line = with_tests(ground.line())

    @line.channel("test.:test_id.created")
    def told(event, test_id: str):
        return Push(event.title, {"user_ids": [7]}) if event.title == "private" else event.title

    app = line.gateway(
        identify=lambda request: Identity(user_id=8),
        access=lambda identity, channel: not channel.startswith("/events/test/2/"),
    )
    async with working(line), serving(app) as port, talking(port) as talker:
        await talker.say("subscribe", channels=["/events/test/1/created", "/events/test/*/created"])
        await talker.until("live")
        await line.send(Create("1", "one"))
        await line.send(Create("2", "refused"))
        await line.send(Create("3", "private"))
        await line.send(Create("4", "end"))
        seen: list[str] = []
        while "end" not in seen:
            told_now = await talker.until("message")
            seen += [one["data"] for one in told_now if one["type"] == "message"]

    assert seen == ["one", "end"]


async def test_a_client_that_comes_back_with_its_position_misses_nothing(ground):
    """Nor does it get anything twice, or what it may not see."""
    line = with_tests(ground.line())

    @line.channel("test.:test_id.created")
    def told(event, test_id: str):
        return event.title

    app = line.gateway(
        identify=lambda request: Identity(user_id=8),
        access=lambda identity, channel: not channel.startswith("/events/test/secret/"),
    )
    wanted, seen, position = "/events/test/*/created", [], None
    async with working(line), serving(app) as port:
        for life in range(4):
            async with talking(port) as talker:
                await talker.say("subscribe", channels=[wanted], position=position)
                await line.send(Create(f"{life}-a", f"{life}-a"))
                await line.send(Create("secret" if life else "other", "secret"))
                while f"{life}-a" not in seen:
                    (*_, told_now) = await talker.until("message")
                    seen.append(told_now["data"])
                    epoch = (await line.position()).epoch
                    position = f"{epoch}-{told_now['global_id']}"
            await line.send(Create(f"{life}-b", f"{life}-b"))  # while it is away
        async with talking(port) as talker:
            await talker.say("subscribe", channels=[wanted], position=position)
            while "3-b" not in seen:
                seen.append((await talker.until("message"))[-1]["data"])

    mine = [one for one in seen if one != "secret"]
    assert mine == [f"{life}-{part}" for life in range(4) for part in "ab"]
    assert seen.count("secret") == 1  # the first one, of /events/test/other


async def test_options_that_make_no_sense_are_refused(ground):
    """At once, where they are written."""
    line = ground.line()
    for options in ({"lifespan": "short"}, {"to": "nowhere"}):
        with pytest.raises(ConfigError):
            line.channel("test.**", **options)
