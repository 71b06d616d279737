"""A host with lessons: what its signals are, and how tests look at what they queue."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any, ClassVar

import msgspec

from trunkline.webhooks.outgoing import Transmission, WithdrawnError
from trunkline.webhooks.signal import Signal

SECONDS = 15.0


class Lesson:
    """A lesson in a table that lives in memory."""

    table: ClassVar[dict[Any, Lesson]] = {}
    reads = 0

    def __init__(self, ident: Any, name: str) -> None:
        self.id = ident
        self.name = name

    @classmethod
    def find(cls, ident: Any) -> Lesson:
        cls.reads += 1
        return cls.table[ident]

    @classmethod
    def save(cls, ident: Any, name: str) -> Lesson:
        cls.table[ident] = found = cls(ident, name)
        return found


class LessonSignal(Signal):
    object_class = Lesson
    signal_name = "lesson"

    async def payload(self):
        lesson = await self.load()
        return {"company_id": self.account_id, "lesson": {"id": lesson.id, "name": lesson.name}}

    async def destroyed_payload(self):
        return {"context": self.context}

    def archived_context(self):
        return {"name": self.object.name}

    async def archived_payload(self):
        return {"was": self.context["name"]}


class Mailbox:
    """Take what is queued as the delivery does: claim, then prepare, then read."""

    def __init__(self, line) -> None:
        self.line = line
        self.line.webhooks.attach(self)
        self.transmitted: list[str] = []
        self.pokes = 0

    def poke(self) -> None:
        self.pokes += 1

    async def transmit(self, ids) -> None:
        self.transmitted += ids

    async def claim(self) -> list[Transmission]:
        """Claim all that is queued."""
        rows = await self.line.transmissions.list(state="queued", limit=1000)
        async with self.line.transaction() as tx:
            for row in rows:
                table = "trunkline_transmissions"
                table = table if tx.dialect == "sqlite" else f"{self.schema}.{table}"
                await tx.execute(f"UPDATE {table} SET state = 'sending' WHERE seq = {row.seq}")
        return [_claimed(row) for row in reversed(rows)]

    @property
    def schema(self) -> str:
        return self.line.settings.log.partition("schema=")[2]

    async def prepare(self, claims) -> list[Any]:
        """Prepare claimed transmissions: what goes out, or the error."""
        prepare = await self.line.webhooks.look_up(claims)
        outcomes = []
        for one in claims:
            try:
                outcomes.append(await prepare(one))
            except Exception as error:  # noqa: BLE001 - it is what tests look at
                outcomes.append(error)
        return outcomes

    async def take(self) -> list[Any]:
        """Claim and prepare, and return bodies by endpoint: ``(app_id, body)``."""
        claims = await self.claim()
        found = []
        for claim, outcome in zip(claims, await self.prepare(claims), strict=True):
            if isinstance(outcome, WithdrawnError):
                continue
            if isinstance(outcome, Exception):
                raise outcome
            found.append((claim.app_id, msgspec.json.decode(outcome.body)))
        return found


def _claimed(row) -> Transmission:
    from trunkline.webhooks.keys import key_text

    account = key_text(row.account_id)
    return Transmission(
        seq=row.seq,
        id=row.id,
        endpoint_id=row.endpoint_id,
        app_id=row.app_id,
        tenant=account,
        account_type=row.account_type,
        account_id=account,
        signal_name=row.signal_name,
        signal_class=row.signal_class,
        action=row.action,
        object_id=None if row.object_id is None else key_text(row.object_id),
        context=msgspec.json.encode(row.context).decode(),
        body=None,
        order_key=row.order_key,
        attempts=row.attempts,
        lease_epoch=1,
        due_at=row.due_at or 0.0,
        created_at=row.created_at,
        expires_at=None,
    )


@contextlib.asynccontextmanager
async def school(ground, *signals, **settings):
    """Open a line that knows signals, and resolve what they fire; yields line and mailbox."""
    Lesson.table, Lesson.reads = {}, 0
    line = ground.line(webhooks=settings, close_grace=0.5)
    for cls in signals or (LessonSignal,):
        line.webhooks.declare(cls)
    await line.open(run_consumers=True)
    mailbox = Mailbox(line)
    try:
        yield line, mailbox
    finally:
        await line.close()


async def installed(line, *accounts, signals=("lesson",), name="App", **fields):
    """Make an app and install it on accounts."""
    fields.setdefault("signal_url", "https://app.example.com/hook")
    app = await line.apps.create(name, signals=signals, **fields)
    for account in accounts:
        await line.connections.connect(app.id, account_id=account)
    return app


async def resolved(line) -> None:
    """Wait until all that was fired is resolved."""
    async with asyncio.timeout(SECONDS):
        await _until_relayed(line)
        await line.consumers.caught_up("trunkline.signals")


async def _until_relayed(line) -> None:
    deadline = time.monotonic() + SECONDS
    while await line._store.outbox.has_rows():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.002)
