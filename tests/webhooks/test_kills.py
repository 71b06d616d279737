"""Killing the worker or the database at any step loses nothing, and changes no delivery id."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.store.databases import Ground
from tests.webhooks.courier_worker import STEPS
from tests.webhooks.posting import posting
from tests.webhooks.receiving import receiving
from trunkline.testing.postgres_server import PostgresServer, given_url

ROOT = Path(__file__).parents[2]


@contextlib.asynccontextmanager
async def worker(ground, url, step):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.webhooks.courier_worker",
        ground.url,
        url,
        step,
        cwd=ROOT,
        env={**os.environ},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


@pytest.mark.parametrize("step", STEPS)
async def test_a_worker_killed_at_any_step_loses_nothing(ground, step) -> None:
    async with receiving() as receiver, posting(ground) as post:
        url = receiver.url()
        await post.endpoint("e", url)
        (ident,) = await post.queue("e")
        async with worker(ground, url, step) as process:
            await asyncio.wait_for(process.wait(), 30)
            assert process.returncode == -signal.SIGKILL

        async with worker(ground, url, "none"):
            await post.all_are("sent")

        ids = {one.headers["webhook-id"] for one in receiver.requests}
        assert ids == {ident}
        assert len(receiver.requests) == (2 if step in {"answered", "recording"} else 1)
        outcomes = [one["outcome"] for one in await post.attempts(ident)]
        assert outcomes[-1] == "delivered"
        assert outcomes.count("delivered") == 1
        numbers = [one.headers["webhook-attempt"] for one in receiver.requests]
        assert len(set(numbers)) == len(numbers)


@pytest.mark.slow
@pytest.mark.skipif(given_url() is not None, reason="it kills a server of its own")
@pytest.mark.parametrize("step", ["claimed", "prepared", "answered", "recording"])
async def test_a_database_killed_at_any_step_loses_nothing(step) -> None:
    with PostgresServer() as server:
        ground = Ground("postgres", server.url, server.url, "$1")
        async with receiving() as receiver, posting(ground) as post:
            await post.endpoint("e", receiver.url())
            idents = await post.queue("e", 5)
            steps = [step]

            async def strike(now) -> None:
                if now in steps:
                    steps.clear()
                    await asyncio.to_thread(server.kill9)

            async def prepare(sent):
                await strike("claimed")
                return await post.prepare(sent)

            async def hook(call, send):
                await strike("prepared")
                answer = await send(call)
                await strike("answered")
                return answer

            courier = post.courier(prepare=prepare, hook=hook, lease=1.0)
            record = courier._table.record

            async def recording(tx, outcomes, now):
                done = await record(tx, outcomes, now)
                await strike("recording")
                return done

            courier._table.record = recording
            async with post.working(courier):
                async with asyncio.timeout(30):
                    while steps:
                        await asyncio.sleep(0.01)
                await asyncio.to_thread(server.start)
                await post.all_are("sent")

            assert {one.headers["webhook-id"] for one in receiver.requests} == set(idents)
            for ident in idents:
                outcomes = [one["outcome"] for one in await post.attempts(ident)]
                assert outcomes.count("delivered") == 1
