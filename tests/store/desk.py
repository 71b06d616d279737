"""A store that the tests drive by hand, with a log in memory beside it."""

from __future__ import annotations

import pytest

from trunkline.log.memory import MemoryLog
from trunkline.log.retention import Retention
from trunkline.model.channel import ChannelKey
from trunkline.model.message import Draft, Limits
from trunkline.sql.opening import place_of
from trunkline.store.envelope import seal
from trunkline.store.lease import Lease
from trunkline.store.outbox import Outbox
from trunkline.store.schema import migrate
from trunkline.store.transfer import NotedTransfer
from trunkline.testing.clock import ManualClock


def draft(data, name="/a", **options):
    return Draft(channel=ChannelKey(name), data=b"%d" % data, **options)


class Desk:
    """Be a store in a database, with a log elsewhere, driven by hand."""

    def __init__(self, database, outbox, clock):
        self.database = database
        self.outbox = outbox
        self.clock = clock
        self.log = MemoryLog.from_url(
            "memory://", retention=Retention(Limits(None, None)), clock=clock, options={}
        )

    def lease(self):
        return Lease(self.database, "relay", clock=self.clock)

    async def transfer(self, log=None):
        lease = self.lease()
        await take(lease, self.clock)
        return NotedTransfer(
            self.outbox, log or self.log, lease, clock=self.clock, receipt_age=86400.0
        )

    async def leave(self, *transactions):
        """Leave transactions of sealed messages, each under a commit of its own."""
        for number, rows in enumerate(transactions):
            async with self.database.transaction() as tx:
                for row in rows:
                    sealed = row if isinstance(row, bytes) else seal(row)
                    if tx.dialect == "sqlite":
                        await tx.execute(
                            "INSERT INTO trunkline_outbox (token, draft) VALUES (?, ?)",
                            f"t{number}",
                            sealed,
                        )
                    else:
                        table = f"{self.database.schema}trunkline_outbox"
                        await tx.execute(f"INSERT INTO {table} (draft) VALUES ($1)", sealed)

    async def data(self, name="/a"):
        page = await self.log.read(ChannelKey(name), 0, 10_000)
        return [int(record.data) for record in page.records]


async def take(lease, clock):
    """Take a lease, waiting for a dead holder's as long as it takes by the clock."""
    while not await lease.try_acquire():
        clock.advance(1.0)


@pytest.fixture
async def desk(ground):
    clock = ManualClock()
    database = await place_of(ground.url).open()
    desk = Desk(database, Outbox(database, await migrate(database)), clock)
    await desk.log.open()
    yield desk
    await desk.log.close()
    await database.close()
