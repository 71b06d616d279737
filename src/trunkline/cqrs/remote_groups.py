"""Commands that share commits where a statement is a round trip.

All states are read by one look, all events appended by one call, and nobody has a savepoint until
somebody fails: then all is undone and run again, each behind one. Two such groups run side by
side, on different aggregates.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from trunkline.cqrs.closing import Closing, KeyTakenError
from trunkline.cqrs.member import Member
from trunkline.cqrs.queue import Queue, own
from trunkline.cqrs.scope import Commit, Scope, Stores
from trunkline.log.joint import EarlyLossError, JointLog, JointTransaction
from trunkline.model.channel import ChannelKey
from trunkline.store.unit import UnitOfWork

#: Commands in one commit, and seconds after which no further one begins in it.
MEMBERS: Final = 64
BUDGET: Final = 0.010
#: Commands that wait when a second group is worth its connection.
SECOND_FROM: Final = 30
#: Seconds for which there is one group only, after two stood in each other's way.
SINGLE_FOR: Final = 10.0

_SAVEPOINT: Final = "trunkline_command"
_DEADLOCK: Final = "40P01"


class RemoteGroups:
    """Lead commits where statements are round trips.

    Args:
        queue: Who waits.
        log: Begins transactions.
        stores: What scopes share.
        closing: Writes the ends.
    """

    leaders = 2

    def __init__(self, queue: Queue, log: JointLog, stores: Stores, closing: Closing) -> None:
        self._queue = queue
        self._log = log
        self._stores = stores
        self._closing = closing
        self._loop = asyncio.get_running_loop()
        self._in_hand: list[set[ChannelKey]] = [set(), set()]
        self._single_until = 0.0

    async def lead(self, number: int) -> None:
        """Lead one commit after another, for ever."""
        while True:
            await self._queue.wait()
            if number and not self._is_second_wanted():
                await self._queue.wait_for_more()
                continue
            members = self._queue.take(MEMBERS, self._in_hand[1 - number])
            if not members:
                await self._queue.wait_for_more()
                continue
            self._in_hand[number] = {one.job.target[0] for one in members if one.job.target}
            try:
                await self._lead_one(members)
            finally:
                self._in_hand[number] = set()
                self._queue.put_back(())

    def _is_second_wanted(self) -> bool:
        return (
            bool(self._in_hand[0])
            and len(self._queue) >= SECOND_FROM
            and self._loop.time() >= self._single_until
        )

    async def _lead_one(self, members: list[Member]) -> None:
        turn = RemoteTurn(self, is_first=True)
        while members:
            try:
                members = await turn.attempt(members)
            except BaseException as error:
                for member in members:
                    member.fail(own(error))
                if not isinstance(error, Exception):
                    raise
                return
            turn = RemoteTurn(self, is_first=False)

    def begin(self) -> tuple[JointLog, Stores, Closing]:
        """Return what a turn works with."""
        return self._log, self._stores, self._closing

    @property
    def queue(self) -> Queue:
        """Return who waits."""
        return self._queue

    def note(self, error: BaseException) -> None:
        """Have one group only for a while, when two stood in each other's way."""
        found: BaseException | None = error
        while found is not None:
            if getattr(found, "sqlstate", None) == _DEADLOCK:
                self._single_until = self._loop.time() + SINGLE_FOR
            found = found.__cause__


class _Spoiled(Exception):  # noqa: N818 - no error of anybody's: a way out of the transaction
    """Undo the transaction, for what one member did can't stay in it."""


class RemoteTurn:
    """Be one try at storing a group.

    Args:
        groups: Whose it is.
        is_first: Whether nobody has failed yet: then nobody has a savepoint, and a lone command
            is decided on what is remembered.
    """

    def __init__(self, groups: RemoteGroups, *, is_first: bool) -> None:
        self._groups = groups
        self._is_first = is_first
        self._log, self._stores, self._closing = groups.begin()
        self._loop = asyncio.get_running_loop()
        self._ready: list[Member] = []
        self._left: list[Member] = []
        self._is_quick = False

    async def attempt(self, members: Sequence[Member]) -> list[Member]:
        """Run members and commit; return those that must be run again, all being undone."""
        is_lone = len(members) == 1
        commit = Commit(self._stores, trusts_cache=is_lone and self._is_first)
        is_quick = self._is_quick = is_lone and self._is_first and not members[0].job.is_alone
        try:
            async with self._log.transaction(begins_late=is_quick) as transaction:
                if any(one.job.is_urgent for one in members):
                    await transaction.take_tail()
                if not is_lone:
                    targets = [one.job.target for one in members if one.job.target is not None]
                    await commit.prefetch(transaction, targets)
                await self._run(members, transaction, commit)
                await self._close(transaction)
        except _Spoiled:
            commit.give_up()
            return self._survivors()
        except Exception as error:
            commit.give_up()
            self._groups.note(error)
            if self._is_first and not is_lone and getattr(error, "sqlstate", None):
                return self._survivors()
            if is_quick and isinstance(error, EarlyLossError):
                # The connection had broken: once more on one that is looked at first.
                return self._survivors()
            raise
        commit.settle()
        for member in self._ready:
            member.stored()
        self._groups.queue.put_back(self._left)
        return []

    def _survivors(self) -> list[Member]:
        for member in self._ready:
            member.again()
        return [one for one in (*self._ready, *self._left) if not one.is_gone]

    async def _run(
        self, members: Sequence[Member], transaction: JointTransaction, commit: Commit
    ) -> None:
        until = self._loop.time() + BUDGET
        self._left = list(members)
        while self._left:
            if self._ready and self._loop.time() > until:
                return
            member = self._left.pop(0)
            if member.is_gone:
                continue
            scope = Scope(UnitOfWork(transaction), transaction, commit)
            if not self._is_first:
                await transaction.set_savepoint(_SAVEPOINT)
            error = await member.run(scope, transaction)
            if error is None and not self._is_first:
                error = await _kept(transaction)
            if error is None:
                commit.add(scope.staged)
                self._ready.append(member)
            else:
                await self._drop(member, scope, error, transaction)

    async def _drop(
        self,
        member: Member,
        scope: Scope,
        error: BaseException,
        transaction: JointTransaction,
    ) -> None:
        self._groups.note(error)
        if not self._is_first:
            await transaction.undo_savepoint(_SAVEPOINT)
            member.fail(error)
        elif isinstance(error, Exception) and (
            scope.has_guessed or (self._is_quick and isinstance(error, EarlyLossError))
        ):
            # It was decided on what was remembered, or the connection had broken before it began:
            # look before believing it.
            self._ready.append(member)
            raise _Spoiled
        elif scope.unit.writes == 0 or not isinstance(error, Exception):
            member.fail(error)
            if scope.unit.writes:
                raise _Spoiled
        elif self._ready or self._left:
            # Writes are left and run together: who is to blame shows behind savepoints.
            self._ready.append(member)
            raise _Spoiled
        else:
            member.fail(error)
            raise _Spoiled

    async def _close(self, transaction: JointTransaction) -> None:
        refused = await self._closing.close(transaction, self._ready)
        if not refused:
            return
        for member, error in refused.items():
            if isinstance(error, KeyTakenError) or not member.job.may_repeat(error):
                self._ready.remove(member)
                member.fail(error)
        raise _Spoiled


async def _kept(transaction: JointTransaction) -> Exception | None:
    """Keep what a member did; return what was wrong with the writes it had left."""
    try:
        await transaction.release_savepoint(_SAVEPOINT)
    except Exception as error:  # noqa: BLE001 - it is the member's, who is told
        return error
    return None
