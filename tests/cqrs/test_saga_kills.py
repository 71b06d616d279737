"""Processes killed with signal 9 between any two moves of a saga.

What others did is taken back exactly once, in reverse, or all of it stands with the commit.
"""

from __future__ import annotations

import asyncio
import sys

import pytest

from tests.cqrs.saga_town import NAMES, Move, Record, town
from tests.store.databases import notes, until
from trunkline.cqrs import saga_wing
from trunkline.cqrs.saga_runner import Vigil

DID = [("did", name) for name in NAMES]
UNDID = [("undid", name) for name in reversed(NAMES)]

FORWARD = [
    *(f"{when} {name}" for name in NAMES for when in ("before", "called")),
    *(f"write {number}" for number in range(1, 7)),
    "decide",
    "projector",
    "settled",
]
BACKWARD = [
    *(f"undo called {name}" for name in NAMES),
    *(f"write {number}" for number in range(7, 12)),
]


@pytest.fixture
def record(tmp_path):
    return Record(tmp_path / "record")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Take over from the dead sooner."""
    monkeypatch.setattr(saga_wing, "Vigil", lambda: Vigil(0.3))


async def killed(ground, record, point, wish="fine"):
    """Send a command in a process that dies at a point."""
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.cqrs.saga_town", ground.url, str(record.path), point, wish),
        stderr=asyncio.subprocess.PIPE,
    )
    _, stderr = await asyncio.wait_for(started.communicate(), 60)
    assert started.returncode == -9, stderr.decode()


async def recovered(ground, record):
    """Start again, with a worker, and return the saga when it is at its end."""
    async with town(ground.line(), record) as line:
        line.start_services()

        async def is_final():
            return all(one.status in {"done", "undone"} for one in await line.sagas.list())

        await until(is_final)
        [saga] = await line.sagas.list()
        return saga


@pytest.mark.parametrize("point", FORWARD)
async def test_killed_before_the_commit_all_is_taken_back_once_in_reverse(ground, record, point):
    await killed(ground, record, point)
    saga = await recovered(ground, record)
    assert saga.status == "undone"
    did = [one for one in record.effects() if one[0] == "did"]
    undid = [one for one in record.effects() if one[0] == "undid"]
    assert did == DID[: len(did)]
    # A step that was on record, and perhaps never called, is taken back as well.
    assert undid == UNDID[3 - len(undid) :]
    assert len(did) <= len(undid) <= len(did) + 1
    assert len(record.all()) == len(record.effects()), "nobody was told twice"
    assert await notes(ground) == []


@pytest.mark.parametrize("point", BACKWARD)
async def test_killed_while_taking_back_the_rest_is_taken_back(ground, record, point):
    await killed(ground, record, point, "decide")
    saga = await recovered(ground, record)
    assert saga.status == "undone"
    assert record.effects() == DID + UNDID
    repeated = len(record.all()) - len(record.effects())
    assert repeated == (1 if point.startswith("undo called") else 0)


async def test_killed_after_the_commit_everything_stands(ground, record):
    await killed(ground, record, "returned")
    saga = await recovered(ground, record)
    assert saga.status == "done"
    assert record.effects() == DID
    assert await notes(ground) == ["h"]


async def test_the_same_key_sent_again_goes_on_with_what_is_done(ground, record):
    await killed(ground, record, "called b")
    async with town(ground.line(), record) as line:
        from trunkline.cqrs.saga_errors import SagaBusyError

        async def goes_through():
            try:
                await line.send(Move("h"), key="k")
            except SagaBusyError:
                return False
            return True

        await until(goes_through)
        [saga] = await line.sagas.list()
        assert saga.status == "done"
    assert record.effects() == DID
    assert [name for what, name, _ in record.all()] == ["a", "b", "b", "c"]
    assert await notes(ground) == ["h"]
