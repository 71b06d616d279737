"""A distributed cache: a write here is seen there, late joiners and gaps end with the whole."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline import Trunkline
from trunkline.channels import cache as cache_module
from trunkline.channels.cache_state import Ask, CacheState, Clear, Delete, Op, Set, Snapshot
from trunkline.errors import LineClosedError, UnencodableDataError, UsageError
from trunkline.model.channel import ChannelKey
from trunkline.testing.clock import ManualClock


class Frog(msgspec.Struct):
    name: str
    legs: int = 4


@pytest.fixture
async def lines(tmp_path: Path) -> AsyncIterator[list[Trunkline]]:
    """Return lines on one file, as several processes have them; the caller opens them."""
    async with AsyncExitStack() as stack:
        lines = [Trunkline(f"sqlite:///{tmp_path}/line.db") for _ in range(3)]
        for line in lines:
            stack.push_async_callback(line.close)
        yield lines


async def _until(condition) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def test_set_delete_and_clear_replicate(lines: list[Trunkline]) -> None:
    here, there = [await line.cache("frogs").open() for line in lines[:2]]
    await here.set("a", {"list": [1, [2, {"deep": None}]]})
    assert here["a"] == {"list": [1, [2, {"deep": None}]]}
    await _until(lambda: there.get("a") == {"list": [1, [2, {"deep": None}]]})
    await there.set("b", 2)
    await here.delete("a")
    await _until(lambda: dict(here) == dict(there) == {"b": 2})
    await there.wipe()
    await _until(lambda: not here and not there)


async def test_written_as_a_mapping_it_shows_here_at_once_and_there_soon(
    lines: list[Trunkline],
) -> None:
    here, there = [await line.cache("frogs").open() for line in lines[:2]]
    here["frogs"] = 5
    assert here["frogs"] == 5
    here["toads"] = 6
    del here["frogs"]
    assert dict(here) == {"toads": 6}
    await here.flush()
    await _until(lambda: dict(there) == {"toads": 6})
    here.clear()
    here["newts"] = 7
    assert dict(here) == {"newts": 7}
    await here.flush()
    await _until(lambda: dict(there) == {"newts": 7})
    with pytest.raises(KeyError):
        del here["frogs"]


async def test_other_names_versions_and_sites_are_apart(lines: list[Trunkline]) -> None:
    line = lines[0]
    await line.cache("a").set("k", 1)
    others = (
        line.cache("b"),
        line.cache("a", version="2"),
        line.cache("a", site_id="acme"),
    )
    for other in others:
        assert "k" not in await other.open()
    assert line.cache("a") is line.cache("a", shared=True)
    with pytest.raises(UsageError, match="leave site_id or shared out"):
        line.cache("a", site_id="acme", shared=True)


async def test_values_come_back_as_their_type(lines: list[Trunkline]) -> None:
    here, there = [await line.cache("frogs", type=Frog).open() for line in lines[:2]]
    await here.set("kermit", Frog("Kermit"))
    await _until(lambda: "kermit" in there)
    assert there["kermit"] == here["kermit"] == Frog("Kermit")
    with pytest.raises(msgspec.ValidationError):
        await here.set("kermit", 5)
    assert here["kermit"] == Frog("Kermit")


async def test_what_cannot_be_kept_is_refused_and_changes_nothing(lines: list[Trunkline]) -> None:
    cache = await lines[0].cache("frogs").open()
    with pytest.raises(UnencodableDataError):
        await cache.set("k", float("nan"))
    with pytest.raises(UsageError, match="text, not int"):
        await cache.set(1, 1)
    with pytest.raises(UsageError, match="above 0"):
        await cache.set("k", 1, ttl=0)
    cache["k"] = float("nan")
    with pytest.raises(UnencodableDataError):
        await cache.flush()
    assert not cache


async def test_a_value_ends_with_its_time(tmp_path: Path) -> None:
    clock = ManualClock()
    async with Trunkline(f"sqlite:///{tmp_path}/line.db", clock=clock) as line:
        cache = await line.cache("frogs").open()
        await cache.set("short", 1, ttl=10)
        await cache.set("long", 2)
        clock.advance(9)
        assert dict(cache) == {"short": 1, "long": 2}
        clock.advance(2)
        assert dict(cache) == {"long": 2}
        assert cache.get("short") is None


async def test_a_late_joiner_has_the_whole_when_it_opens(
    lines: list[Trunkline], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "INTERVAL", 5)
    monkeypatch.setattr(cache_module, "PART_SIZE", 100)
    first = await lines[0].cache("frogs").open()
    for number in range(64):
        await first.set(f"k{number % 40}", number)
    assert first._state.snapshot_id
    assert (await lines[0]._log.read(_key(), 0)).floor
    joiner = lines[1].cache("frogs")
    async with lines[1]:
        assert dict(joiner) == dict(first)


def _key() -> ChannelKey:
    return ChannelKey("/__trunkline/cache/-/frogs")


async def test_a_late_joiner_asks_when_what_is_kept_is_not_the_whole(
    lines: list[Trunkline],
) -> None:
    first = await lines[0].cache("frogs").open()
    for number in range(10):
        await first.set(f"k{number}", number)
    await lines[0]._log.trim(_key(), 7)
    second = await lines[1].cache("frogs").open()
    assert dict(second) == {f"k{number}": number for number in range(10)}


async def test_alone_it_goes_on_with_what_is_kept(
    lines: list[Trunkline], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "ASK_WAIT", 0.05)
    first = await lines[0].cache("frogs").open()
    for number in range(4):
        await first.set(f"k{number}", number)
    await lines[0]._log.trim(_key(), 2)
    await lines[0].close()
    second = await lines[1].cache("frogs").open()
    assert dict(second) == {"k2": 2, "k3": 3}


async def test_after_a_reset_all_agree(lines: list[Trunkline]) -> None:
    caches = [await line.cache("frogs").open() for line in lines]
    await caches[0].set("old", 1)
    await _until(lambda: all("old" in cache for cache in caches))
    await lines[0].reset()
    await caches[1].set("new", 2)
    await _until(lambda: all(dict(cache) == {"new": 2} for cache in caches))


async def test_writers_at_once_end_in_one_state(lines: list[Trunkline]) -> None:
    caches = [await line.cache("frogs").open() for line in lines]

    async def write(cache, offset: int) -> None:
        for number in range(60):
            await cache.set(f"k{number % 7}", [offset, number])
            if number % 13 == 0:
                await cache.delete(f"k{number % 5}")

    async with asyncio.TaskGroup() as group:
        for offset, cache in enumerate(caches):
            group.create_task(write(cache, offset))
    await _until(lambda: dict(caches[0]) == dict(caches[1]) == dict(caches[2]))
    assert caches[0]


async def test_switched_off_it_is_this_process_own(tmp_path: Path) -> None:
    line = Trunkline(f"sqlite:///{tmp_path}/none.db", off=True)
    cache = await line.cache("frogs").open()
    cache["a"] = 1
    await cache.set("b", 2)
    assert dict(cache) == {"a": 1, "b": 2}
    assert not (tmp_path / "none.db").exists()


KEYS = st.sampled_from("abc")
OPS = st.one_of(st.builds(Set, KEYS, st.integers(0, 9)), st.builds(Delete, KEYS), st.builds(Clear))


@given(
    ops=st.lists(st.one_of(OPS, st.just(Ask()), st.just("snapshot")), max_size=60), data=st.data()
)
def test_whoever_has_a_snapshot_needs_nothing_older(ops, data) -> None:
    """Joining anywhere, one who finds a snapshot of what went before ends where the others are."""
    whole = CacheState()
    messages: list[tuple[int, Op]] = []
    behind: list[Snapshot] = []

    def append(op: Op) -> None:
        messages.append((len(messages) + 1, op))
        whole.take(*messages[-1])

    for op in ops:
        if op == "snapshot":
            append(Ask())  # a snapshot is written a while after it was taken
            behind = whole.snapshot(f"m{len(messages)}", 0.0, 1)
        else:
            append(op)
            for part in behind:
                append(part)
            behind = []
    floor = data.draw(st.integers(0, len(messages)))
    joiner = CacheState()
    joiner.begin(floor)
    for message_id, op in messages[floor:]:
        joiner.take(message_id, op)
    if joiner.is_complete:
        assert dict(joiner.items(0.0)) == dict(whole.items(0.0))
    else:
        assert floor > 0


def test_a_line_with_a_cache_opens_again_on_another_event_loop(tmp_path: Path) -> None:
    line = Trunkline(f"sqlite:///{tmp_path}/line.db")
    cache = line.cache("frogs")

    async def count() -> int:
        async with line:
            await cache.set("count", cache.get("count", 0) + 1)
            return cache["count"]

    assert [asyncio.run(count()) for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize("steps", range(5))
async def test_whoever_waits_for_a_write_is_told_when_the_line_closes(steps: int) -> None:
    line = Trunkline("memory://")
    cache = line.cache("frogs")
    await line.open()
    cache["a"] = 1
    async with asyncio.timeout(10):
        async with asyncio.TaskGroup() as tasks:
            waits = (cache.flush(), cache.set("b", 2))
            told = [tasks.create_task(_told_closed(one)) for one in waits]
            for _ in range(steps):
                await asyncio.sleep(0)
            await line.close()
    assert all(one.done() for one in told)


async def _told_closed(wait) -> None:
    with contextlib.suppress(LineClosedError):
        await wait
