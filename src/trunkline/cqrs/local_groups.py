"""Commands that share commits where a statement is a call in this process.

Each runs in a savepoint of its own, one after another in one transaction; the commit takes
whatever queued until its time is over.
"""

from __future__ import annotations

import asyncio
from typing import Final

from trunkline.cqrs.closing import Closing
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
        try:
            async with self._log.transaction() as transaction:
                until = self._loop.time() + BUDGET
                while (member := self._queue.pop()) is not None:
                    stored.append(member)
                    if not await self._run(member, transaction, commit):
                        stored.remove(member)
                    if len(stored) >= MEMBERS or self._loop.time() > until:
                        break
        except BaseException as error:
            commit.give_up()
            for member in stored:
                member.fail(own(error))
            if not isinstance(error, Exception):
                raise
            return
        commit.settle()
        for member in stored:
            member.stored()

    async def _run(self, member: Member, transaction: JointTransaction, commit: Commit) -> bool:
        """Run one in a savepoint; tell whether it stays."""
        scope = Scope(UnitOfWork(transaction), transaction, commit)
        await transaction.set_savepoint(_SAVEPOINT)
        error = await member.run(scope, transaction)
        if error is None:
            refused = await self._closing.close(transaction, (member,))
            error = refused.get(member)
        if error is None:
            await transaction.release_savepoint(_SAVEPOINT)
            commit.add(scope.staged)
            return True
        await transaction.undo_savepoint(_SAVEPOINT)
        member.fail(error)
        return False
