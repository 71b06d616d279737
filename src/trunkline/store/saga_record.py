"""Sagas as values: what is on record of each, and of each of its steps."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class SagaKind(StrEnum):
    """Say what a saga belongs to."""

    COMMAND = "command"
    PIPELINE = "pipeline"


class Heading(StrEnum):
    """Say which way a saga goes, or would go if it were not stuck."""

    FORWARD = "forward"
    BACKWARD = "backward"


class SagaStatus(StrEnum):
    """Say where a saga stands."""

    #: Going forward.
    RUNNING = "running"
    #: Going backward.
    UNDOING = "undoing"
    #: A pipeline that failed, and keeps what it did until an operator decides.
    STOPPED = "stopped"
    #: It can go neither way by itself; its error says why.
    STUCK = "stuck"
    DONE = "done"
    UNDONE = "undone"
    #: An operator ended it as it was.
    ABANDONED = "abandoned"

    @property
    def is_open(self) -> bool:
        """Tell whether somebody works on it."""
        return self in {SagaStatus.RUNNING, SagaStatus.UNDOING}

    @property
    def is_final(self) -> bool:
        """Tell whether nothing will ever happen to it again."""
        return self in {SagaStatus.DONE, SagaStatus.UNDONE, SagaStatus.ABANDONED}


class StepStatus(StrEnum):
    """Say what became of a step."""

    #: On record before the call; whether the call happened is not known.
    BEGUN = "begun"
    DONE = "done"
    #: It raised; whether it took effect is not known.
    FAILED = "failed"
    #: It said that it did nothing.
    REFUSED = "refused"
    #: It was left out, by its condition or by an operator.
    SKIPPED = "skipped"
    UNDONE = "undone"


class StepRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Be one step on record.

    Args:
        number: Counts the saga's steps from 1, in the order in which they began.
        name: The step's name.
        status: What became of it.
        attempts: How often it was tried.
        undo: Name of the handler that undoes it; empty for none.
        undo_data: JSON that this gets; None for the body as it was.
        undo_attempts: How often undoing it was tried.
        output: JSON of what it returned.
        error: What it, or its undo, failed with last.
        begun_at: Unix seconds.
        ended_at: Unix seconds, or None.
    """

    number: int
    name: str
    status: StepStatus
    attempts: int = 1
    undo: str = ""
    undo_data: str | None = None
    undo_attempts: int = 0
    output: str | None = None
    error: str = ""
    begun_at: float
    ended_at: float | None = None


class SagaRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Be one saga on record.

    Args:
        id: Names it.
        kind: What it belongs to.
        name: The command's stored name, or the pipeline's.
        key: The command's key, or the run's: one saga at a time works for it.
        version: Of the definition that began it.
        status: Where it stands.
        heading: Which way it goes.
        body: JSON of what it works on.
        context: JSON of where it came from.
        error: Why it goes backward, stopped or is stuck.
        owner: The runner that works on it; empty for none.
        epoch: Raised with each change of owner.
        due_at: Nothing is to be done before it, Unix seconds.
        begun_at: Unix seconds.
        moved_at: Unix seconds.
        steps: In the order in which they began.
    """

    id: str
    kind: SagaKind
    name: str
    key: str
    version: int = 1
    status: SagaStatus = SagaStatus.RUNNING
    heading: Heading = Heading.FORWARD
    body: str
    context: str = "{}"
    error: str = ""
    owner: str = ""
    epoch: int = 1
    due_at: float = 0.0
    begun_at: float
    moved_at: float
    steps: tuple[StepRecord, ...] = ()

    def step(self, name: str) -> StepRecord | None:
        """Return the record of a step, or None if it never began."""
        return next((one for one in self.steps if one.name == name), None)
