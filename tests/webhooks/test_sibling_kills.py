"""Killing a publisher's worker at any step loses no event, and a handler elsewhere has it once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.webhooks.services import come, pair
from tests.webhooks.sibling_worker import STEPS

ROOT = Path(__file__).parents[2]


@contextlib.asynccontextmanager
async def worker(url: str, step: str):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.webhooks.sibling_worker", url, step),
        cwd=ROOT,
        env={**os.environ},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@pytest.mark.parametrize("step", STEPS)
async def test_a_worker_killed_at_any_step_loses_no_event(ground, step) -> None:
    async with pair(ground) as (line, hearer, _):
        hearer.line.siblings.subscribe("school", "a", hearer.hear)
        await hearer.line.open(run_consumers=True)
        assert [one.status for one in await hearer.line.siblings.register()] == [201]
        await line.close()  # the worker is another process; only the URL is served here
        async with worker(ground.url, step) as process:
            async with asyncio.timeout(30):
                assert await process.wait() == -signal.SIGKILL
        await line.open()
        database = line._store.database
        table = f"{database.schema}trunkline_transmissions"
        async with database.transaction() as tx:  # what a dead one held is free at once
            await tx.execute(f"UPDATE {table} SET due_at = 0 WHERE state = 'sending'")
        async with worker(ground.url, "none"):
            await come(lambda: hearer.heard)

            async def counts() -> dict[str, int]:
                return await line.transmissions.counts()

            async with asyncio.timeout(15):
                while (await counts()).get("sent") != 1:
                    await asyncio.sleep(0.01)
        assert [event.id for event in hearer.heard] == ["event-1"]
        [one] = await line.transmissions.list()
        attempts = await line.transmissions.attempts(one.id)
        assert [each.outcome for each in attempts].count("delivered") == 1
