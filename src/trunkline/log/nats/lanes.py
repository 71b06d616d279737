"""Queues before channels: what waits, and what is put together to go at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from trunkline.log.port import Group, Outcome
from trunkline.model.channel import ChannelKey
from trunkline.model.message import Draft

#: Messages in one atomic batch at most; the server's limit.
BATCH_MESSAGES: Final = 1000
BATCH_BYTES: Final = 4 * 1024 * 1024


class Unit:
    """Be the groups of one call on their way, which are stored in their order."""

    __slots__ = ("channels", "count", "done", "draft", "groups", "size")

    def __init__(
        self, groups: Sequence[Group], done: asyncio.Future[Sequence[Outcome]], *, size: int
    ) -> None:
        self.groups = groups
        self.done = done
        self.size = size
        #: The only draft, when it may take the short way.
        self.draft: Draft | None = None
        if len(groups) == 1 and len(groups[0]) == 1:
            draft = groups[0][0]
            self.channels: tuple[ChannelKey, ...] = (draft.channel,)
            self.count = 1
            if draft.key is None and draft.expected_version is None:
                self.draft = draft
        else:
            found = dict.fromkeys(draft.channel for group in groups for draft in group)
            self.channels = tuple(found)
            self.count = sum(map(len, groups))


class Lane:
    """Be the queue before one channel."""

    __slots__ = ("is_busy", "key", "units")

    def __init__(self, key: ChannelKey) -> None:
        self.key = key
        self.units: deque[Unit] = deque()
        self.is_busy = False


class Load:
    """Be what a shipment is being put together from."""

    def __init__(self) -> None:
        self.units: list[Unit] = []
        self.lanes: dict[ChannelKey, Lane] = {}
        self.count = 0
        self.size = 0
        self.began = 0.0

    def has_room(self, unit: Unit) -> bool:
        """Tell whether a unit may join."""
        count, size = self.count + unit.count, self.size + unit.size
        return not self.units or (count <= BATCH_MESSAGES and size <= BATCH_BYTES)

    def add(self, unit: Unit) -> None:
        """Let a unit join."""
        self.units.append(unit)
        self.count += unit.count
        self.size += unit.size
