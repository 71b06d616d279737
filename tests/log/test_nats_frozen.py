"""The NATS engine on three servers, one of which hangs: the others answer in its place."""

from __future__ import annotations

import asyncio

import pytest

from tests.log.nats_line import draft, opened
from trunkline.log.nats.jetstream import READ_PATIENCE
from trunkline.testing.contracts.support import append, message_ids, whole_channel
from trunkline.testing.faults import freeze, thaw
from trunkline.testing.nats_server import NatsCluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]

COUNT = 50
READS = 30
LANES = 20


@pytest.fixture(scope="module")
async def cluster():
    async with NatsCluster() as cluster:
        yield cluster


@pytest.mark.parametrize("which", [1, 2])
async def test_reads_pass_by_a_server_that_hangs(cluster, which):
    """Requests that a hanging replica was given are answered by another one, each in good time."""
    mine = cluster.servers[0]
    async with opened(mine.url, line=f"frozen{which}", replicas=3) as log:
        await append(log, *([draft("/a", number)] for number in range(COUNT)))
        freeze(cluster.servers[which].pid)
        try:
            await append(log, [draft("/a", "and on")])  # there is a leader again
            # Were each request that it was given waited for, this alone would take minutes.
            async with asyncio.timeout(READ_PATIENCE * READS / 3):
                for _ in range(READS):
                    page = await log.read_all(COUNT - 10, 5)
                    assert message_ids(page.records) == list(range(COUNT - 9, COUNT - 4))
        finally:
            thaw(cluster.servers[which].pid)


@pytest.mark.parametrize("size", [10, 900_000], ids=["small", "more than the network holds"])
async def test_a_client_of_a_server_that_hangs_goes_to_another(cluster, size):
    """The server that a line is connected to hangs: it goes on with another, and loses nothing."""
    line, data = f"moving{size}", "x" * size
    async with opened(cluster.url, line=line) as log, opened(cluster.url, line=line) as own:
        await append(log, [draft("/a", 0)])
        for server in cluster.servers:
            freeze(server.pid)
            try:
                async with asyncio.TaskGroup() as group:
                    for number in range(LANES):
                        group.create_task(append(log, [draft(f"/{number}", data)]))
                page = await own.read_all(0)
                assert page.records
            finally:
                thaw(server.pid)
        await heard_of(own, 1 + 3 * LANES)
        for number in range(LANES):
            ids = message_ids(await whole_channel(own, f"/{number}"))
            assert ids == [1, 2, 3]
        assert (await own.last_ids([])).head == 1 + 3 * LANES


async def heard_of(log, head):
    """Wait for replicas that hung to have caught up: until then a reader is given less."""
    async with asyncio.timeout(30):
        while (await log.last_ids([])).head < head or (await log.read_all(head - 1)).head < head:
            await asyncio.sleep(0.01)
