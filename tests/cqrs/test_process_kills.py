"""Processes killed with signal 9 between any two moves of a process manager.

After a restart every instance comes to its end, and what it wants happens once: what was not
committed is done again, what was committed is never done twice.
"""

from __future__ import annotations

import asyncio
import sys

import msgspec
import pytest

from tests.cqrs.process_town import town
from tests.store.databases import notes, until
from trunkline.store.lease import Lease

CONSUMERS = ("commands.main", "main.process-brewing")
#: Before an event's move is stored: its function, its state, its timers, its command, its end.
BEGINNING = ["react begun", "saved 1", "set 1", "set 2", "enqueued 1", "heard 1"]
#: After it is stored, with a timer due that has not gone off when the process is dead.
DUE = ["due 1", "tell begun"]
#: Before and after a timer's move is stored, and the deadline's.
TIMER = ["taken 1", "react reminded", "saved 2", "enqueued 2", "went off 1", "tell reminded"]
DEADLINE = ["taken 2", "react late", "saved 3", "enqueued 3", "went off 2", "tell late"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Take over from the dead sooner."""
    monkeypatch.setitem(Lease.__init__.__kwdefaults__, "lasts", 0.3)


async def killed(ground, point):
    """Begin an instance in a process that dies at a point."""
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.cqrs.process_town", ground.url, point),
        stderr=asyncio.subprocess.PIPE,
    )
    _, stderr = await asyncio.wait_for(started.communicate(), 60)
    assert started.returncode == -9, stderr.decode()


async def told(line):
    """Return what the events say that commands told, in order."""
    page = await line._log.read_all(0, interest=None)
    found = [msgspec.json.decode(record.data) for record in page.records]
    headers = [msgspec.json.decode(record.headers or b"{}") for record in page.records]
    return [
        one["what"]
        for one, header in zip(found, headers, strict=True)
        if header.get("name") == "tea.green.told"
    ]


@pytest.mark.parametrize("point", [*BEGINNING, *DUE, *TIMER, *DEADLINE])
async def test_killed_anywhere_it_comes_to_its_end_once(ground, point):
    await killed(ground, point)
    async with town(ground.line()) as line:
        line.start_services()

        async def is_over():
            # What a try has ended is set aside while it is tried again, and a bit longer.
            return len(await told(line)) >= 3 and not any(
                [await line.consumers.parked(name) for name in CONSUMERS]
            )

        await until(is_over)
        for name in CONSUMERS:
            await line.consumers.caught_up(name)
        assert sorted(await told(line)) == ["begun", "late", "reminded"]
        assert await notes(ground) == ["begun", "late", "reminded"]
        [instance] = await line.processes.list("brewing")
        assert instance.status == "ended"
        assert msgspec.json.decode(instance.state) == {"tea": "green", "reminders": 1}
        assert await (await line.processes._table()).timers("brewing", "green") == []
