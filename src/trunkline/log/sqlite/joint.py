"""A transaction on the line's file that appends to the line at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from trunkline.log.joint import Stretch, Tip
from trunkline.log.port import Group, Outcome
from trunkline.log.sqlite.placement import Placement
from trunkline.model.message import Record
from trunkline.sql.hold import Hold
from trunkline.sql.sqlite import SQLiteTransaction


class JointSQLiteTransaction(SQLiteTransaction):
    """Run statements and append, all in one turn of the writer.

    Args:
        hold: The turn.
        placement: Decides what goes in, and writes it.
    """

    def __init__(self, hold: Hold, placement: Placement) -> None:
        super().__init__(hold)
        self._placement = placement
        self._joined = hold
        self._appends = False

    async def hold_tail(self) -> None:
        """Do nothing: whoever writes here is alone."""

    async def append(self, groups: Sequence[Group]) -> Sequence[Outcome]:
        """Append at the end of the transaction."""
        self._join()
        return self._placement.admit(groups)

    async def append_last(self, groups: Sequence[Group], *, epoch: str = "") -> Sequence[Outcome]:
        """Append at the end of the transaction."""
        del epoch  # it can't have moved since the states were read
        return await self.append(groups)

    async def tips(self, wanted: Sequence[Stretch]) -> Sequence[Tip]:
        """Return the ends of streams; one that nobody wrote to since costs no statement."""
        self._join()
        tip, connection = self._placement.tip, self._joined.connection
        return [tip(connection, stretch) for stretch in wanted]

    async def epoch(self) -> str:
        """Return the line's epoch."""
        self._join()
        return self._placement.epoch

    async def take_tail(self) -> None:
        """Do nothing: the turn keeps everybody waiting from its beginning on."""

    def lend(self, task: asyncio.Task[Any] | None) -> None:
        """Say which task holds the turn from now on."""
        self._joined.owner = task

    async def pick(self, global_ids: Sequence[int]) -> Sequence[Record]:
        """Return messages by their global ids."""
        return self._placement.pick(self._joined.connection, global_ids)

    def _join(self) -> None:
        """Have the placement look after the end of this turn, from its first use on."""
        hold, placement = self._joined, self._placement
        _ = hold.connection  # raises when the transaction is over
        if not self._appends:
            self._appends = True
            hold.at_commit(placement.store)
            hold.at_finish(placement.finish)
            hold.at_settle(placement.settle)
