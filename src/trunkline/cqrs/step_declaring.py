"""Checking what an application declares as steps and undos, and writing it into the book."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trunkline.cqrs.command import stored
from trunkline.cqrs.step import (
    UNDO_RETRY,
    Step,
    StepFunction,
    StepRetry,
    Undo,
    check_function,
    check_retry,
)
from trunkline.cqrs.step_book import StepBook
from trunkline.errors import ConfigError

if TYPE_CHECKING:
    from trunkline.cqrs.step import StepOptions


def declare_step(
    book: StepBook, subject: str | type, function: StepFunction, options: StepOptions
) -> None:
    """Write a step into the book, and its undo if that is a function.

    Raises:
        ConfigError: Something makes no sense; the message says what.
    """
    pattern = subject if isinstance(subject, str) else stored(subject).name
    name = options.get("name") or getattr(function, "__name__", "")
    what = f"step {name!r} of {pattern!r}"
    if not name or ":" in name:
        raise ConfigError(f"{what}: a step's name has at least one character, and no ':'")
    check_function(what, function)
    retry = check_retry(what, options.get("retry", StepRetry()))
    undo = _undo(book, what, options)
    book.add(
        pattern,
        Step(
            name=name,
            function=function,
            undo=undo,
            undo_data=options.get("undo_data"),
            retry=retry,
            timeout=_timeout(what, options.get("timeout", 30.0)),
            when=options.get("when"),
            priority=options.get("priority", 100),
        ),
    )


def declare_undo(
    book: StepBook,
    name: str,
    function: StepFunction,
    *,
    retry: StepRetry | int | None,
    timeout: float | None,
) -> None:
    """Write an undo into the book.

    Raises:
        ConfigError: Something makes no sense; the message says what.
    """
    what = f"undo {name!r}"
    if not name:
        raise ConfigError("an undo needs a name: it is what is on record")
    check_function(what, function)
    book.add_undo(
        Undo(
            name=name,
            function=function,
            retry=UNDO_RETRY if retry is None else check_retry(what, retry),
            timeout=_timeout(what, timeout),
        )
    )


def _undo(book: StepBook, what: str, options: StepOptions) -> str:
    given = options.get("undo", "")
    if isinstance(given, str):
        if "undo_retry" in options:
            raise ConfigError(f"{what}: say retry= where the undo {given!r} is declared")
        if not given and "undo_data" in options:
            raise ConfigError(f"{what} has undo_data= and no undo=")
        return given
    name: Any = getattr(given, "__name__", "")
    if not name or name == "<lambda>":
        raise ConfigError(f"{what}: an undo needs a name: declare it with @line.undo(name)")
    known = book.undos.get(name)
    if known is None or known.function is not given:
        declare_undo(book, name, given, retry=options.get("undo_retry"), timeout=60.0)
    return str(name)


def _timeout(what: str, given: float | None) -> float | None:
    if given is not None and not given > 0:
        raise ConfigError(f"{what}: timeout={given!r} must be seconds above 0, or None")
    return given
