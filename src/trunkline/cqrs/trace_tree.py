"""The tree of a trace as a person and a program read it: commands, events, and who handled them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from trunkline.cqrs.trace import CommandTrace

#: Where a handler stands with an event.
DONE = "done"
WAITING = "waiting"
RETRYING = "retrying"
FAILED = "failed"


class HandlerRun(msgspec.Struct, frozen=True, kw_only=True):
    """Be what a handler did, or has yet to do, with an event.

    Args:
        handler: Its name.
        role: What it is for.
        consistency: ``strong`` or ``eventual``.
        state: ``done``, ``waiting`` (for its turn), ``retrying`` or ``failed``.
        seconds: How long it took, if that was kept.
        attempts: How often it was tried, as far as is known.
        error: What it raised last, or an empty text.
    """

    handler: str
    role: str
    consistency: str
    state: str
    seconds: float | None = None
    attempts: int = 0
    error: str = ""

    def __str__(self) -> str:
        parts = [self.role, self.handler, self.state]
        if self.seconds is not None:
            parts.append(f"{self.seconds * 1000:.2f} ms")
        if self.attempts > 1:
            parts.append(f"{self.attempts} attempts")
        return " ".join(parts) + (f": {self.error}" if self.error else "")


class EventNode(msgspec.Struct, kw_only=True):
    """Be an event in the tree.

    Args:
        id: Its id.
        name: Its name.
        stream: Its channel.
        position: Its global id.
        handlers: Who hears it.
        events: Those derived from it.
        commands: Those it led to.
    """

    id: str
    name: str
    stream: str
    position: int
    handlers: list[HandlerRun] = []
    events: list[EventNode] = []
    commands: list[CommandNode] = []


class CommandNode(msgspec.Struct, kw_only=True):
    """Be a command in the tree.

    Args:
        id: Its id.
        name: Its name, empty where its trace was not kept.
        domain: Whose command it is.
        seconds: How long it took, if that was kept.
        error: What ended it, or an empty text.
        trace: Its steps, if they were kept.
        events: What it came to.
    """

    id: str
    name: str = ""
    domain: str = ""
    seconds: float | None = None
    error: str = ""
    trace: CommandTrace | None = None
    events: list[EventNode] = []


class TraceTree(msgspec.Struct, kw_only=True):
    """Be all that one command led to; its text is a tree.

    Args:
        trace_id: The id of the first command.
        commands: The first command; several where causes are no longer known.
    """

    trace_id: str
    commands: list[CommandNode]

    def __str__(self) -> str:
        return "\n".join(line for node in self.commands for line in _of_command(node))


def _of_command(node: CommandNode) -> list[str]:
    text = f"{node.name or 'command'} {node.id}"
    if node.seconds is not None:
        text += f"  {node.seconds * 1000:.2f} ms"
    if node.error:
        text += f"  failed: {node.error}"
    rows = [[str_of_step] for str_of_step in _steps(node.trace)]
    rows += [_of_event(event) for event in node.events]
    return [text, *_hung(rows)]


def _steps(trace: CommandTrace | None) -> Iterator[str]:
    for step in trace.steps if trace is not None else ():
        error = f"  {step.error}" if step.error else ""
        yield f"{step.role} {step.name}".strip() + f"  {step.seconds * 1000:.2f} ms{error}"


def _of_event(node: EventNode) -> list[str]:
    rows = [[str(run)] for run in node.handlers]
    rows += [_of_event(event) for event in node.events]
    rows += [_of_command(command) for command in node.commands]
    return [f"→ {node.name} {node.id} @{node.position}", *_hung(rows)]


def _hung(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for number, row in enumerate(rows):
        first, rest = ("└─ ", "   ") if number == len(rows) - 1 else ("├─ ", "│  ")
        for index, line in enumerate(row):
            yield (rest if index else first) + line
