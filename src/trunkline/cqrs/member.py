"""A command on its way into a commit that it may share with others.

Whoever sends a command runs it, in the sender's own task and context, when its turn has come; the
one who leads the commit waits meanwhile. So handlers see the sender's context variables, and
cancelling the sender cancels them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Final, Protocol

from trunkline.cqrs.scope import Scope, Target
from trunkline.log.joint import JointTransaction
from trunkline.model.message import Receipt
from trunkline.store.command_table import CommandRow


class Job(Protocol):
    """Be what is to be done for one command inside a transaction; it may be done several times."""

    #: The aggregate it decides on, if that is known beforehand.
    target: Target | None
    #: Whether it wants a commit of its own.
    is_alone: bool
    #: What is to be kept under its key, after a run.
    row: CommandRow | None

    @property
    def is_urgent(self) -> bool:
        """Tell whether others were quicker so often that it had better keep them waiting."""

    async def run(self, scope: Scope) -> None:
        """Do it."""

    def may_repeat(self, error: Exception) -> bool:
        """Tell whether it is worth another try after a conflict, and count it."""


class Again(Exception):  # noqa: N818 - no error: a word of the leader's
    """Say that all was undone, and that another turn will come."""


AGAIN: Final = Again()


class Member:
    """Be a job in the hands of the one who leads a commit.

    Args:
        job: The job.

    Attributes:
        receipts: Of what it appended, in the order of its unit's drafts.
        is_stored: Whether it is committed.
    """

    __slots__ = (
        "_done",
        "_is_told",
        "_loop",
        "_turn",
        "_verdict",
        "is_stored",
        "job",
        "receipts",
        "scope",
        "task",
    )

    def __init__(self, job: Job) -> None:
        self._loop = asyncio.get_running_loop()
        self.job = job
        self.task = asyncio.current_task()
        self.scope: Scope | None = None
        self.receipts: Sequence[Receipt] = ()
        self.is_stored = False
        self._is_told = False
        self._turn: asyncio.Future[Scope] = self._loop.create_future()
        self._done: asyncio.Future[BaseException | None] = self._loop.create_future()
        self._verdict: asyncio.Future[BaseException | None] = self._loop.create_future()

    # -- the sender's side --------------------------------------------------------------------

    async def attend(self, working: set[asyncio.Task[Any] | None]) -> None:
        """Run the job when its turn comes, as often as it comes, and learn how it ended.

        Args:
            working: Has the tasks that run jobs at the moment.

        Raises:
            Exception: Whatever kept it from being stored.
            asyncio.CancelledError: The sender was cancelled; :attr:`is_stored` tells whether
                that was too late.
        """
        while True:
            try:
                scope = await self._turn
            except asyncio.CancelledError as error:
                if self._turn.done() and not self._turn.cancelled():
                    self._end(error)  # the turn came at the same moment
                raise
            working.add(self.task)
            try:
                await self.job.run(scope)
            except Exception as error:  # noqa: BLE001 - the leader tells what becomes of it
                self._end(error)
            except BaseException as error:
                self._end(error)
                raise
            else:
                self._end(None)
            finally:
                working.discard(self.task)
            try:
                verdict = await self._verdict
            except asyncio.CancelledError:
                await self._until_told()
                raise
            if verdict is None:
                return
            if verdict is not AGAIN:
                raise verdict
            self._is_told = False
            self._verdict = self._loop.create_future()

    def _end(self, error: BaseException | None) -> None:
        """Tell the leader how a run ended, unless it was cancelled and listens no more."""
        if not self._done.done():
            self._done.set_result(error)

    async def _until_told(self) -> None:
        """Wait for the verdict, though cancelled: the commit goes on, and its end matters."""
        while not self._is_told:
            self._verdict = self._loop.create_future()
            with contextlib.suppress(asyncio.CancelledError):
                await self._verdict

    # -- the leader's side --------------------------------------------------------------------

    @property
    def is_gone(self) -> bool:
        """Tell whether the sender was cancelled before its turn."""
        return self._turn.cancelled()

    async def run(self, scope: Scope, transaction: JointTransaction) -> BaseException | None:
        """Give the sender the turn, wait until it is done, and return what it raised."""
        self.scope = scope
        transaction.lend(self.task)
        self._turn.set_result(scope)
        error = await self._done
        transaction.lend(asyncio.current_task())
        return error

    def again(self) -> None:
        """Have it wait for another turn, for all was undone."""
        if self._turn.done() and not self._turn.cancelled():
            self._turn = self._loop.create_future()
            self._done = self._loop.create_future()
            self._tell(AGAIN)

    def stored(self) -> None:
        """Tell it that it is committed."""
        self.is_stored = True
        self._tell(None)

    def fail(self, error: BaseException) -> None:
        """Tell it why it is not stored."""
        if not self._turn.done():
            self._turn.set_exception(error)
        self._tell(error)

    def _tell(self, verdict: BaseException | None) -> None:
        self._is_told = True
        if not self._verdict.done():
            self._verdict.set_result(verdict)
