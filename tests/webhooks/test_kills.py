"""Killing worker, database or both at any step loses nothing, and changes no delivery id."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.store.databases import Ground
from tests.webhooks.courier_worker import FREE, REPEATED, STEPS, striking
from tests.webhooks.posting import posting
from tests.webhooks.receiving import answers, one_after_another, receiving
from trunkline.testing.postgres_server import PostgresServer, given_url

ROOT = Path(__file__).parents[2]

kills_postgres = pytest.mark.skipif(given_url() is not None, reason="it kills a server of its own")


@pytest.fixture(scope="module")
def server():
    """Run a PostgreSQL that may be killed; each test has a schema of its own there."""
    with PostgresServer() as found:
        yield found


@pytest.fixture
def mortal(server):
    if not server.is_running():
        server.start()
    schema = f"kills_{secrets.token_hex(6)}"
    return Ground("postgres", f"{server.url}?schema={schema}", server.url, "$1")


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


def strikes_once(strike):
    """Return a receiver's behaviour: strike while the first request awaits its answer."""

    async def first(request):
        await strike("sent")
        return await answers(200)(request)

    return one_after_another(first, answers(200))


async def die(receiver, ground, step) -> None:
    """Have a worker begin to deliver, and die at a step."""
    url = receiver.url()
    async with worker(ground, url, step) as process:

        async def kill(_) -> None:
            process.kill()

        if step == "sent":
            receiver.behave["/"] = strikes_once(kill)
        await asyncio.wait_for(process.wait(), 30)
        assert process.returncode == -signal.SIGKILL


async def check_repeated(post, receiver, ident, step) -> None:
    """See that it was sent again only where nobody knew of it, and under its own id."""
    ids = {one.headers["webhook-id"] for one in receiver.requests}
    assert ids == {ident}
    assert len(receiver.requests) == (2 if step in REPEATED else 1)
    outcomes = [one["outcome"] for one in await post.attempts(ident)]
    assert outcomes == (["delivered"] if step in FREE else ["lost", "delivered"])
    numbers = [one.headers["webhook-attempt"] for one in receiver.requests]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("step", STEPS)
async def test_a_worker_killed_at_any_step_loses_nothing(ground, step) -> None:
    async with receiving() as receiver, posting(ground) as post:
        await post.endpoint("e", receiver.url())
        (ident,) = await post.queue("e")
        await die(receiver, ground, step)

        async with worker(ground, receiver.url(), "none"):
            await post.all_are("sent")

        await check_repeated(post, receiver, ident, step)


@pytest.mark.slow
@kills_postgres
@pytest.mark.parametrize("step", STEPS)
async def test_a_worker_and_its_database_killed_at_any_step_lose_nothing(
    mortal, server, step
) -> None:
    async with receiving() as receiver:
        async with posting(mortal) as post:
            await post.endpoint("e", receiver.url())
            (ident,) = await post.queue("e")
        await die(receiver, mortal, step)
        await asyncio.to_thread(server.kill9)
        await asyncio.to_thread(server.start)

        async with posting(mortal) as post, worker(mortal, receiver.url(), "none"):
            await post.all_are("sent")
            await check_repeated(post, receiver, ident, step)


@pytest.mark.slow
@kills_postgres
@pytest.mark.parametrize("step", STEPS)
async def test_a_database_killed_at_any_step_loses_nothing(mortal, server, step) -> None:
    async with receiving() as receiver, posting(mortal) as post:
        await post.endpoint("e", receiver.url())
        idents = await post.queue("e", 5)
        left = [step]

        async def strike(now) -> None:
            if now in left:
                left.clear()
                await asyncio.to_thread(server.kill9)

        if step == "sent":
            receiver.behave["/"] = strikes_once(strike)
        async with post.working(striking(post, strike)):
            async with asyncio.timeout(30):
                while left or server.is_running():
                    await asyncio.sleep(0.01)
            await asyncio.to_thread(server.start)
            await post.all_are("sent")

        sends = Counter(one.headers["webhook-id"] for one in receiver.requests)
        assert set(sends) == set(idents)
        assert sends.total() <= 2 * len(idents)
        numbered = {
            (one.headers["webhook-id"], one.headers["webhook-attempt"]) for one in receiver.requests
        }
        assert len(numbered) == sends.total()  # one that is sent again says so
        for ident in idents:
            outcomes = [one["outcome"] for one in await post.attempts(ident)]
            assert outcomes.count("delivered") == 1
