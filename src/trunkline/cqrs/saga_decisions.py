"""What a saga does next, and what each outcome makes of it: pure functions over what is stored.

A saga goes forward, step after step, until its commit or its end, or backward, undoing in reverse
order whatever may have taken effect. It turns round once, and never again by itself. These are
the compensations of H. Garcia-Molina and K. Salem, "Sagas" (1987), with the undo on record before
the step, so that a step whose answer was lost is undone too.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import NamedTuple

import msgspec

from trunkline.errors import ConflictError
from trunkline.store.saga_record import Heading, SagaRecord, SagaStatus, StepRecord, StepStatus

_UNDOABLE = frozenset({StepStatus.BEGUN, StepStatus.DONE, StepStatus.FAILED})
_PASSED = frozenset({StepStatus.DONE, StepStatus.SKIPPED})
#: Characters of an error that are kept.
ERROR = 2000


class Run(NamedTuple):
    """Run a step, for the first time or again."""

    name: str


class Undo(NamedTuple):
    """Call the undo of a step."""

    step: StepRecord


class Finish(NamedTuple):
    """Have the saga end, or rest, in a status."""

    status: SagaStatus


class Change(NamedTuple):
    """Be what an outcome makes of a saga.

    Args:
        saga: As it is from now on.
        steps: Those of its steps that changed.
    """

    saga: SagaRecord
    steps: tuple[StepRecord, ...] = ()


# -- what comes next ------------------------------------------------------------------------------


def next_forward(saga: SagaRecord, names: Sequence[str]) -> Run | Finish:
    """Say what a saga that goes forward does next.

    Args:
        saga: Running.
        names: Its definition's steps, in order. A step is known by its name alone, so that one
            added later moves no other.
    """
    for name in names:
        step = saga.step(name)
        if step is None or step.status not in _PASSED:
            return Run(name)
    return Finish(SagaStatus.DONE)


def next_backward(saga: SagaRecord) -> Undo | Finish:
    """Say what a saga that goes backward does next: the last step first, each one once."""
    for step in reversed(saga.steps):
        if step.status in _UNDOABLE and step.undo:
            return Undo(step)
    return Finish(SagaStatus.UNDONE)


def gone_undo(saga: SagaRecord, undos: Container[str]) -> StepRecord | None:
    """Return a step that may have to be undone by a handler that there is no more."""
    for step in saga.steps:
        if step.status in _UNDOABLE and step.undo and step.undo not in undos:
            return step
    return None


# -- forward --------------------------------------------------------------------------------------


def begin_step(
    saga: SagaRecord, name: str, *, undo: str, undo_data: str | None, now: float
) -> Change:
    """Put a step on record, its undo with it, before it is called; again before each try."""
    known = saga.step(name)
    if known is None:
        step = StepRecord(
            number=len(saga.steps) + 1,
            name=name,
            status=StepStatus.BEGUN,
            undo=undo,
            undo_data=undo_data,
            begun_at=now,
        )
    else:
        step = msgspec.structs.replace(
            known,
            status=StepStatus.BEGUN,
            attempts=known.attempts + 1,
            undo=undo,
            undo_data=undo_data,
            ended_at=None,
        )
    return _with(saga, step, now)


def end_step(
    saga: SagaRecord, name: str, *, output: str | None, now: float, body: str | None = None
) -> Change:
    """Note that a step succeeded.

    Args:
        saga: Running.
        name: Which step.
        output: JSON of what it returned.
        now: Unix seconds.
        body: What the saga works on from now on, if the step changed it.
    """
    step = msgspec.structs.replace(
        _known(saga, name), status=StepStatus.DONE, output=output, error="", ended_at=now
    )
    change = _with(saga, step, now)
    if body is None:
        return change
    return Change(msgspec.structs.replace(change.saga, body=body), change.steps)


def skip_step(saga: SagaRecord, name: str, *, now: float) -> Change:
    """Note that a step is left out, having had no effect."""
    known = saga.step(name)
    number = len(saga.steps) + 1 if known is None else known.number
    step = StepRecord(
        number=number,
        name=name,
        status=StepStatus.SKIPPED,
        attempts=0 if known is None else known.attempts,
        begun_at=now if known is None else known.begun_at,
        ended_at=now,
    )
    return _with(saga, step, now)


def fail_step(saga: SagaRecord, name: str, *, error: str, is_refusal: bool, now: float) -> Change:
    """Note that a step raised.

    Args:
        saga: Running.
        name: Which step.
        error: What it raised.
        is_refusal: Whether that says that it took no effect.
        now: Unix seconds.
    """
    status = StepStatus.REFUSED if is_refusal else StepStatus.FAILED
    step = msgspec.structs.replace(
        _known(saga, name), status=status, error=error[:ERROR], ended_at=now
    )
    return _with(saga, step, now)


def put_off(saga: SagaRecord, *, until: float, now: float) -> Change:
    """Have a saga rest until a time; whoever finds it then goes on."""
    return Change(msgspec.structs.replace(saga, due_at=until, owner="", moved_at=now))


def settle(saga: SagaRecord, status: SagaStatus, *, now: float, error: str = "") -> Change:
    """Have a saga come to its end, or to a stop."""
    return Change(
        msgspec.structs.replace(
            saga, status=status, owner="", moved_at=now, error=error[:ERROR] or saga.error
        )
    )


# -- backward -------------------------------------------------------------------------------------


def turn_round(saga: SagaRecord, *, error: str, now: float) -> Change:
    """Have a saga go backward.

    Args:
        saga: Running, or stopped.
        error: Why.
        now: Unix seconds.
    """
    return Change(
        msgspec.structs.replace(
            saga,
            status=SagaStatus.UNDOING,
            heading=Heading.BACKWARD,
            error=error[:ERROR],
            due_at=now,
            moved_at=now,
        )
    )


def end_undo(saga: SagaRecord, name: str, *, now: float) -> Change:
    """Note that a step is undone."""
    known = _known(saga, name)
    step = msgspec.structs.replace(
        known, status=StepStatus.UNDONE, undo_attempts=known.undo_attempts + 1, ended_at=now
    )
    return _with(saga, step, now)


def fail_undo(
    saga: SagaRecord, name: str, *, error: str, delay: float | None, now: float
) -> Change:
    """Note that undoing a step failed: try again after a delay, or be stuck.

    Args:
        saga: Undoing.
        name: Which step.
        error: What its undo raised.
        delay: Seconds until the next try; None for no more.
        now: Unix seconds.
    """
    known = _known(saga, name)
    step = msgspec.structs.replace(
        known, undo_attempts=known.undo_attempts + 1, error=error[:ERROR], ended_at=now
    )
    changed = _with(saga, step, now).saga
    if delay is None:
        stuck = settle(
            changed, SagaStatus.STUCK, error=f"{name} cannot be undone: {error}", now=now
        )
        return Change(stuck.saga, (step,))
    return Change(msgspec.structs.replace(changed, due_at=now + delay), (step,))


# -- operators ------------------------------------------------------------------------------------


def retry(saga: SagaRecord, *, now: float) -> Change:
    """Have what is stuck or stopped try again, and what waits not wait.

    Raises:
        ConflictError: It is at its end, or somebody works on it.
    """
    _check(saga, "tried again")
    _check_free(saga)
    steps = tuple(
        msgspec.structs.replace(one, undo_attempts=0)
        for one in saga.steps
        if one.status in _UNDOABLE and one.undo_attempts
    )
    changed = saga
    for step in steps:
        changed = _with(changed, step, now).saga
    going = _going(saga)
    return Change(msgspec.structs.replace(changed, status=going, due_at=now, moved_at=now), steps)


def skip(saga: SagaRecord, *, now: float) -> Change:
    """Leave out the step in the way: its undo when it goes backward, itself when it stopped.

    Raises:
        ConflictError: No step is in the way, or somebody works on it.
    """
    _check(saga, "helped over a step")
    _check_free(saga)
    failed: StepRecord | None = None
    if saga.heading is Heading.BACKWARD:
        found = next_backward(saga)
        failed = found.step if isinstance(found, Undo) else None
    elif saga.status is not SagaStatus.RUNNING:
        failed = next((one for one in reversed(saga.steps) if one.status not in _PASSED), None)
    if failed is None:
        raise ConflictError(f"no step of {saga.id} is in the way: it is {saga.status}")
    step = msgspec.structs.replace(failed, status=StepStatus.SKIPPED, ended_at=now)
    changed = _with(saga, step, now).saga
    changed = msgspec.structs.replace(changed, status=_going(saga), due_at=now)
    return Change(changed, (step,))


def abandon(saga: SagaRecord, *, reason: str, now: float) -> Change:
    """End a saga as it is: nothing more of it is run or undone.

    Raises:
        ConflictError: It is at its end.
    """
    _check(saga, "abandoned")
    return settle(saga, SagaStatus.ABANDONED, error=reason or saga.error, now=now)


def _going(saga: SagaRecord) -> SagaStatus:
    is_forward = saga.heading is Heading.FORWARD
    return SagaStatus.RUNNING if is_forward else SagaStatus.UNDOING


def _check(saga: SagaRecord, what: str) -> None:
    if saga.status.is_final:
        raise ConflictError(f"{saga.id} cannot be {what}: it is {saga.status}")


def _check_free(saga: SagaRecord) -> None:
    if saga.status.is_open and saga.owner:
        raise ConflictError(f"{saga.id} is being worked on: it is {saga.status}")


def _known(saga: SagaRecord, name: str) -> StepRecord:
    step = saga.step(name)
    if step is None:
        raise ConflictError(f"{saga.id} never began a step {name!r}")
    return step


def _with(saga: SagaRecord, step: StepRecord, now: float) -> Change:
    others = [one for one in saga.steps if one.name != step.name]
    steps = tuple(sorted([*others, step], key=lambda one: one.number))
    return Change(msgspec.structs.replace(saga, steps=steps, moved_at=now), (step,))
