"""The NATS engine on three servers, while any one of them is killed."""

from __future__ import annotations

import asyncio

import pytest

from tests.log.nats_line import Ledger, opened
from trunkline.testing.contracts.support import whole_line
from trunkline.testing.nats_server import NatsCluster

pytestmark = pytest.mark.timeout(150)


async def read_along(log, stop, seen):
    """Read whenever woken, and write down what comes."""
    woken = asyncio.Event()
    cancel = log.watch(woken.set)
    after = 0
    while True:
        page = await log.read_all(after)
        assert page.floor == 0, "nothing was trimmed"
        seen.extend(page.records)
        after = page.upto
        if after >= page.head:
            if stop.is_set():
                break
            woken.clear()
            await woken.wait()
    cancel()


@pytest.mark.slow
async def test_any_one_server_of_three_may_be_killed():
    """Each is killed once, under publishers and a reader: nothing is lost, doubled or torn."""
    ledger = Ledger()
    seen, done = [], asyncio.Event()
    async with (
        NatsCluster() as cluster,
        opened(cluster.url) as log,
        opened(cluster.url) as other,
    ):
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(read_along(other, done, seen))
            publishing = [
                group.create_task(ledger.publish((log, other)[who % 2], who, pairs=who % 3 == 0))
                for who in range(8)
            ]
            for server in cluster.servers:
                await progress(ledger, 100)
                await server.kill9()
                await progress(ledger, 100)
                await server.restart()
            await progress(ledger, 100)
            ledger.stop.set()
            await asyncio.wait(publishing)
            done.set()
            await log.append([[]])
            async with asyncio.timeout(20.0):
                while len(seen) < (await log.last_ids([])).head:
                    await asyncio.sleep(0.05)
            reading.cancel()
        assert ledger.failed == []
        records = await whole_line(log)
        ledger.check(records)
        assert [one.global_id for one in seen] == [one.global_id for one in records]


async def progress(ledger, count):
    """Wait until so many more publishes were acknowledged, an election's time at most."""
    start = len(ledger.told)
    async with asyncio.timeout(29.0):
        while len(ledger.told) < start + count:
            await asyncio.sleep(0.01)
