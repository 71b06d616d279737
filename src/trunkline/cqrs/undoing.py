"""Going backward: calling undos, the last step's first, each outcome on record before the next."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec

from trunkline.cqrs import saga_decisions as decisions
from trunkline.cqrs.saga_decisions import Change, Finish
from trunkline.cqrs.saga_errors import StepGoneError
from trunkline.cqrs.saga_runner import Workshop
from trunkline.cqrs.step import StepCall, call
from trunkline.cqrs.step_book import StepBook
from trunkline.store.saga_record import SagaRecord, SagaStatus, StepRecord, StepStatus

logger = logging.getLogger("trunkline.cqrs")

#: Seconds that whoever undoes waits itself before a next try; later ones are left to a worker.
PATIENCE = 1.0


class Undoing:
    """Take sagas back.

    Args:
        shop: What it is done with.
        book: Knows the undos.
        subject_of: Gives what an undo without data of its own works on.
    """

    def __init__(
        self, shop: Workshop, book: StepBook, *, subject_of: Callable[[SagaRecord], Any]
    ) -> None:
        self._runner = shop.runner
        self._clock = shop.clock
        self._sleep = shop.sleep
        self._book = book
        self._subject_of = subject_of

    async def take_back(self, saga: SagaRecord, error: str) -> SagaRecord:
        """Have a saga go backward, and go; may be called again when it failed.

        Args:
            saga: Ours, running when it was last seen.
            error: Why.

        Returns:
            The saga as it is when nothing more can be done now.

        Raises:
            LeaseLostError: Another process goes on with it, or it was committed.
        """
        found = await self._runner.table.find(saga.id)
        if found is None or (found.owner, found.epoch) != (saga.owner, saga.epoch):
            return saga if found is None else found
        if found.status is SagaStatus.RUNNING:
            now = self._clock.now()
            turned = decisions.turn_round(saga, error=error, now=now)
            found = await self.write(saga, turned)
        return await self.run(found)

    async def run(self, saga: SagaRecord) -> SagaRecord:
        """Undo what is left, until all is undone, it is stuck, or it has to wait.

        Args:
            saga: Ours, undoing.

        Returns:
            As :meth:`take_back`.

        Raises:
            LeaseLostError: As for :meth:`take_back`.
        """
        self._runner.hold(saga.id)
        try:
            while saga.status is SagaStatus.UNDOING and saga.owner == self._runner.id:
                saga = await self._step(saga)
        finally:
            self._runner.release(saga.id)
        return saga

    async def _step(self, saga: SagaRecord) -> SagaRecord:
        now = self._clock.now()
        if (gone := decisions.gone_undo(saga, self._book.undos)) is not None:
            return await self.be_stuck(saga, gone_error(saga, gone))
        action = decisions.next_backward(saga)
        if isinstance(action, Finish):
            return await self.write(saga, decisions.settle(saga, action.status, now=now))
        step = action.step
        try:
            await self._call(saga, step)
        except Exception as error:  # noqa: BLE001 - on record, and tried again
            return await self._fail(saga, step, error)
        return await self.write(saga, decisions.end_undo(saga, step.name, now=self._clock.now()))

    async def _call(self, saga: SagaRecord, step: StepRecord) -> None:
        undo = self._book.undos[step.undo]
        data = step.undo_data
        subject = self._subject_of(saga) if data is None else msgspec.json.decode(data)
        told = call_of(saga, step, key=f"{saga.id}:{step.name}:undo")
        supplies = {"step": told, "key": told.key}
        async with asyncio.timeout(undo.timeout):
            await call(undo.function, subject, supplies)

    async def _fail(self, saga: SagaRecord, step: StepRecord, error: Exception) -> SagaRecord:
        undo, now = self._book.undos[step.undo], self._clock.now()
        told = f"{type(error).__name__}: {error}"
        delay = undo.retry.delay(step.undo_attempts + 1, error)
        change = decisions.fail_undo(saga, step.name, error=told, delay=delay, now=now)
        if delay is None:
            logger.error("the saga %s is stuck: %s", saga.id, change.saga.error, exc_info=error)
            return await self.write(saga, change)
        if delay > PATIENCE:
            off = decisions.put_off(change.saga, until=now + delay, now=now)
            change = Change(off.saga, change.steps)
        logger.warning(
            "step %r of the saga %s is not undone yet (%s); again in %.1f s",
            step.name,
            saga.id,
            told,
            delay,
        )
        saga = await self.write(saga, change)
        if saga.owner:
            await self._sleep(delay)
        return saga

    async def be_stuck(self, saga: SagaRecord, error: Exception) -> SagaRecord:
        """Note that a saga can't go on by itself, and tell it."""
        logger.error("the saga %s is stuck: %s", saga.id, error)
        stuck = decisions.settle(saga, SagaStatus.STUCK, error=str(error), now=self._clock.now())
        return await self.write(saga, stuck)

    async def write(self, saga: SagaRecord, change: Change) -> SagaRecord:
        """Put a change on record.

        Raises:
            LeaseLostError: Another process goes on with the saga, or it was committed.
        """
        async with self._runner.table.database.transaction() as tx:
            await self._runner.table.move(tx, saga, change.saga, change.steps)
        return change.saga


def gone_error(saga: SagaRecord, step: StepRecord) -> StepGoneError:
    """Say that no code undoes a step any more."""
    error = StepGoneError(
        f"no undo {step.undo!r} is declared for step {step.name!r} of {saga.name!r}: declare it "
        "again and retry the saga, or skip the step",
        saga_id=saga.id,
    )
    error.trace_id = context_of(saga).get("correlation", "")
    return error


def context_of(saga: SagaRecord) -> dict[str, Any]:
    """Return where a saga came from."""
    found: dict[str, Any] = msgspec.json.decode(saga.context)
    return found


def call_of(saga: SagaRecord, step: StepRecord, *, key: str) -> StepCall:
    """Return what a step, or its undo, is told about a call."""
    context = context_of(saga)
    return StepCall(
        saga_id=saga.id,
        name=step.name,
        key=key,
        attempt=step.attempts if not key.endswith(":undo") else step.undo_attempts + 1,
        command_id=context.get("command", ""),
        correlation_id=context.get("correlation", ""),
        actor=context.get("actor"),
        outputs=outputs_of(saga),
        output=None if step.output is None else msgspec.json.decode(step.output),
        is_certain=step.status is StepStatus.DONE,
    )


def outputs_of(saga: SagaRecord) -> dict[str, Any]:
    """Return what the steps that succeeded returned, by name."""
    return {
        one.name: msgspec.json.decode(one.output)
        for one in saga.steps
        if one.output is not None and one.status is StepStatus.DONE
    }
