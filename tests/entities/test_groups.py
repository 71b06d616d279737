"""Versions, scopes and what is remembered of notices: what decides who is shown what, and when."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.entities.screen import Screen
from tests.gateway.serving import serving
from trunkline import Identity, Trunkline
from trunkline.entities import notices
from trunkline.entities.notices import Recollection, notice_channel
from trunkline.entities.passing import MAX_WAITING, ClientMessage, Passage
from trunkline.entities.value import Row, state_of
from trunkline.entities.viewer import Viewer, scope_of
from trunkline.errors import ConfigError
from trunkline.model.entity import EntityKey
from trunkline.model.position import Position
from trunkline.wire.watch import Version

ITEM = ("items", "1")


async def test_an_older_fetch_never_overwrites_a_newer():
    """The state changes while it is fetched: what was read before is told first, or never."""
    line = Trunkline("memory://")
    value, begun, go = "old", asyncio.Event(), asyncio.Event()

    @line.entity("items")
    async def items(key, viewer):
        read = value
        begun.set()
        await go.wait()
        return read

    async with line, serving(line.gateway(open=True)) as port, Screen(port) as screen:
        await screen.watch(ITEM)
        await begun.wait()
        value = "new"
        await line.changed(*ITEM)
        await line.changed(*ITEM)
        go.set()
        await screen.shows(ITEM, "new")
        assert [shown for _, shown in screen.pushes] == [["old"], ["new"]]


async def test_who_comes_during_a_fetch_is_shown_nothing_that_was_read_before():
    line = Trunkline("memory://")
    value, begun, go = "old", asyncio.Event(), asyncio.Event()

    @line.entity("items", scope=lambda viewer: None)
    async def items(key, viewer):
        read = value
        begun.set()
        await go.wait()
        return read

    async with (
        line,
        serving(line.gateway(open=True)) as port,
        Screen(port) as early,
        Screen(port) as late,
    ):
        await early.watch(ITEM)
        await begun.wait()
        value = "new"
        await late.watch(ITEM)
        go.set()
        await late.shows(ITEM, "new")
        assert [shown for _, shown in late.pushes] == [["new"]]


async def test_a_change_while_the_last_watch_goes_is_not_fetched():
    line = Trunkline("memory://")
    asked = []

    @line.entity("items")
    async def items(key, viewer):
        asked.append(key.id)
        return len(asked)

    async with line, serving(line.gateway(open=True)) as port, Screen(port) as screen:
        await screen.watch(ITEM, ("items", "2"))
        await screen.until(lambda one: len(one.shown) == 2)
        await screen.unwatch(ITEM)
        asked.clear()
        await line.changed("items", "1", "2")
        await screen.shows(("items", "2"), 1)
        assert asked == ["2"]


async def test_notices_that_trimming_overtook_count_as_changes_of_everything():
    line, things = Trunkline("memory://", max_backlog_size=3), {}

    @line.entity("items")
    async def items(key, viewer):
        return things.get(key.id, "old")

    ids = [str(number) for number in range(10)]
    async with line, serving(line.gateway(open=True)) as port, Screen(port) as screen:
        await screen.watch(*(("items", one) for one in ids))
        for one in ids:
            await screen.shows(("items", one), "old")
        things.update(dict.fromkeys(ids, "new"))
        await line.changed("items", *ids)  # ten at once, and three are kept
        for one in ids:
            await screen.shows(("items", one), "new")


async def test_a_line_that_was_erased_shows_everything_anew():
    line, value = Trunkline("memory://"), "old"

    @line.entity("items")
    async def items(key, viewer):
        return value

    async with line, serving(line.gateway(open=True)) as port, Screen(port) as screen:
        for _ in range(5):
            await line.changed(*ITEM)
        await screen.watch(ITEM)
        await screen.shows(ITEM, "old")
        value = "new"
        await line.reset()
        await screen.shows(ITEM, "new")
        value = "newer"
        await line.changed(*ITEM)
        await screen.shows(ITEM, "newer")
        await screen.disconnect()
        await screen.connect()
        assert screen.current == [ITEM]


async def test_tenants_never_share_a_fetch_whatever_the_scope_says():
    line = Trunkline("memory://")
    seen = []

    @line.entity("items", scope=lambda viewer: None)
    async def items(key, viewer):
        seen.append(viewer.site_id)
        return f"of {viewer.site_id}"

    gateway = line.gateway(
        identify=lambda request: Identity(site_id=request.query["site"][0]),
        access=lambda *_: True,
    )
    async with line, serving(gateway) as port:
        async with Screen(port, query="?site=a") as a, Screen(port, query="?site=b") as b:
            for screen, site in ((a, "a"), (b, "b")):
                await screen.watch(ITEM)
                await screen.shows(ITEM, f"of {site}")
            await line.changed(*ITEM)
            for _ in range(2):
                async with asyncio.timeout(5):
                    while len(seen) < 4:
                        await asyncio.sleep(0.005)
        assert sorted(seen) == ["a", "a", "b", "b"]
    await gateway.close()


viewers = st.builds(
    Viewer,
    st.builds(
        Identity,
        user_id=st.none() | st.sampled_from(["1", 1, "a"]),
        group_ids=st.frozensets(st.sampled_from(["1", 1, "x", 2])),
        site_id=st.sampled_from([None, "a"]),
        is_admin=st.booleans(),
        expires_at=st.sampled_from([None, 5.0]),
    ),
    st.sampled_from([None, "", "s"]),
)


@given(viewers, viewers)
def test_without_a_scope_only_viewers_alike_in_everything_share(one, other):
    def parts(viewer):
        identity = viewer.identity
        groups = frozenset((type(group), group) for group in identity.group_ids)
        user = (type(identity.user_id), identity.user_id)
        return user, groups, identity.site_id, identity.is_admin, viewer.secret

    # When an identity expires says nothing about what it may see.
    assert (scope_of(one, None) == scope_of(other, None)) == (parts(one) == parts(other))


def test_a_secret_is_in_no_repr():
    assert "hunter2" not in repr(Viewer(Identity(), "hunter2"))


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 3)), max_size=30),
    st.integers(0, 40),
    st.sampled_from("abcd"),
)
def test_what_is_said_to_be_unchanged_is(steps, after, key):
    """Against a list of all notices, whatever is forgotten or learned again in between."""
    known, place, all_notices = Recollection("e", 0), 0, []
    for number, (name, gap) in enumerate(steps):
        place += gap
        all_notices.append((name, place))
        known.note(name, place)
        if number % 7 == 6:
            known = Recollection("e", place)
            since = max(0, place - 10)
            known.extend(since, [one for one in all_notices if since < one[1] <= place])
    position = Position("e", after)
    changed = any(name == key and at > after for name, at in all_notices)
    if known.is_unchanged(key, position):
        assert not changed
    elif after >= known.since:
        assert changed
    assert not known.is_unchanged(key, Position("other", after))


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(notices, "MAX_REMEMBERED", 10)
    known = Recollection("e", 0)
    for number in range(1, 31):
        known.note(str(number), number)
    assert known.since == 20
    assert not known.is_unchanged("5", Position("e", 10))
    assert known.is_unchanged("5", Position("e", 20))
    assert not known.is_unchanged("25", Position("e", 20))


def test_a_state_has_the_digest_of_its_rows_alone():
    key = EntityKey("items", "1")

    def digest(given, number=1):
        return state_of(key, Version(Position("e", number), "0" * 12), given).digest

    assert digest({"a": 1}) == digest({"a": 1}, 2) == digest([Row({"a": 1}, ("items", 1))])
    different = [None, 1, "1", [1, 2], [[1, 2]], {"a": 1}, Row(1, ("items", "2")), Row(1, ("x", 1))]
    assert len({digest(one) for one in different}) == len(different)
    assert digest([]) == digest(None)


def test_channels_of_kinds_and_prefixes_never_meet():
    names = ["a", "a/b", "a%2Fb", "ä", "a.b", "*", "a:b", "x" * 64]
    prefixes = ["main", "main/a", "other"]
    found = {notice_channel(prefix, name) for prefix in prefixes for name in names}
    assert len(found) == len(names) * len(prefixes)
    with pytest.raises(ConfigError):
        notice_channel("p" * 64, "ä" * 32)


async def test_an_applications_receiver_that_raises_goes_on_with_the_next():
    taken, tasks = [], []

    async def receive(message):
        taken.append(message.text)
        if message.text == "bad":
            raise LookupError

    passage = Passage(receive, lambda _, work: tasks.append(asyncio.ensure_future(work)))
    for text in ("a", "bad", "b"):
        assert passage.put(ClientMessage(text, Viewer(), taken.append))
    await asyncio.gather(*tasks)
    assert taken == ["a", "bad", "b"]
    for number in range(MAX_WAITING):
        assert passage.put(ClientMessage(str(number), Viewer(), taken.append))
    assert not passage.put(ClientMessage("too many", Viewer(), taken.append))
    passage.close()
    await asyncio.gather(*tasks)
