"""What the tests of the delivery share: a store with rows in it, and a courier at work."""

from __future__ import annotations

import contextlib
import json
import random
import time
from functools import partial

import msgspec

from tests.store.databases import SECONDS, until
from trunkline.runtime.clock import SystemClock
from trunkline.runtime.crew import Crew
from trunkline.runtime.loops import supervise
from trunkline.sql.database import Dialect
from trunkline.sql.opening import place_of
from trunkline.store.schema import migrate
from trunkline.webhooks.attempting import Attempting
from trunkline.webhooks.courier import Courier
from trunkline.webhooks.delivery_options import DeliveryOptions
from trunkline.webhooks.delivery_table import DeliveryTable
from trunkline.webhooks.guard import Egress
from trunkline.webhooks.outgoing import Outgoing, one_by_one
from trunkline.webhooks.outlet import Outlet
from trunkline.wire.signature import SigningKey

LOOPBACK = Egress(http=True, networks=("127.0.0.0/8",))
KEY = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
COUNT = "SELECT count(*) FROM {p}trunkline_transmissions WHERE {where}"


class Post:
    """Be a store with endpoints and transmissions, and couriers for it."""

    def __init__(self, database) -> None:
        self.database = database
        self.clock = SystemClock()
        self.notices: list = []
        self.urls: dict[str, str] = {}
        self.prepared: list = []
        self.numbers = iter(range(1, 10**9))

    def sql(self, statement: str) -> str:
        statement = statement.replace("{p}", self.database.schema)
        if self.database.dialect is Dialect.POSTGRES:
            parts = statement.split("?")
            statement = parts[0] + "".join(f"${n}{part}" for n, part in enumerate(parts[1:], 1))
        return statement

    async def run(self, statement: str, *values):
        async with self.database.transaction() as tx:
            return await tx.execute(self.sql(statement), *values)

    async def rows(self, statement: str, *values):
        return [
            dict(zip(row.keys(), row, strict=True))
            for row in await self.database.fetch(self.sql(statement), *values)
        ]

    async def endpoint(self, name: str, url: str, *, tenant: str = "", **options) -> str:
        self.urls[name] = url
        now = self.clock.now()
        await self.run(
            "INSERT INTO {p}trunkline_endpoint (id, tenant, url, options, created_at, updated_at) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            name,
            tenant,
            url,
            json.dumps(options),
            now,
            now,
        )
        return name

    async def queue(self, endpoint: str, count: int = 1, **values) -> list[str]:
        now = self.clock.now()
        row = {
            "endpoint_id": endpoint,
            "tenant": '["account",1]',
            "account_type": "account",
            "account_id": "1",
            "signal_name": "lesson",
            "signal_class": "LessonSignal",
            "action": "updated",
            "object_id": "4",
            "context": "{}",
            "due_at": now,
            "created_at": now,
            **values,
        }
        columns = ", ".join(["id", *row])
        marks = ", ".join("?" * (len(row) + 1))
        ids = [f"msg_{next(self.numbers)}" for _ in range(count)]
        async with self.database.transaction() as tx:
            await tx.execute_many(
                self.sql(f"INSERT INTO {{p}}trunkline_transmissions ({columns}) VALUES ({marks})"),
                [(one, *row.values()) for one in ids],
            )
        return ids

    async def state(self, ident: str):
        return (await self.rows("SELECT * FROM {p}trunkline_transmissions WHERE id = ?", ident))[0]

    async def attempts(self, ident: str):
        return await self.rows(
            "SELECT * FROM {p}trunkline_attempts WHERE transmission_id = ? ORDER BY seq", ident
        )

    async def count(self, where: str) -> int:
        return (
            await self.rows(f"SELECT count(*) AS n FROM {{p}}trunkline_transmissions WHERE {where}")
        )[0]["n"]

    async def all_are(self, state: str) -> None:
        async def they_are() -> bool:
            return await self.count(f"state <> '{state}'") == 0

        await until(they_are)

    async def prepare(self, sent) -> Outgoing:
        self.prepared.append(sent)
        body = json.dumps({"action": sent.action, "id": sent.id}).encode()
        return Outgoing(
            url=self.urls[sent.endpoint_id],
            body=body,
            headers={"Content-Type": "application/json"},
            secrets=(SigningKey.read(KEY),),
        )

    def courier(self, *, prepare=None, hook=None, session=None, owner="one", **options) -> Courier:
        given = DeliveryOptions(egress=LOOPBACK, **options)
        outlet = Outlet(
            given.egress, hook=hook, session=session, response_bytes=given.response_bytes
        )

        async def notify(notice) -> None:
            self.notices.append(notice)

        return Courier(
            DeliveryTable(self.database, owner),
            Attempting(outlet, self.clock, chance=random.Random(1), keep_bodies=given.keep_bodies),
            prepare=one_by_one(prepare or self.prepare),
            options=given,
            clock=self.clock,
            notify=notify,
        )

    @contextlib.asynccontextmanager
    async def working(self, courier=None, **options):
        """Run a courier until the block ends."""
        courier = courier or self.courier(**options)
        crew = Crew("post")
        await crew.open()
        crew.start("webhooks", partial(supervise, "webhooks", courier.run), finishes=True)
        try:
            yield courier
        finally:
            courier.stop()
            await crew.close(grace=3.0)
            await courier.close()


async def come_true(holds) -> None:
    """Wait until a plain condition holds."""
    import asyncio

    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.002)


@contextlib.asynccontextmanager
async def posting(ground):
    """Open a store of its own."""
    database = await place_of(ground.url).open()
    try:
        await migrate(database)
        yield Post(database)
    finally:
        await database.close()


def decoded(row, name):
    return msgspec.json.decode(row[name])
