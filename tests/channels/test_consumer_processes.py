"""Several processes share a consumer: one at a time, each message's effects once, whoever dies."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import signal
import sys

import asyncpg
import pytest

from tests.channels.consuming import caught_up, come_true, consuming, note, notes, until
from tests.store.databases import Ground
from trunkline.channels import consumer_ledger
from trunkline.store.lease import Lease
from trunkline.testing.postgres_server import PostgresServer

PATIENCE = 0.4  # seconds; for tests that need not be fair to a slow machine's holder


@contextlib.asynccontextmanager
async def process(*arguments):
    """Run a worker of ours; it is killed in the end."""
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.channels.consumer_worker",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            started.kill()
        await started.wait()


async def said(started):
    async with asyncio.timeout(60):
        line = await started.stdout.readline()
        return json.loads(line) if line else (await started.stderr.read()).decode()


def writing(ground):
    """Return a line with the workers' consumer."""
    line = ground.line()

    @line.consumer("c", "/a")
    async def write(message, tx):
        await tx.execute(note(ground), message.data)
        await tx.publish("/copies", message.data)

    return line


@pytest.fixture
def impatient(monkeypatch):
    """Take leases over from the dead sooner."""
    monkeypatch.setattr(consumer_ledger, "Lease", functools.partial(Lease, lasts=PATIENCE))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("step", ["called", "written", "moved", "committed"])
async def test_killed_at_any_step_effects_happen_once(ground, step):
    async with ground.line() as line:
        await line.publish_many([("/a", "1"), ("/a", "2"), ("/a", "3")])
    async with process("stop_at", ground.url, step) as started:
        assert await said(started) == [step]
        started.kill()
        await started.wait()
    assert await notes(ground) == (["1", "2", "3"] if step == "committed" else [])
    async with consuming(writing(ground)) as line:
        await line.publish("/a", "4")
        await sorted_out(line)
        assert [one.data for one in await line.backlog("/copies")] == ["1", "2", "3", "4"]
    assert await notes(ground) == ["1", "2", "3", "4"]


async def sorted_out(line) -> None:
    """Wait until everything is handled, what is tried by itself after a death included."""
    await caught_up(line, "c")

    async def is_empty() -> bool:
        return not await line.consumers.parked("c")

    await until(is_empty)


async def until_parked(ground, count) -> None:
    """Wait until nothing but so many messages is set aside."""
    async with ground.line() as line:

        async def is_settled() -> bool:
            return len(await line.consumers.parked("c")) == count

        await until(is_settled)


async def deposed(started):
    """Wait until a process says that it lost its lease."""
    async with asyncio.timeout(60):
        while line := (await started.stderr.readline()).decode():
            if "consumer:c" in line:
                return line
    return ""


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("ground", "takes_tx"),
    # On SQLite nobody can take over from one that froze inside a transaction, as the one writer.
    [("sqlite", "free"), ("postgres", "free"), ("postgres", "tx")],
    indirect=["ground"],
)
async def test_a_frozen_one_that_wakes_up_late_changes_nothing(ground, tmp_path, takes_tx):
    flag = tmp_path / "flag"
    async with ground.line() as line:
        await line.publish_many([("/a", "1"), ("/a", "2")])
    async with process("freeze", ground.url, str(flag), takes_tx) as frozen:
        assert await said(frozen) == ["within"]
        os.kill(frozen.pid, signal.SIGSTOP)
        async with consuming(writing(ground)) as line:
            await sorted_out(line)
            before = await line.consumers.show("c")
            flag.touch()
            os.kill(frozen.pid, signal.SIGCONT)
            assert "decided" in (told := await deposed(frozen)) or "taken over" in told
            after = await line.consumers.show("c")
            assert (after.position, after.moved_at) == (before.position, before.moved_at)
            await line.publish("/a", "3")
            await sorted_out(line)
    assert await notes(ground) == ["1", "2", "3"]


async def test_two_share_and_one_takes_over_when_the_other_dies(ground):
    names = ["relay", "consumer:c"]
    async with ground.line() as line, contextlib.AsyncExitStack() as stack:
        workers = []
        for _ in range(2):
            workers.append(await stack.enter_async_context(process("worker", ground.url)))
            assert await said(workers[-1]) == names
        await line.publish_many(("/a", f"{number:03}") for number in range(100))
        turns = {asyncio.create_task(said(one)): one for one in workers}
        done, waiting = await asyncio.wait(turns, return_when=asyncio.FIRST_COMPLETED)
        (first,) = done
        assert first.result() == ["000"]
        holder = turns[first]
        holder.kill()
        await line.publish_many(("/a", f"{number:03}") for number in range(100, 200))
        (heir,) = waiting
        await heir  # it took over
        await sorted_out(line)
        assert not any(task.result() in ([], "") for task in turns)
    assert await notes(ground) == [f"{number:03}" for number in range(200)]


async def test_a_server_that_is_killed_and_comes_back_changes_nothing():
    with PostgresServer() as server:
        connection = await asyncpg.connect(server.url)
        await connection.execute("CREATE TABLE note (text text)")
        await connection.close()
        ground = Ground("postgres", server.url, server.url, "$1")
        numbers = [f"{number:04}" for number in range(2000)]
        line = ground.line(max_backlog_size=None)
        seen = []

        @line.consumer("c", "/a")
        async def write(message, tx):
            await tx.execute(note(ground), message.data)
            seen.append(message.data)

        await line.publish_many(("/a", number) for number in numbers)
        async with consuming(line):
            for part in (300, 900):
                await come_true(lambda: len(set(seen)) >= part)  # noqa: B023 - used at once
                await asyncio.to_thread(server.kill9)
                await asyncio.to_thread(server.start)
            await sorted_out(line)
        assert await notes(ground) == numbers


@pytest.mark.parametrize("takes_tx", ["tx", "free"])
async def test_a_message_that_kills_its_process_is_parked_and_others_flow(ground, takes_tx):
    """Each life that a message ends counts as a try of it; others are handled once, in order."""
    before = [("/a", f"{number:02}") for number in range(30)]
    after = [("/a", "behind"), *(("/b", f"{number:02}") for number in range(30, 60))]
    async with ground.line() as line:
        await line.publish_many([*before, ("/a", "poison"), *after])
    tries = 0
    while True:
        async with process("die", ground.url, takes_tx) as started:
            told = []
            while isinstance(words := await said(started), list) and words != ["59"]:
                told += words
            tries += told.count("poison")
            if words == ["59"]:
                await until_parked(ground, 2)
                break
            assert told[-1:] == ["poison"], (told, words)
    assert tries == 1 + 3, "the first life, in which nobody was wary, and as many as retry says"
    async with ground.line() as line:
        parked = await line.consumers.parked("c")
    assert [(one.record.data, str(one.state)) for one in parked] == [
        (b'"poison"', "parked"),
        (b'"behind"', "behind"),
    ]
    assert "ended the process" in parked[0].error
    if takes_tx == "tx":
        assert await notes(ground) == [f"{number:02}" for number in range(60)]
