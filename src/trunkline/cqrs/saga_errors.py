"""What can go wrong with sagas, process managers and pipelines, by kind."""

from __future__ import annotations

from trunkline.cqrs.errors import CommandError
from trunkline.errors import ConflictError


class SagaError(CommandError):
    """Report a saga that cannot go on as it should.

    Attributes:
        saga_id: Which one.
    """

    code = "saga"

    def __init__(self, message: str, *, saga_id: str = "") -> None:
        super().__init__(message)
        self.saga_id = saga_id


class StepGoneError(SagaError):
    """Report a saga on record with a step, undo, state or version that no code knows any more."""

    code = "saga-step-gone"


class SagaStuckError(SagaError):
    """Report a saga that can go neither way by itself: an operator has to decide."""

    code = "saga-stuck"


class StepTimeoutError(SagaError, TimeoutError):
    """Report a step that took too long; whether it took effect is not known."""

    status = 504
    code = "step-timeout"


class SagaBusyError(ConflictError):
    """Report that the same key's saga is being run, undone or mended: try again later.

    Attributes:
        saga_id: Which one.
    """

    code = "saga-busy"

    def __init__(self, message: str, *, saga_id: str) -> None:
        super().__init__(message)
        self.saga_id = saga_id


class PipelineError(SagaError):
    """Report a pipeline that stopped, or was undone; its cause is ``__cause__`` where known.

    Attributes:
        step: The step that failed.
        outcome: ``stopped``, ``undone``, ``undoing``, ``stuck`` or ``abandoned``.
    """

    code = "pipeline"

    def __init__(self, message: str, *, saga_id: str, step: str, outcome: str) -> None:
        super().__init__(message, saga_id=saga_id)
        self.step = step
        self.outcome = outcome
