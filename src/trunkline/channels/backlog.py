"""Reading a stretch of the log into a list that says what is missing from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from trunkline.log.port import PAGE_SIZE, Log, Page
from trunkline.model.channel import ChannelKey
from trunkline.model.interest import Interest
from trunkline.model.message import Message, message_of


class Backlog(list[Message]):
    """Be a list of messages that also says where it came from.

    Attributes:
        floor: The newest trimmed id: messages up to here can't be had.
        head: The newest id when it was read.
        epoch: The line's epoch.
        is_complete: Whether nothing asked for was trimmed before it could be read.
    """

    floor = 0
    head = 0
    epoch = ""
    is_complete = True


async def read_backlog(log: Log, key: ChannelKey, after: int, limit: int | None) -> Backlog:
    """Read a channel's messages after a message id.

    Args:
        log: The open log.
        key: The channel.
        after: A message id; 0 for the oldest kept, which is never incomplete.
        limit: Messages at most; None for all there were when reading began.
    """
    return await _collect(lambda start, size: log.read(key, start, size), after, limit)


async def read_global_backlog(
    log: Log, interest: Interest, after: int, limit: int | None
) -> Backlog:
    """Read the messages of an interest after a global id; arguments as for :func:`read_backlog`."""
    return await _collect(lambda start, size: log.read_all(start, size, interest), after, limit)


async def _collect(
    read: Callable[[int, int], Awaitable[Page]], after: int, limit: int | None
) -> Backlog:
    found = Backlog()
    is_first = True
    while limit is None or len(found) < limit:
        size = PAGE_SIZE if limit is None else min(PAGE_SIZE, limit - len(found))
        page = await read(after, size)
        if not is_first and page.epoch != found.epoch:
            found.is_complete = False  # the line was erased: these ids name others now
            break
        if after < page.floor and not (is_first and after <= 0):
            found.is_complete = False
        if is_first:
            found.head = page.head
        found.floor, found.epoch = page.floor, page.epoch
        is_first = False
        found.extend(message_of(record, page.epoch) for record in page.records)
        after = max(page.upto, page.floor)
        # Messages that came after reading began are left, or a busy channel would never end.
        if after >= found.head:
            break
    return found
