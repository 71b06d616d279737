"""What a pipeline is: a named sequence of steps, each a transaction of its own."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypedDict, TypeVar, Unpack, overload

import msgspec

from trunkline.cqrs.command import Command, Event, fields_of, stored
from trunkline.cqrs.result import Result
from trunkline.cqrs.step import StepFunction, StepRetry, check_retry
from trunkline.errors import ConfigError, UsageError

OnError = Literal["stop", "compensate", "continue"]
F = TypeVar("F", bound=Callable[..., Any])

ON_ERROR: Final = ("stop", "compensate", "continue")
#: What a function of a pipeline may take beside the body, by name.
SUPPLIED: Final = frozenset({"tx", "step", "key"})
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")


class PipelineStepOptions(TypedDict, total=False):
    """Be the options of a pipeline's step, all of them optional.

    Attributes:
        if_: Takes the body, and says whether the step is wanted.
        before: Makes the step's input of the body: a command, its fields, or any value. Without
            it a command takes those fields that the body has, and a function the body.
        after: Makes the step's result of what came out and the body.
        zip: Which keys of the result go to which keys of the body; or a function of body and
            result that returns the new body.
        merge: The result's keys join the body; a result without keys replaces it.
        undo: Takes the step back when the pipeline compensates: a function of the step's input,
            which may also take ``step`` (with ``step.output``) and ``key``, and may return
            commands to send.
        on_error: ``stop``, ``compensate`` or ``continue``; the pipeline's own if not given.
        retry: How a step that fails is tried again.
        timeout: Seconds for one try, or None.
    """

    if_: Callable[[Any], Any]
    before: Callable[[Any], Any]
    after: Callable[[Any, Any], Any]
    zip: Mapping[str, str] | Callable[[Any, Any], Any]
    merge: bool
    undo: StepFunction
    on_error: OnError
    retry: StepRetry | int
    timeout: float | None


class PipelineStep(msgspec.Struct, frozen=True, kw_only=True):
    """Be a step of a pipeline as it was declared; its options as they are described there.

    Args:
        name: Unique in the pipeline; it is what is on record.
        target: A command's type, or a function.
    """

    name: str
    target: Any
    if_: Callable[[Any], Any] | None = None
    before: Callable[[Any], Any] | None = None
    after: Callable[[Any, Any], Any] | None = None
    zip: Mapping[str, str] | Callable[[Any, Any], Any] | None = None
    merge: bool = False
    undo: StepFunction | None = None
    on_error: str = "stop"
    retry: StepRetry = StepRetry()
    timeout: float | None = None

    @property
    def command(self) -> type[Command] | None:
        """Return the command's type, or None for a function."""
        is_command = isinstance(self.target, type) and issubclass(self.target, Command)
        return self.target if is_command else None

    @property
    def takes_tx(self) -> bool:
        """Tell whether a function wants the transaction that the progress is committed in."""
        return self.command is None and "tx" in inspect.signature(self.target).parameters

    def input_of(self, body: Any) -> Any:
        """Return what the step works on."""
        if self.before is not None:
            return self.before(body)
        kind = self.command
        if kind is None:
            return body
        if not isinstance(body, Mapping):
            raise UsageError(f"step {self.name!r} needs before=: its body has no fields")
        return {name: body[name] for name in kind.__struct_fields__ if name in body}

    def commands_of(self, given: Any) -> list[Command]:
        """Return the commands of an input: one, its fields, or a list of either."""
        kind = self.command
        many = given if isinstance(given, (list, tuple)) else [given]
        return [one if isinstance(one, Command) else msgspec.convert(one, kind) for one in many]

    def body_after(self, body: Any, result: Any) -> Any:
        """Return the body that the next step sees."""
        if callable(self.zip):
            return self.zip(body, result)
        if self.zip is not None:
            found = _mapping(self.name, result)
            body = {**body, **{there: found[here] for here, there in self.zip.items()}}
        if self.merge:
            both = isinstance(body, Mapping) and isinstance(result, Mapping)
            body = {**body, **result} if both else result
        return body


