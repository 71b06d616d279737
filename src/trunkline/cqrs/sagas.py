"""Sagas as operators see them: where they stand, and what to do with those that are stuck."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from trunkline.cqrs import saga_decisions as decisions
from trunkline.cqrs.saga_decisions import Change
from trunkline.errors import ConflictError, UsageError
from trunkline.runtime.clock import Clock
from trunkline.store.saga_record import SagaKind, SagaRecord, SagaStatus
from trunkline.store.saga_table import SagaTable


class StepState(msgspec.Struct, frozen=True, kw_only=True):
    """Describe a step for operators.

    Args:
        name: Its name.
        status: ``begun``, ``done``, ``failed``, ``refused``, ``skipped`` or ``undone``.
        attempts: How often it was tried.
        undo: What takes it back; empty for nothing.
        undo_attempts: How often that was tried.
        output: What it returned.
        error: What it, or its undo, failed with last.
        begun_at: Unix seconds.
        ended_at: Unix seconds, or None.
    """

    name: str
    status: str
    attempts: int
    undo: str
    undo_attempts: int
    output: Any
    error: str
    begun_at: float
    ended_at: float | None


class SagaState(msgspec.Struct, frozen=True, kw_only=True):
    """Describe a saga for operators.

    Args:
        id: Names it.
        kind: ``command`` or ``pipeline``.
        name: The command's name, or the pipeline's.
        key: What it was sent or run under.
        status: ``running``, ``undoing``, ``stopped``, ``stuck``, ``done``, ``undone`` or
            ``abandoned``.
        error: Why it is not done.
        holder: The process that works on it, or an empty text.
        trace_id: Under which the trace is found.
        body: What it works on.
        due_at: When it goes on, Unix seconds; in the past for at once.
        begun_at: Unix seconds.
        moved_at: Unix seconds.
        steps: In the order in which they began.
    """

    id: str
    kind: str
    name: str
    key: str
    status: str
    error: str
    holder: str
    trace_id: str
    body: Any
    due_at: float
    begun_at: float
    moved_at: float
    steps: tuple[StepState, ...]


class Sagas:
    """Look after all sagas of a kind that the store knows, wherever they run.

    Args:
        kind: Which.
        find_table: Returns where they are kept, once the line is open.
        ready: Opens the line if need be.
        clock: Tells the time.
    """

    def __init__(
        self,
        kind: SagaKind,
        find_table: Callable[[], SagaTable],
        *,
        ready: Callable[[], Awaitable[None]],
        clock: Clock,
    ) -> None:
        self._kind = kind
        self._find_table = find_table
        self._ready = ready
        self._clock = clock

    async def list(self, status: str | None = None, *, limit: int = 100) -> list[SagaState]:
        """Describe sagas, newest first.

        Args:
            status: Only those that stand there.
            limit: How many at most.

        Raises:
            UsageError: There is no such status.
        """
        await self._ready()
        if status is not None and status not in set(SagaStatus):
            raise UsageError(f"no status {status!r}: there are {', '.join(SagaStatus)}")
        wanted = None if status is None else SagaStatus(status)
        hosts = await self._hosts()
        found = await self._find_table().list(self._kind, wanted, limit)
        return [_state(one, hosts) for one in found]

    async def show(self, saga_id: str) -> SagaState:
        """Describe one.

        Raises:
            UsageError: There is none of this id.
        """
        return _state(await self._find(saga_id), await self._hosts())

    async def retry(self, saga_id: str) -> SagaState:
        """Have what is stuck or stopped go on, and what waits for a next try not wait.

        Raises:
            UsageError: There is none of this id.
            ConflictError: It is at its end, or somebody works on it.
        """
        return await self._decide(saga_id, lambda saga, now: decisions.retry(saga, now=now))

    async def skip(self, saga_id: str) -> SagaState:
        """Leave out the step, or the undo, that is in the way, and go on behind it.

        Raises:
            UsageError: There is none of this id.
            ConflictError: Nothing is in the way, or somebody works on it.
        """
        return await self._decide(saga_id, lambda saga, now: decisions.skip(saga, now=now))

    async def abandon(self, saga_id: str, reason: str = "an operator abandoned it") -> SagaState:
        """End it as it is: nothing more of it is run or undone.

        Raises:
            UsageError: There is none of this id.
            ConflictError: It is at its end.
        """
        return await self._decide(
            saga_id, lambda saga, now: decisions.abandon(saga, reason=reason, now=now)
        )

    async def _decide(
        self, saga_id: str, decide: Callable[[SagaRecord, float], Change]
    ) -> SagaState:
        saga = await self._find(saga_id)
        change = decide(saga, self._clock.now())
        if not await self._find_table().decide(saga, change.saga):
            raise ConflictError(f"{saga_id} has moved on meanwhile: look at it again")
        return await self.show(saga_id)

    async def _find(self, saga_id: str) -> SagaRecord:
        await self._ready()
        saga = await self._find_table().find(saga_id)
        if saga is None or saga.kind is not self._kind:
            raise UsageError(
                f"no saga {saga_id!r} of a {self._kind} is on record: list shows those that are"
            )
        return saga

    async def _hosts(self) -> dict[str, str]:
        return {one.id: one.host for one in await self._find_table().beats()}


def _state(saga: SagaRecord, hosts: dict[str, str]) -> SagaState:
    context = msgspec.json.decode(saga.context)
    return SagaState(
        id=saga.id,
        kind=saga.kind,
        name=saga.name,
        key=saga.key,
        status=saga.status,
        error=saga.error,
        holder=hosts.get(saga.owner, saga.owner),
        trace_id=context.get("correlation", ""),
        body=msgspec.json.decode(saga.body),
        due_at=saga.due_at,
        begun_at=saga.begun_at,
        moved_at=saga.moved_at,
        steps=tuple(
            StepState(
                name=one.name,
                status=one.status,
                attempts=one.attempts,
                undo=one.undo,
                undo_attempts=one.undo_attempts,
                output=None if one.output is None else msgspec.json.decode(one.output),
                error=one.error,
                begun_at=one.begun_at,
                ended_at=one.ended_at,
            )
            for one in saga.steps
        ),
    )
