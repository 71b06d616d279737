"""How a command ends: errors as one clear line, broken pipes and Ctrl-C quietly."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from functools import wraps
from typing import Any, NoReturn, ParamSpec

from trunkline.errors import ConfigError, LogUnavailableError, TrunklineError

FAILURE = 1
USAGE = 2
INTERRUPTED = 130
BROKEN_PIPE = 141

P = ParamSpec("P")


def ends_well(command: Callable[P, None]) -> Callable[P, None]:
    """Wrap a command so that whatever ends it early is told in one line, or not at all."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
            sys.stdout.flush()
        except KeyboardInterrupt:
            _leave(INTERRUPTED)
        except BrokenPipeError:
            _leave(BROKEN_PIPE)
        except TrunklineError as error:
            _fail(error)

    return run


def run_to_end(work: Coroutine[Any, Any, None]) -> None:
    """Run a command's coroutine on a fast event loop, where there is one."""
    import asyncio

    try:
        import uvloop
    except ImportError:
        asyncio.run(work)
    else:
        uvloop.run(work)


def tell(name: str, what: str, value: object = None, *, as_json: bool) -> None:
    """Print what was done.

    Args:
        name: To what.
        what: How it is now, or what is told of it.
        value: What came of it, None for nothing more.
        as_json: Whether to print JSON.
    """
    if as_json:
        done = True if value is None else value
        print(json.dumps({"name": name, what.replace(" ", "_"): done}))
    else:
        print(f"{name}: {what}" + ("" if value is None else f" {value}"))


def warn(text: str) -> None:
    """Write a line to standard error."""
    print(f"trunkline: {text}", file=sys.stderr, flush=True)


def fail(text: str, *, status: int = FAILURE) -> NoReturn:
    """Write a line to standard error and exit."""
    warn(text)
    _leave(status)


def _fail(error: TrunklineError) -> NoReturn:
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    advice = ""
    if isinstance(error, LogUnavailableError):
        advice = "; trunkline doctor looks for the cause"
    status = USAGE if isinstance(error, ConfigError) else FAILURE
    fail(f"{error}{notes}{advice}", status=status)


def _leave(status: int) -> NoReturn:
    """Exit without flushing into a pipe that nobody reads."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (BrokenPipeError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(status)


def without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was given on the command line: flags left out are None, lists empty."""
    return {name: value for name, value in values.items() if value not in (None, [], ())}
