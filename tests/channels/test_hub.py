"""The hub: one reader of the log for all listeners of a process."""

from __future__ import annotations

import asyncio

import pytest

from tests.channels.conftest import Station
from trunkline.channels.hub import MAX_NAMED, Hub
from trunkline.channels.ring import Track
from trunkline.errors import LineClosedError, LogUnavailableError
from trunkline.log.memory import MemoryLog
from trunkline.log.port import Cancel, Wake
from trunkline.model.channel import ChannelKey
from trunkline.model.interest import ANY_SITE, EVERYTHING, Interest, PatternInterest


def _named(*names: str) -> Interest:
    return Interest(frozenset(map(ChannelKey, names)))


def _pattern(text: str, site: str | None = None) -> Interest:
    return Interest(patterns=frozenset({PatternInterest(text, site)}))


def _ids(track: Track) -> list[int]:
    return [entry.global_id for entry in track.after(0)]


def _nothing() -> None:
    pass


async def test_a_track_holds_what_its_interest_wants_and_nothing_else(station: Station) -> None:
    """By name, by several names, by pattern, by both."""
    a = await station.hub.join(_named("/a"), _nothing)
    ab = await station.hub.join(_named("/a", "/b"), _nothing)
    under = await station.hub.join(_pattern("/c/*"), _nothing)
    mixed = await station.hub.join(_named("/b") | _pattern("/c/*"), _nothing)
    for name in ("/a", "/b", "/c/1", "/d"):
        await station.publish(name)
    await station.settle()

    assert _ids(a) == [1]
    assert _ids(ab) == [1, 2]
    assert _ids(under) == [3]
    assert _ids(mixed) == [2, 3]
    assert {track.head for track in (a, ab, under, mixed)} <= {3, 4}


async def test_a_message_wanted_twice_is_held_once(station: Station) -> None:
    """A name that a pattern of the same interest covers too does not double it."""
    track = await station.hub.join(_named("/c/1") | _pattern("/c/*"), _nothing)
    await station.publish("/c/1")
    await station.settle()

    assert _ids(track) == [1]


async def test_sites_are_kept_apart(station: Station) -> None:
    """A pattern sees its site and the global channels; the name alone is not the channel."""
    mine = await station.hub.join(_pattern("/**", "a"), _nothing)
    every = await station.hub.join(_pattern("/**", ANY_SITE), _nothing)
    await station.publish("/x", site="a")
    await station.publish("/x", site="b")
    await station.publish("/global/x")
    await station.publish("/__trunkline/revoke")
    await station.publish("/x")
    await station.settle()

    assert _ids(mine) == [1, 3]
    assert _ids(every) == [1, 2, 3, 5]


async def test_equal_interests_share_a_track(station: Station) -> None:
    """A thousand readers of one channel are one list, also while it is empty."""
    woken: list[str] = []
    one = await station.hub.join(_named("/a"), lambda: woken.append("one"))
    two = await station.hub.join(_named("/a"), lambda: woken.append("two"))
    await station.publish("/a")
    await station.settle()

    assert one is two
    assert sorted(woken) == ["one", "two"]


async def test_the_last_reader_takes_the_track_along(station: Station) -> None:
    """Nothing is read for an interest that nobody has any more."""
    track = await station.hub.join(_named("/a") | _pattern("/c/*"), _nothing)
    other = await station.hub.join(_named("/a"), _nothing)
    station.hub.leave(track, _nothing)
    await station.publish("/a")
    await station.publish("/c/1")
    await station.settle()

    assert list(station.hub.tracks) == [other]
    assert _ids(other) == [1]
    assert len(track) == 0


async def test_a_reader_that_joined_twice_leaves_twice(station: Station) -> None:
    """Joins are counted."""
    track = await station.hub.join(_named("/a"), _nothing)
    assert await station.hub.join(_named("/a"), _nothing) is track
    station.hub.leave(track, _nothing)
    await station.publish("/a")
    await station.settle()

    assert _ids(track) == [1]


async def test_the_ring_is_bounded_and_says_since_when_it_is_whole(station: Station) -> None:
    """The oldest go first; ``since`` rises with them, in the tracks that held them."""
    busy = await station.hub.join(_named("/busy"), _nothing)
    quiet = await station.hub.join(_named("/quiet"), _nothing)
    await station.publish("/quiet")
    for _ in range(50):
        await station.publish("/busy", b'"' + b"x" * 1000 + b'"')
    await station.settle()

    assert station.hub.ring_size <= 10_000
    assert _ids(busy) == list(range(busy.since + 1, 52))
    assert 0 < len(busy) < 50
    assert quiet.since == 1
    assert _ids(quiet) == []


