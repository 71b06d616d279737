"""Commands that share commits where a statement is a call in this process.

Each runs in a savepoint of its own, one after another in one transaction; the commit takes
whatever queued until its time is over.
"""

from __future__ import annotations

import asyncio
from typing import Final

from trunkline.cqrs.closing import Closing, KeyTakenError
from trunkline.cqrs.member import Member
from trunkline.cqrs.queue import Queue, own
from trunkline.cqrs.scope import Commit, Scope, Stores
from trunkline.log.joint import JointLog, JointTransaction
from trunkline.store.unit import UnitOfWork

#: Commands in one commit, and seconds after which no further one begins in it.
MEMBERS: Final = 128
BUDGET: Final = 0.004
_SAVEPOINT: Final = "trunkline_command"


class LocalGroups:
    """Lead commits where statements are calls in this process.

    Args:
        queue: Who waits.
        log: Begins transactions.
        stores: What scopes share.
        closing: Writes the ends.
    """

    leaders = 1

    def __init__(self, queue: Queue, log: JointLog, stores: Stores, closing: Closing) -> None:
        self._queue = queue
        self._log = log
        self._stores = stores
        self._closing = closing
        self._loop = asyncio.get_running_loop()

    async def lead(self, number: int) -> None:
        """Lead one commit after another, for ever."""
        del number
        while True:
            await self._queue.wait()
            await self._lead_one()

    async def _lead_one(self) -> None:
        commit = Commit(self._stores)
        stored: list[Member] = []
        late: list[tuple[Member, Exception]] = []
        try:
            async with self._log.transaction() as transaction:
                await self._fill(transaction, commit, stored, late)
        except BaseException as error:
            commit.give_up()
            for member in (*stored, *(one for one, _ in late)):
                member.fail(own(error))
            if not isinstance(error, Exception):
                raise
            return
        commit.settle()
        for member in stored:
            member.stored()
        for member, taken in late:
            member.fail(taken)

    async def _fill(
        self,
        transaction: JointTransaction,
        commit: Commit,
        stored: list[Member],
        late: list[tuple[Member, Exception]],
    ) -> None:
        """Run whoever waits, until there are enough or their time is over."""
        until = self._loop.time() + BUDGET
        while len(stored) < MEMBERS and (member := self._queue.pop()) is not None:
            stored.append(member)
            error = await self._run(member, transaction, commit)
            if error is not None:
                stored.remove(member)
                if isinstance(error, KeyTakenError):
                    late.append((member, error))  # by one that may not be committed yet
                else:
                    member.fail(error)
            if self._loop.time() > until:
                return

    async def _run(
        self, member: Member, transaction: JointTransaction, commit: Commit
    ) -> BaseException | None:
        """Run one in a savepoint, and return why it does not stay."""
        scope = Scope(UnitOfWork(transaction), transaction, commit)
        await transaction.set_savepoint(_SAVEPOINT)
        error = await member.run(scope, transaction)
        if error is None:
            refused = await self._closing.close(transaction, (member,))
            error = refused.get(member)
        if error is None:
            await transaction.release_savepoint(_SAVEPOINT)
            commit.add(scope.staged)
        else:
            await transaction.undo_savepoint(_SAVEPOINT)
        return error
