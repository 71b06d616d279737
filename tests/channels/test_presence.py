"""Presence: who is on a channel, over processes, exact within a lease after a crash."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline import Trunkline
from trunkline.channels import presence as presence_module
from trunkline.channels import presence_state
from trunkline.channels.presence_state import (
    LEASE,
    Beat,
    Bye,
    Moves,
    Place,
    PresenceState,
    Roster,
    rosters,
)
from trunkline.model.channel import ChannelKey
from trunkline.testing.clock import ManualClock

CHAT = ChannelKey("/chat")


def _place(client: str, user: str | None = None, channel: str = "/chat") -> Place:
    return Place(None, channel, client, user)


@pytest.fixture
async def lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Trunkline]]:
    monkeypatch.setattr(presence_module, "BEATS", 260)
    monkeypatch.setattr(presence_module, "LOOKS", 260)
    monkeypatch.setattr(presence_module, "SETTLE", 0.1)
    async with AsyncExitStack() as stack:
        clocks = [ManualClock() for _ in range(3)]
        lines = [Trunkline(f"sqlite:///{tmp_path}/line.db", clock=clock) for clock in clocks]
        for line in lines:
            stack.push_async_callback(line.close)
        yield lines


async def _until_members(line: Trunkline, *clients: str) -> None:
    async with asyncio.timeout(20):
        while [one.client_id for one in await line.presence("/chat").members()] != list(clients):
            await asyncio.sleep(0.005)


async def test_who_enters_is_seen_everywhere_until_leaving(lines: list[Trunkline]) -> None:
    here, there, _ = lines
    await there.presence("/chat").members()
    async with here.presence("/chat").entered("tab-1", user_id="ann"):
        await _until_members(there, "tab-1")
        async with there.presence("/chat").entered("tab-2", user_id="ann"):
            await _until_members(here, "tab-1", "tab-2")
            assert await here.presence("/chat").users() == ["ann"]
            assert await here.presence("/other").members() == []
            assert await here.presence("/chat", site_id="acme").members() == []
        await _until_members(here, "tab-1")
    await _until_members(there)


async def test_who_comes_late_is_told_who_is_there(lines: list[Trunkline]) -> None:
    here, _, late = lines
    async with here.presence("/chat").entered("tab-1"):
        await _until_members(here, "tab-1")
        assert [one.client_id for one in await late.presence("/chat").members()] == ["tab-1"]


async def test_changes_tell_who_comes_and_who_leaves(lines: list[Trunkline]) -> None:
    here, there, _ = lines
    seen: list[tuple[list[str], list[str]]] = []

    async def watch(ready: asyncio.Event) -> None:
        async with aclosing(there.presence("/chat").changes()) as changes:
            waiting = asyncio.ensure_future(anext(changes))
            await there.presence("/chat").members()
            ready.set()
            while True:
                change = await waiting
                seen.append(
                    (
                        [one.client_id for one in change.joined],
                        [one.client_id for one in change.left],
                    )
                )
                if change.left:
                    return
                waiting = asyncio.ensure_future(anext(changes))

    ready = asyncio.Event()
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(watch(ready))
        await ready.wait()
        async with here.presence("/chat").entered("tab-1"):
            await _until_members(there, "tab-1")
    assert seen == [(["tab-1"], []), ([], ["tab-1"])]


async def test_a_process_that_falls_silent_has_left_after_a_lease(lines: list[Trunkline]) -> None:
    here, there, _ = lines
    await here.presence("/chat").members()
    here.presences.enter(_place("tab-1"))
    await _until_members(there, "tab-1")
    await here._crew.close()  # as good as dead: nothing is said any more
    there._clock.advance(LEASE - 1)
    await asyncio.sleep(0.2)
    assert len(await there.presence("/chat").members()) == 1
    there._clock.advance(2)
    await _until_members(there)


async def test_one_that_was_taken_for_dead_is_seen_again(lines: list[Trunkline]) -> None:
    here, there, _ = lines
    await there.presence("/chat").members()
    async with here.presence("/chat").entered("tab-1"):
        await _until_members(there, "tab-1")
        there._clock.advance(LEASE + 1)
        there.presences._report(there.presences._state.expire(there._clock.monotonic()))
        await _until_members(there, "tab-1")


async def test_after_a_reset_all_are_known_again(lines: list[Trunkline]) -> None:
    here, there, _ = lines
    await there.presence("/chat").members()
    async with here.presence("/chat").entered("tab-1"):
        await _until_members(there, "tab-1")
        await here.reset()
        async with there.presence("/chat").entered("tab-2"):
            await _until_members(here, "tab-1", "tab-2")


async def test_a_clean_end_takes_all_along_at_once(lines: list[Trunkline]) -> None:
    here, there, _ = lines
    await here.presence("/chat").members()
    here.presences.enter(_place("tab-1"))
    await _until_members(there, "tab-1")
    await here.close()
    await _until_members(there)


def test_a_roster_in_parts_is_taken_as_one() -> None:
    state = PresenceState()
    state.take(Moves("p", [_place("old"), _place("kept")], []), 0.0)
    parts = [Roster("p", 0, 2, [_place("kept")]), Roster("p", 1, 2, [_place("new")])]
    assert state.take(parts[0], 1.0) == []
    (change,) = state.take(parts[1], 1.0)
    assert [one.client_id for one in change.joined] == ["new"]
    assert [one.client_id for one in change.left] == ["old"]
    assert len(rosters("p", [_place(str(n)) for n in range(4001)])) == 3


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["p", "q"]),
            st.sampled_from("abc"),
            st.sampled_from(["in", "out", "bye"]),
        ),
        max_size=40,
    )
)
def test_changes_add_up_to_the_members(moves) -> None:
    state, truth, seen = PresenceState(), {"p": set(), "q": set()}, set()
    for process, client, move in moves:
        place = _place(client)
        if move == "bye":
            truth[process].clear()
            changes = state.take(Bye(process), 0.0)
        else:
            is_in = move == "in"
            (truth[process].add if is_in else truth[process].discard)(place)
            changes = state.take(
                Moves(process, [place] if is_in else [], [] if is_in else [place]), 0.0
            )
        for change in changes:
            seen |= set(change.joined)
            seen -= set(change.left)
        expected = truth["p"] | truth["q"]
        assert set(state.members(CHAT)) == seen == expected
        assert state.knows(Beat("p", len(truth["p"])))


async def test_no_move_comes_between_the_parts_of_a_roster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence_state, "PART", 1)
    monkeypatch.setattr(presence_module, "GATHER", 0.0)
    async with Trunkline(f"sqlite:///{tmp_path}/line.db") as line:
        presences = line.presences
        await presences.members(CHAT)
        for number in range(50):
            presences.enter(_place(f"c{number}"))
        async with asyncio.timeout(20):
            while len(presences.known(CHAT)) < 50:
                await asyncio.sleep(0.001)
            await line.publish_internal(presence_module.CHANNEL.name, {"op": "ask", "process": "x"})
            said: list[dict[str, object]] = []
            restless = _place("restless")
            while sum(one["op"] == "roster" for one in said) < 50:
                for move in (presences.enter, presences.leave):
                    move(restless)
                    await asyncio.sleep(0.001)
                page = await line._log.read(presence_module.CHANNEL, 0)
                said = [msgspec.json.decode(one.data) for one in page.records]
    first = next(at for at, one in enumerate(said) if one["op"] == "roster")
    assert [one["op"] for one in said[first : first + 50]] == ["roster"] * 50