async def test_many_names_are_read_without_naming_them(station: Station) -> None:
    """Past a bound the hub reads everything and routes by itself."""
    tracks = [await station.hub.join(_named(f"/c/{i}"), _nothing) for i in range(MAX_NAMED + 10)]
    for index in (0, MAX_NAMED + 5):
        await station.publish(f"/c/{index}")
    await station.publish("/nobody")
    await station.settle()

    assert _ids(tracks[0]) == [1]
    assert _ids(tracks[MAX_NAMED + 5]) == [2]
    assert sum(map(len, tracks)) == 2


async def test_a_reset_is_told_to_every_reader(station: Station) -> None:
    """Tracks start over in the new epoch, and readers are woken to find out."""
    woken = asyncio.Event()
    track = await station.hub.join(_named("/a"), woken.set)
    await station.publish("/a")
    await station.settle()
    before = track.epoch
    woken.clear()
    await station.log.reset()
    await station.publish("/a")
    await asyncio.wait_for(woken.wait(), 5)
    while track.head < 1:
        await asyncio.sleep(0)

    assert track.epoch != before
    assert station.hub.epoch == track.epoch
    assert _ids(track) == [1]


async def test_an_idle_hub_does_not_read_what_nobody_wants(station: Station) -> None:
    """Messages from before the first listener are not held."""
    for _ in range(3):
        await station.publish("/a")
    track = await station.hub.join(EVERYTHING, _nothing)

    assert (track.since, track.head) == (3, 3)


async def test_only_a_hub_with_readers_watches_the_log(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins with the first reader, and ends at the first news after the last one."""
    watching: list[Wake] = []
    watch = station.log.watch

    def counted(wake: Wake) -> Cancel:
        cancel = watch(wake)
        watching.append(wake)

        def end() -> None:
            watching.remove(wake)
            cancel()

        return end

    monkeypatch.setattr(station.log, "watch", counted)
    await station.publish("/a")
    assert not watching
    for expected in (2, 4):
        track = await station.hub.join(_named("/a"), _nothing)
        assert len(watching) == 1
        await station.publish("/a")
        await station.settle()
        assert _ids(track) == [expected]
        station.hub.leave(track, _nothing)
        await station.publish("/a")
        async with asyncio.timeout(5):
            while watching:
                await asyncio.sleep(0)


async def test_a_failing_log_is_asked_again(
    station: Station, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The failure is reported, and nothing is lost by it."""
    monkeypatch.setattr("trunkline.channels.hub.RETRY_AFTER", 0.001)
    failures = 3
    read_all = MemoryLog.read_all

    async def failing(self, *args, **kwargs):
        nonlocal failures
        if failures:
            failures -= 1
            raise LogUnavailableError("the disk is away")
        return await read_all(self, *args, **kwargs)

    track = await station.hub.join(_named("/a"), _nothing)
    await asyncio.sleep(0)
    monkeypatch.setattr(MemoryLog, "read_all", failing)
    await station.publish("/a")
    await station.settle()

    assert _ids(track) == [1]
    assert caplog.text.count("the disk is away") == 3


async def test_a_closed_hub_takes_nobody(station: Station) -> None:
    """Readers are woken, and new ones refused."""
    woken: list[Hub] = []
    await station.hub.join(_named("/a"), lambda: woken.append(station.hub))
    station.hub.close()

    assert woken == [station.hub]
    with pytest.raises(LineClosedError):
        await station.hub.join(_named("/b"), _nothing)


async def test_after_a_failure_of_its_own_it_reads_what_came_meanwhile(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, moved = Hub(station.log, station.filters), asyncio.Event()
    track = await hub.join(_named("/a"), moved.set)
    read_all = station.log.read_all

    async def fail(*_: object, **__: object) -> None:
        raise ValueError("an answer that makes no sense")

    monkeypatch.setattr(station.log, "read_all", fail)
    with pytest.raises(ValueError, match="no sense"):
        await hub.run()
    monkeypatch.setattr(station.log, "read_all", read_all)
    await station.publish("/a")
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(hub.run())
        await moved.wait()
        running.cancel()
    assert _ids(track) == [1]