class Pipeline:
    """Be a sequence of steps, each a transaction of its own; made by ``line.pipeline()``.

    Args:
        name: Under which its runs are on record.
        on_error: What an error in a step does: ``stop`` (keep what is done, and wait for an
            operator), ``compensate`` (undo what is done) or ``continue`` (without its result).
        version: Raise it when older code could not go on with newer runs.
        declare_undo: Makes a step's undo known.

    Attributes:
        steps: In order.
    """

    def __init__(
        self,
        name: str,
        *,
        on_error: OnError = "stop",
        version: int = 1,
        declare_undo: Callable[[str, StepFunction], None],
    ) -> None:
        if not _NAME.match(name):
            raise ConfigError(f"pipeline {name!r}: a name has letters, digits, '.', '_', '-'")
        self.name = name
        self.version = version
        self.on_error = _checked(f"pipeline {name!r}", on_error)
        self._declare_undo = declare_undo
        self.steps: list[PipelineStep] = []

    @overload
    def step(
        self, name: str, target: None = None, **options: Unpack[PipelineStepOptions]
    ) -> Callable[[F], F]: ...

    @overload
    def step(self, name: str, target: F, **options: Unpack[PipelineStepOptions]) -> F: ...

    def step(self, name: str, target: Any = None, **options: Unpack[PipelineStepOptions]) -> Any:
        """Add a step; a decorator unless a command's type or a function is given.

        A function takes the body and, as it wishes, ``tx``, ``step`` or ``key``. One that takes
        ``tx`` takes effect exactly once: what it writes is committed with the progress.
        A command takes effect exactly once too. Any other function may be called again after a
        crash, with the same key.

        Args:
            name: Unique in the pipeline.
            target: A command's type or a function.
            **options: See :class:`PipelineStepOptions`.

        Raises:
            ConfigError: Something makes no sense; the message says what.
        """

        def register(function: Any) -> Any:
            self._add(name, function, options)
            return function

        return register if target is None else register(target)

    def undo_name(self, step: str) -> str:
        """Return the name under which a step's undo is on record."""
        return f"pipeline:{self.name}.{step}"

    def _add(self, name: str, target: Any, options: PipelineStepOptions) -> None:
        what = f"step {name!r} of pipeline {self.name!r}"
        if not _NAME.match(name) or any(one.name == name for one in self.steps):
            raise ConfigError(f"{what}: its name is none, or taken")
        _check_target(what, target)
        given: dict[str, Any] = dict(options)
        given["on_error"] = _checked(what, given.get("on_error", self.on_error))
        given["retry"] = check_retry(what, given.get("retry", StepRetry()))
        step = PipelineStep(name=name, target=target, **given)
        if step.undo is not None:
            self._declare_undo(self.undo_name(name), step.undo)
        self.steps.append(step)

    def find(self, name: str) -> PipelineStep | None:
        """Return a step by name, or None."""
        return next((one for one in self.steps if one.name == name), None)

    def __repr__(self) -> str:
        return f"<Pipeline {self.name}: {', '.join(one.name for one in self.steps)}>"


class PipelineResult(msgspec.Struct, frozen=True, kw_only=True):
    """Be what a run of a pipeline came to, or how far it is.

    Args:
        id: Names the run; its progress is on the channel ``/pipelines/<name>/<id>``.
        pipeline: The pipeline's name.
        status: ``done``, or ``running`` when it was not waited for.
        body: The running body, as the steps left it.
        result: What the last step gave.
        skipped: Names of the steps that were left out, by their condition or by an error.
        is_repeat: Whether the key had been used, so that this is the first run's outcome.
    """

    id: str
    pipeline: str
    status: str
    body: Any
    result: Any = None
    skipped: tuple[str, ...] = ()
    is_repeat: bool = False


def told_by(result: Result) -> Any:
    """Return what a command's result is to a pipeline: JSON that zip and merge may use.

    It is the reply; without one the fields of the last event, and what handlers merged.
    """
    if result.reply is not None:
        return msgspec.to_builtins(result.reply)
    told: dict[str, Any] = {}
    if result.events:
        event: Event = result.events[-1].event
        told = {name: msgspec.to_builtins(value) for name, value in fields_of(event).items()}
    told.update(msgspec.to_builtins(result.data))
    return told


def _mapping(name: str, result: Any) -> Mapping[str, Any]:
    if not isinstance(result, Mapping):
        raise UsageError(f"step {name!r} cannot be zipped: {result!r:.80} has no keys")
    return result


def _checked(what: str, on_error: str) -> OnError:
    if on_error not in ON_ERROR:
        raise ConfigError(f"{what}: on_error={on_error!r} must be one of {', '.join(ON_ERROR)}")
    return on_error  # type: ignore[return-value]


def _check_target(what: str, target: Any) -> None:
    if isinstance(target, type):
        if not issubclass(target, Command):
            raise ConfigError(f"{what}: {target.__name__} is no command")
        stored(target)
        return
    if not callable(target):
        raise ConfigError(f"{what} is neither a command's type nor a function")
    parameters = list(inspect.signature(target).parameters.values())
    if not parameters:
        raise ConfigError(f"{what} takes no argument: its first one is the body")
    for one in parameters[1:]:
        if one.name not in SUPPLIED and one.default is one.empty:
            raise ConfigError(
                f"{what} wants {one.name!r}: it may take {', '.join(sorted(SUPPLIED))}"
            )
