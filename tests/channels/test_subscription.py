"""Subscriptions: where they begin, what they are told, how they end."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from tests.channels.conftest import Station
from trunkline import Trunkline
from trunkline.channels.catchup import Gap
from trunkline.channels.listener import Listener
from trunkline.channels.subscription import OnGap, Start, Subscription
from trunkline.errors import GapError, LogError, LogUnavailableError
from trunkline.model.channel import ChannelKey
from trunkline.model.interest import Interest
from trunkline.model.position import Position

A, B = ChannelKey("/a"), ChannelKey("/b")


def _subscribe(
    station: Station, start: Start, *keys: ChannelKey, on_gap: OnGap | None = None
) -> Subscription:
    interest = Interest(frozenset(keys or (A,)))
    return Subscription(station.log, station.hub, interest, start=start, on_gap=on_gap)


async def _take(subscription: Subscription, count: int) -> list[tuple[str, int]]:
    taken = []
    async with asyncio.timeout(5):
        while len(taken) < count:
            message = await anext(subscription)
            taken.append((message.channel, message.message_id))
    return taken


async def test_from_the_end_by_default(station: Station) -> None:
    """Only what is published after opening."""
    await station.publish("/a")
    async with _subscribe(station, Start()) as subscription:
        await station.publish("/b")
        await station.publish("/a")

        assert await _take(subscription, 1) == [("/a", 2)]


async def test_from_the_oldest_then_live(station: Station) -> None:
    """Backlog and live messages in one order, across pages and the ring's edge."""
    for _ in range(30):
        await station.publish("/a", b'"' + b"x" * 500 + b'"')
    subscription = _subscribe(station, Start(from_oldest=True))
    head = await _take(subscription, 20)
    for _ in range(30):
        await station.publish("/a", b'"' + b"x" * 500 + b'"')

    assert head + await _take(subscription, 40) == [("/a", i) for i in range(1, 61)]


async def test_after_a_position(station: Station) -> None:
    """The position of a received message resumes right after it, also by another subscription."""
    for _ in range(5):
        await station.publish("/a")
    first = _subscribe(station, Start(from_oldest=True))
    await _take(first, 2)
    second = _subscribe(station, Start(position=first.position))

    assert await _take(second, 3) == [("/a", 3), ("/a", 4), ("/a", 5)]


async def test_the_position_counts_only_what_was_taken(station: Station) -> None:
    """Whoever stops in the middle of a slice resumes in the middle of it."""
    subscription = await _subscribe(station, Start()).open()
    for _ in range(5):
        await station.publish("/a")
    await station.settle()
    await _take(subscription, 2)

    assert subscription.position is not None
    assert subscription.position.global_id == 2


async def test_after_a_message_id(station: Station) -> None:
    """Message ids count in the channel, whatever else is on the line."""
    for name in ("/a", "/b", "/a", "/b", "/a"):
        await station.publish(name)
    subscription = _subscribe(station, Start(after={A: 1}))
    taken = await _take(subscription, 2)
    await station.publish("/a")

    assert taken + await _take(subscription, 1) == [("/a", 2), ("/a", 3), ("/a", 4)]


async def test_the_last_few_of_each_channel(station: Station) -> None:
    """A look behind takes what there is, and is never a gap."""
    for name in ("/a", "/b", "/a", "/a"):
        await station.publish(name)
    await station.log.trim(A, 2)
    subscription = _subscribe(station, Start(after={A: 0, B: 0}, count=2), A, B)
    taken = await _take(subscription, 2)
    await station.publish("/b")

    assert sorted(taken) == [("/a", 3), ("/b", 1)]
    assert await _take(subscription, 1) == [("/b", 2)]


async def test_a_trimmed_stretch_is_told_and_the_rest_delivered(station: Station) -> None:
    """What is kept of other channels before the floor still arrives, in order."""
    for name in ("/a", "/b", "/a", "/a"):
        await station.publish(name)
    await station.log.trim(A, 2)
    gaps: list[Gap] = []
    epoch = station.hub.epoch or (await station.log.last_ids(())).epoch
    start = Start(position=Position(epoch, 0))
    subscription = _subscribe(station, start, A, B, on_gap=gaps.append)

    assert await _take(subscription, 2) == [("/b", 1), ("/a", 3)]
    assert gaps == [Gap("trimmed", 0, Position(epoch, 0), 3)]


async def test_a_gap_is_raised_once_and_iterating_goes_on(station: Station) -> None:
    """Without a taker the exception says what is gone; the next step is the first kept message."""
    for _ in range(4):
        await station.publish("/a")
    await station.log.trim(A, 3)
    for start in (Start(after={A: 1}), Start(position=(await _position(station, 1)))):
        subscription = _subscribe(station, start)
        with pytest.raises(GapError) as caught:
            await anext(subscription)

        assert (caught.value.reason, caught.value.after, caught.value.floor) == ("trimmed", 1, 3)
        assert await _take(subscription, 1) == [("/a", 4)]


