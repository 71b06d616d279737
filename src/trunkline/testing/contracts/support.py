"""What the contract's tests say often: drafts, appends that must succeed, whole readings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from trunkline.errors import TrunklineError
from trunkline.log.port import Log
from trunkline.log.retention import Retention
from trunkline.model import codec
from trunkline.model.channel import ChannelKey, Kind
from trunkline.model.interest import Interest
from trunkline.model.message import Draft, Receipt, Record
from trunkline.runtime.clock import Clock

DEADLINE = 10.0


class OpenLog(Protocol):
    """Open a handle on the test's own line."""

    async def __call__(self, retention: Retention | None = None, clock: Clock | None = None) -> Log:
        """Return an open log; the fixture closes it."""


def plain(name: str, data: Any = None, *, site: str | None = None, **options: Any) -> Draft:
    """Return a draft for a plain channel.

    Args:
        name: The channel's name.
        data: Anything JSON can carry.
        site: The channel's site.
        options: More fields of :class:`Draft`.
    """
    return Draft(channel=ChannelKey(name, site), data=codec.encode(data), **options)


def stream(name: str, data: Any, expected_version: int, **options: Any) -> Draft:
    """Return a draft for a stream."""
    return plain(name, data, kind=Kind.STREAM, expected_version=expected_version, **options)


def versioned(log: Log, data: Any, expected_version: int, **options: Any) -> Draft:
    """Return a draft under an expected version: for a stream, where the engine keeps them."""
    if log.keeps_streams:
        return stream("/stream/t/1", data, expected_version, **options)
    return plain("/t/1", data, expected_version=expected_version, **options)


def drafts(name: str, count: int, **options: Any) -> list[list[Draft]]:
    """Return groups of one draft each, with data 1, 2, 3 and so on."""
    return [[plain(name, number, **options)] for number in range(1, count + 1)]


async def append(log: Log, *groups: Sequence[Draft]) -> list[Receipt]:
    """Append groups that must all succeed, and return the receipts in a row."""
    receipts: list[Receipt] = []
    for outcome in await log.append(groups):
        if isinstance(outcome, TrunklineError):
            raise outcome
        receipts.extend(outcome)
    return receipts


async def refused(log: Log, *group: Draft) -> TrunklineError:
    """Append one group that must be refused, and return why it was."""
    (outcome,) = await log.append([group])
    assert isinstance(outcome, TrunklineError), f"it was stored: {outcome}"
    return outcome


async def whole_channel(log: Log, name: str, *, site: str | None = None) -> list[Record]:
    """Read all of a channel, page by page."""
    records: list[Record] = []
    after = 0
    while True:
        page = await log.read(ChannelKey(name, site), after)
        records.extend(page.records)
        if page.upto >= page.head:
            return records
        assert page.upto > after, "a page that moves nobody on would be asked for for ever"
        after = page.upto


async def whole_line(
    log: Log, interest: Interest | None = None, *, after: int = 0, limit: int = 1000
) -> list[Record]:
    """Read all of the line that is wanted, page by page."""
    records: list[Record] = []
    while True:
        page = await log.read_all(after, limit, interest)
        assert len(page.records) <= limit
        records.extend(page.records)
        if page.upto >= page.head:
            return records
        assert page.upto > after, "a page that moves nobody on would be asked for for ever"
        after = page.upto


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something holds, and fail after a deadline."""
    async with asyncio.timeout(DEADLINE):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.001)


def values(records: Sequence[Record]) -> list[Any]:
    """Return the records' decoded data."""
    return [codec.decode(record.data) for record in records]


def message_ids(records: Sequence[Record]) -> list[int]:
    """Return the records' message ids."""
    return [record.message_id for record in records]


def global_ids(records: Sequence[Record]) -> list[int]:
    """Return the records' global ids."""
    return [record.global_id for record in records]
