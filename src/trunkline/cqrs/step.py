"""What a step of a saga is: a call to somebody outside, and the call that takes it back."""

from __future__ import annotations

import inspect
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypedDict

import msgspec

from trunkline.errors import ConfigError
from trunkline.runtime.clock import jitter

StepFunction = Callable[..., Awaitable[Any] | Any]

#: What a step or an undo may take beside its first argument, by name.
SUPPLIED: Final = frozenset({"step", "ctx", "key"})


class StepRetry(msgspec.Struct, frozen=True):
    """Say how often a call that fails is tried, and when: doubling, bounded, jittered.

    Args:
        attempts: Tries in all.
        first: Seconds before the second try.
        limit: Seconds between two tries at most, before jitter.
        on: Exceptions after which it is tried again; others are final.
    """

    attempts: int = 1
    first: float = 0.2
    limit: float = 30.0
    on: tuple[type[Exception], ...] = (Exception,)

    def delay(
        self, failures: int, error: Exception, *, chance: random.Random | None = None
    ) -> float | None:
        """Return the seconds to wait after the n-th failure, or None for no more.

        Args:
            failures: How often it failed by now, at least once.
            error: What it failed with.
            chance: A source of randomness.
        """
        if failures >= self.attempts or not isinstance(error, self.on):
            return None
        return jitter(min(self.limit, self.first * 2.0 ** min(failures - 1, 64)), chance=chance)


#: An undo must come to pass: it is tried for about a quarter of an hour, then somebody is needed.
UNDO_RETRY: Final = StepRetry(attempts=12, first=0.5, limit=300.0)


class StepCall(msgspec.Struct, frozen=True, kw_only=True):
    """Tell a step, or its undo, about the call.

    Args:
        saga_id: The saga.
        name: The step.
        key: The same for each try of this call, and no other's: hand it to whoever is called, so
            that a repeated call takes effect once.
        attempt: Counts the tries from 1.
        command_id: The command's id.
        correlation_id: What the command belongs to.
        actor: On whose behalf, or None.
        outputs: What the steps before it returned, by name.
        output: For an undo, what the step returned; None if it never said.
        is_certain: For an undo, whether the step is known to have succeeded. Otherwise its answer
            was lost or it raised, and the undo must bear that it never took effect.
    """

    saga_id: str
    name: str
    key: str
    attempt: int = 1
    command_id: str = ""
    correlation_id: str = ""
    actor: str | None = None
    outputs: Mapping[str, Any] = {}
    output: Any = None
    is_certain: bool = True


class Undo(msgspec.Struct, frozen=True, kw_only=True):
    """Be what takes a step back.

    Args:
        name: Under which it is on record; it must be found again after a restart.
        function: Called with the data on record.
        retry: How it is tried again.
        timeout: Seconds for one try, or None.
    """

    name: str
    function: StepFunction
    retry: StepRetry = UNDO_RETRY
    timeout: float | None = 60.0


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """Be a step as it was declared.

    Args:
        name: Unique among the steps of a command.
        function: Called with the command.
        undo: Name of what takes it back; empty for nothing.
        undo_data: Makes the JSON value that the undo gets from the command; None for the command
            itself.
        retry: How it is tried again.
        timeout: Seconds for one try, or None.
        when: Says whether the step is wanted.
        priority: Lower ones run first; equal ones as they were declared.
    """

    name: str
    function: StepFunction
    undo: str = ""
    undo_data: Callable[[Any], Any] | None = None
    retry: StepRetry = StepRetry()
    timeout: float | None = 30.0
    when: Callable[[Any], bool] | None = None
    priority: int = 100


def check_function(what: str, function: Any) -> None:
    """Refuse a step or undo that cannot be called as they are.

    Args:
        what: Names it in the message.
        function: The application's function.

    Raises:
        ConfigError: It takes something that nobody can give it.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        raise ConfigError(f"{what} is no function") from None
    positional = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    if not parameters or parameters[0].kind not in positional:
        raise ConfigError(f"{what} takes no argument: its first one is what it works on")
    for one in parameters[1:]:
        if one.name not in SUPPLIED and one.default is one.empty:
            raise ConfigError(
                f"{what} wants {one.name!r}: it may take {', '.join(sorted(SUPPLIED))}"
            )


def check_retry(what: str, given: Any) -> StepRetry:
    """Return a retry policy; a number says how many tries.

    Raises:
        ConfigError: It makes no sense.
    """
    is_number = isinstance(given, int) and not isinstance(given, bool)
    retry = StepRetry(given) if is_number else given
    if not isinstance(retry, StepRetry):
        raise ConfigError(f"{what}: retry={given!r} must be a StepRetry or a number")
    if not (retry.attempts >= 1 and 0 < retry.first <= retry.limit):
        raise ConfigError(f"{what}: {retry} makes no sense")
    return retry


def supplies_of(function: StepFunction, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a function takes of what there is, by name."""
    wanted = list(inspect.signature(function).parameters)[1:]
    return {name: given[name] for name in wanted if name in given}


async def call(function: StepFunction, subject: Any, given: Mapping[str, Any]) -> Any:
    """Call a step or an undo.

    Args:
        function: A function or coroutine function.
        subject: What it works on.
        given: What it may take by name.

    Returns:
        What it returns.
    """
    found = function(subject, **supplies_of(function, given))
    return await found if inspect.isawaitable(found) else found


class StepOptions(TypedDict, total=False):
    """Be the options of a step, all of them optional.

    Attributes:
        name: Names it among the steps of its commands; the function's name if not given.
        undo: What takes it back: a function, or the name of one declared with ``@line.undo``.
        undo_data: Makes the JSON value that the undo gets from the command; the command itself
            if not given. It is on record before the step is called.
        retry: How a call that fails is tried again: a :class:`StepRetry` or a number of tries.
        undo_retry: The same for the undo, which is then declared here.
        timeout: Seconds for one try; 30 if not given, None for no limit.
        when: Takes the command, and says whether the step is wanted.
        priority: The lower runs first; 100 if not given.
    """

    name: str
    undo: StepFunction | str
    undo_data: Callable[[Any], Any]
    retry: StepRetry | int
    undo_retry: StepRetry | int
    timeout: float | None
    when: Callable[[Any], bool]
    priority: int