async def _position(station: Station, global_id: int) -> Position:
    return Position((await station.log.last_ids(())).epoch, global_id)


@pytest.mark.parametrize("ahead", [True, False])
async def test_a_place_the_line_never_had_is_a_reset(station: Station, ahead: bool) -> None:
    """Of another epoch, or beyond the end: the reader starts over with the oldest."""
    await station.publish("/a")
    lost = await _position(station, 9) if ahead else Position("0ther", 1)
    gaps: list[Gap] = []
    subscription = _subscribe(station, Start(position=lost), on_gap=gaps.append)

    assert await _take(subscription, 1) == [("/a", 1)]
    assert [gap.reason for gap in gaps] == ["reset"]


async def test_a_message_id_the_channel_never_had_is_a_reset(station: Station) -> None:
    """The reader goes on with what comes."""
    await station.publish("/a")
    subscription = _subscribe(station, Start(after={A: 7}))
    with pytest.raises(GapError, match="reset"):
        await anext(subscription)
    await station.publish("/a")

    assert await _take(subscription, 1) == [("/a", 2)]


async def test_a_reset_under_a_live_reader_is_told(station: Station) -> None:
    """Then the new epoch's messages arrive from its first."""
    gaps: list[Gap] = []
    subscription = _subscribe(station, Start(from_oldest=True), on_gap=gaps.append)
    await station.publish("/a")
    await _take(subscription, 1)
    await station.log.reset()
    await station.publish("/a")
    await station.publish("/a")

    assert await _take(subscription, 2) == [("/a", 1), ("/a", 2)]
    assert [gap.reason for gap in gaps] == ["reset"]


async def test_closing_ends_an_iteration_under_way(station: Station) -> None:
    """The loop just ends; the hub forgets the reader."""
    subscription = await _subscribe(station, Start()).open()
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(_drain(subscription))
        await asyncio.sleep(0)
        subscription.close()
    subscription.close()

    assert reading.result() == []
    assert not list(station.hub.tracks)


async def _drain(subscription: Subscription) -> list[int]:
    return [message.message_id async for message in subscription]


async def test_closing_the_hub_ends_every_iteration(station: Station) -> None:
    """Nobody waits for ever on a line that was closed."""
    subscription = await _subscribe(station, Start()).open()
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(_drain(subscription))
        await asyncio.sleep(0)
        station.hub.close()

    assert reading.result() == []


async def test_a_forgotten_subscription_is_forgotten_by_the_hub(station: Station) -> None:
    """Whoever drops it without closing does not keep its track alive."""
    subscription = await _subscribe(station, Start()).open()
    del subscription

    async with asyncio.timeout(10):
        while list(station.hub.tracks):  # the hub may be looking at it just now
            gc.collect()
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("start", [Start(), Start(from_oldest=True), Start(after={A: 0})])
async def test_iterating_goes_on_when_the_log_can_be_read_again(
    station: Station, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that fails ends no subscription, wherever it stands: each failure is raised."""
    await station.publish("/a")
    left = dict.fromkeys(("read_all", "last_ids", "read"), 1)
    for name in left:
        monkeypatch.setattr(station.log, name, _failing(getattr(station.log, name), name, left))
    subscription = _subscribe(station, start)
    got: list[int] = []

    async def collect() -> None:
        while not got or got[-1] < 3:
            try:
                got.append((await anext(subscription)).message_id)
            except LogError:
                continue

    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(collect())
        while subscription.position is None and not got:
            await asyncio.sleep(0)
        await station.publish("/a")
        await station.publish("/a")

    assert got == ([2, 3] if start == Start() else [1, 2, 3])


async def test_a_listener_outlives_a_log_that_fails(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler is called again once the engine is back, as if nothing had been."""
    await station.publish("/a")
    left = {"read_all": 3}
    monkeypatch.setattr(station.log, "read_all", _failing(station.log.read_all, "read_all", left))
    heard = asyncio.Event()
    listener = Listener(_subscribe(station, Start(from_oldest=True)), lambda _: heard.set())
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(listener.run(lambda _: asyncio.sleep(0)))
        await heard.wait()
        running.cancel()

    assert left["read_all"] == 0


def _failing(method: Any, name: str, left: dict[str, int]) -> Any:
    async def fail(*words: Any, **options: Any) -> Any:
        if left[name]:
            left[name] -= 1
            raise LogUnavailableError("the engine is away")
        return await method(*words, **options)

    return fail


async def test_a_wait_with_a_time_limit_ends_and_the_next_goes_on() -> None:
    async with Trunkline("memory://") as line, line.subscribe("/a") as subscription:
        for number in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await anext(subscription)
            await line.publish("/a", number)
            async with asyncio.timeout(5):
                assert (await anext(subscription)).data == number
