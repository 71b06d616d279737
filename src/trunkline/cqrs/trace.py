"""Traces: what one command did, step by step, and how long each step took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

#: What the time between the last handler and the end is spent on.
COMMIT: Final = "commit"


class Context(Protocol):
    """Be what is asked of a command's context."""

    command_id: str
    correlation: str
    causation: str
    domain: str
    name: str
    attempt: int
    began: float
    took: float
    spans: list[tuple[str, str, float, float, str]]
    children: list[Any]


class Outcome(Protocol):
    """Be what is asked of a command's result."""

    command_id: str
    events: Sequence[Any]
    nested: list[Any]


class TraceStep(msgspec.Struct, frozen=True):
    """Be one thing that was done.

    Args:
        role: What it is: ``before``, ``command``, ``projector``, ``load``, ``commit`` …
        name: Who did it, or on what.
        at: Seconds since the command began.
        seconds: How long it took.
        error: What went wrong, or an empty text.
    """

    role: str
    name: str
    at: float
    seconds: float
    error: str = ""


class TracedEvent(msgspec.Struct, frozen=True):
    """Be an event that a command came to.

    Args:
        id: Its id.
        name: Its name.
        position: Its global id; 0 if it was not committed.
    """

    id: str
    name: str
    position: int = 0


class CommandTrace(msgspec.Struct, frozen=True, kw_only=True):
    """Be the trace of one command; its text is a tree.

    Args:
        command_id: The command's id.
        correlation: The trace's id: that of the first command of the tree.
        causation: What led to it: an event's id, or the command's own.
        domain: Whose command it is.
        name: Its stored name.
        at: When it began, Unix seconds.
        seconds: How long it took, the commit included.
        attempts: How often it was decided.
        error: What ended it, or an empty text.
        steps: What was done, in order.
        events: What it came to.
        nested: The commands inside it.
    """

    command_id: str
    correlation: str
    causation: str
    domain: str
    name: str
    at: float
    seconds: float
    attempts: int = 1
    error: str = ""
    steps: tuple[TraceStep, ...] = ()
    events: tuple[TracedEvent, ...] = ()
    nested: tuple[CommandTrace, ...] = ()

    @classmethod
    def of(
        cls, ctx: Context, *, result: Outcome | None = None, error: BaseException | None = None
    ) -> CommandTrace:
        """Return the trace of a command that has run.

        Args:
            ctx: What is known of it.
            result: What it came to, if it came to something.
            error: What ended it otherwise.
        """
        took, steps = ctx.took, tuple(_steps(ctx))
        inner = result.nested if result is not None else ()
        results: Mapping[str, Outcome] = {one.command_id: one for one in inner}
        return cls(
            command_id=ctx.command_id,
            correlation=ctx.correlation,
            causation=ctx.causation,
            domain=ctx.domain,
            name=ctx.name,
            at=int(ctx.command_id[:12], 16) / 1000,
            seconds=took or sum(step.seconds for step in steps),
            attempts=ctx.attempt,
            error="" if error is None else f"{type(error).__name__}: {error}",
            steps=steps,
            events=tuple(_events(ctx, result)),
            nested=tuple(
                cls.of(child, result=results.get(child.command_id)) for child in ctx.children
            ),
        )

    def __str__(self) -> str:
        lines = [_heading(self), *_branches(self)]
        width = max(len(text) for text, _, _ in lines)
        return "\n".join(
            f"{text.ljust(width)}  {_milliseconds(seconds):>10}  {note}".rstrip()
            for text, seconds, note in lines
        )


def _steps(ctx: Context) -> Iterator[TraceStep]:
    if not ctx.spans:
        return
    began = ctx.began or ctx.spans[0][2]
    for role, name, at, seconds, error in ctx.spans:
        yield TraceStep(role, name, max(0.0, at - began), seconds, error)
    if ctx.took:
        last = max(at + seconds for _, _, at, seconds, _ in _all_spans(ctx))
        yield TraceStep(COMMIT, "", last - began, max(0.0, began + ctx.took - last))


def _all_spans(ctx: Context) -> Iterator[tuple[str, str, float, float, str]]:
    yield from ctx.spans
    for child in ctx.children:
        yield from _all_spans(child)


def _events(ctx: Context, result: Outcome | None) -> Iterator[TracedEvent]:
    for one in result.events if result is not None else ():
        if one.headers.command == ctx.command_id:
            yield TracedEvent(one.id, one.name, one.position)


_Line = tuple[str, float, str]


def _heading(trace: CommandTrace) -> _Line:
    positions = [one.position for one in trace.events if one.position]
    note = f"committed @{positions[-1]}" if positions else ""
    if trace.error:
        note = f"failed: {trace.error}"
    elif trace.attempts > 1:
        note = f"{note} in attempt {trace.attempts}".strip()
    return f"{trace.name} {trace.command_id}", trace.seconds, note


def _branches(trace: CommandTrace) -> list[_Line]:
    rows: list[list[_Line]] = [
        [(f"{step.role} {step.name}".strip(), step.seconds, step.error)] for step in trace.steps
    ]
    rows += [[(f"→ {one.name} {one.id}", -1.0, "")] for one in trace.events]
    rows += [[_heading(child), *_branches(child)] for child in trace.nested]
    return [line for number, row in enumerate(rows) for line in _hung(row, number, rows)]


def _hung(row: Sequence[_Line], number: int, rows: Sequence[object]) -> Iterator[_Line]:
    is_last = number == len(rows) - 1
    first, rest = ("└─ ", "   ") if is_last else ("├─ ", "│  ")
    for index, (text, seconds, note) in enumerate(row):
        yield (rest if index else first) + text, seconds, note


def _milliseconds(seconds: float) -> str:
    return "" if seconds < 0 else f"{seconds * 1000:.2f} ms"
