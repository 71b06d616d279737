"""Messages that a consumer could not handle, and those that wait behind one with the same key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from trunkline.model.channel import ChannelKey
from trunkline.model.message import Record
from trunkline.sql.database import Database
from trunkline.store.consumer_statements import consumer_statements
from trunkline.store.consumer_table import Session


class ParkedState(StrEnum):
    """Say what a parked message waits for."""

    RETRYING = "retrying"
    #: An operator's word.
    PARKED = "parked"
    #: The message of the same key before it.
    BEHIND = "behind"


class ParkedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """Be a message that is set aside, whole, because the log may trim it.

    Args:
        seq: Its number, by which operators name it; 0 before it has one.
        key: Messages with the same key keep their order.
        epoch: The line's epoch when it was read.
        record: The message.
        attempts: How often the handler failed; 0 behind another one.
        error: What it raised last.
        due_at: When it is tried again, Unix seconds; None for not by itself.
        parked_at: Since when it is set aside, Unix seconds.
    """

    seq: int = 0
    key: str
    epoch: str
    record: Record
    attempts: int = 0
    error: str = ""
    due_at: float | None = None
    parked_at: float

    @property
    def state(self) -> ParkedState:
        """Tell what it waits for."""
        if self.due_at is not None:
            return ParkedState.RETRYING
        return ParkedState.PARKED if self.attempts else ParkedState.BEHIND


class Aside(NamedTuple):
    """Say how it stands with a message that is set aside.

    Args:
        attempts: How often it was tried.
        error: What it raised last.
        is_final: Whether it waits for an operator.
    """

    attempts: int
    error: str
    is_final: bool


class ParkedTable:
    """Read and write parked messages.

    Args:
        database: Where, its tables in place.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = consumer_statements(database.dialect, database.schema)

    async def keys(self, consumer: str) -> set[str]:
        """Return the keys whose messages must wait."""
        return {row[0] for row in await self._database.fetch(self._sql.keys, consumer)}

    async def count(self, consumer: str) -> int:
        """Count a consumer's parked messages, those behind others too."""
        return int((await self._database.fetch(self._sql.count, consumer))[0][0])

    async def aside(self, consumer: str, epoch: str, positions: Sequence[int]) -> Aside | None:
        """Say how it stands with messages if one of them is set aside; None if none is.

        Args:
            consumer: Whose.
            epoch: The line's.
            positions: Global ids, ascending.
        """
        between = (consumer, epoch, positions[0], positions[-1])
        rows = await self._database.fetch(self._sql.aside, *between)
        found = [row for row in rows if row[0] in positions]
        if not found:
            return None
        failed = [row for row in found if row[1] and row[3] is None]
        _, attempts, error, due_at = (failed or found)[0]
        return Aside(attempts=attempts, error=error, is_final=bool(attempts) and due_at is None)

    async def has_key(self, consumer: str, key: str) -> bool:
        """Tell whether a message of a key is parked."""
        return bool(await self._database.fetch(self._sql.has_key, consumer, key))

    async def due(self, consumer: str, now: float, limit: int) -> list[ParkedMessage]:
        """Return messages that may be tried now, the first of their key each."""
        return list(map(_message, await self._database.fetch(self._sql.due, consumer, now, limit)))

    async def next_due(self, consumer: str) -> float | None:
        """Return when the next message may be tried, Unix seconds, or None for never."""
        found: float | None = (await self._database.fetch(self._sql.next_due, consumer))[0][0]
        return found

    async def listing(
        self, consumer: str, *, after: int = 0, limit: int = 1000
    ) -> list[ParkedMessage]:
        """Return parked messages in the order they were parked, after a number."""
        rows = await self._database.fetch(self._sql.parked, consumer, after, limit)
        return list(map(_message, rows))

    async def park(self, tx: Session, consumer: str, messages: Iterable[ParkedMessage]) -> None:
        """Set messages aside; one that is there already stays as it is."""
        rows = [(consumer, *_values(one)) for one in messages]
        if rows:
            await tx.execute_many(self._sql.park, rows)

    async def put_off(self, tx: Session, consumer: str, one: ParkedMessage) -> None:
        """Note that a message failed again."""
        await tx.execute(self._sql.put_off, one.attempts, one.error, one.due_at, consumer, one.seq)

    async def remove(self, tx: Session, consumer: str, one: ParkedMessage) -> None:
        """Remove a message that was handled, and let the next of its key try."""
        await tx.execute(self._sql.drop, consumer, one.seq)
        await tx.execute(self._sql.promote, consumer, one.key)

    async def retry(self, tx: Session, consumer: str, seq: int) -> bool:
        """Have a message tried again at once; tell whether it is the first of its key."""
        key = await self._key(tx, consumer, seq)
        if key is None:
            return False
        return bool(await tx.execute(self._sql.retry, seq, consumer, key))

    async def skip(self, tx: Session, consumer: str, seq: int) -> bool:
        """Remove a message unhandled, for the next of its key to try; tell whether it was there."""
        key = await self._key(tx, consumer, seq)
        if key is None:
            return False
        await tx.execute(self._sql.drop, consumer, seq)
        await tx.execute(self._sql.promote, consumer, key)
        return True

    async def _key(self, tx: Session, consumer: str, seq: int) -> str | None:
        rows = await tx.fetch(self._sql.find_key, consumer, seq)
        return rows[0][0] if rows else None


def _values(one: ParkedMessage) -> tuple[Any, ...]:
    record = one.record
    return (
        one.key,
        one.epoch,
        record.global_id,
        record.channel.site_id or "",
        record.channel.name,
        record.message_id,
        record.published_at,
        record.data,
        record.audience,
        record.headers,
        one.attempts,
        one.error,
        one.due_at,
        one.parked_at,
    )


def _message(row: Any) -> ParkedMessage:
    seq, key, epoch, global_id, site_id, name, message_id, published_at = tuple(row)[:8]
    data, audience, headers, attempts, error, due_at, parked_at = tuple(row)[8:]
    return ParkedMessage(
        seq=seq,
        key=key,
        epoch=epoch,
        record=Record(
            channel=ChannelKey(name, site_id or None),
            message_id=message_id,
            global_id=global_id,
            published_at=published_at,
            data=bytes(data),
            audience=None if audience is None else bytes(audience),
            headers=None if headers is None else bytes(headers),
        ),
        attempts=attempts,
        error=error,
        due_at=due_at,
        parked_at=parked_at,
    )
