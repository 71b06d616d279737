"""Asking for traces: what a command led to, and what became of each event."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from trunkline.channels.consumers import Consumers
from trunkline.cqrs.causes import Causes
from trunkline.cqrs.handler import Handler, Role
from trunkline.cqrs.hearing import Hearing
from trunkline.cqrs.otel import SpanExporter
from trunkline.cqrs.trace import CommandTrace
from trunkline.cqrs.trace_tree import (
    DONE,
    FAILED,
    RETRYING,
    WAITING,
    CommandNode,
    EventNode,
    HandlerRun,
    TraceTree,
)
from trunkline.cqrs.tracer import Tracer, TracingOptions
from trunkline.errors import UsageError
from trunkline.log.port import Log
from trunkline.model.channel import ChannelKey
from trunkline.model.message import Record
from trunkline.store.trace_table import EventRow, RunRow, TraceTable

#: An eventual handler or a strong one, what it hears, and its consumer's name.
Listener = tuple[Handler, Hearing, str]


class Sources(NamedTuple):
    """Be where traces come from.

    Args:
        table: Finds where traces are kept.
        log: Finds the log.
        listeners: Finds who hears events.
        consumers: Finds where eventual handlers stand.
        ready: Opens the line if need be.
    """

    table: Callable[[], TraceTable]
    log: Callable[[], Log]
    listeners: Callable[[], Iterable[Listener]]
    consumers: Callable[[], Consumers]
    ready: Callable[[], Awaitable[None]]


class Traces:
    """Show traces and walk the tree of events.

    Args:
        causes: The tree.
        tracer: Has what is not written yet.
        sources: Where the rest comes from.
    """

    def __init__(self, causes: Causes, tracer: Tracer, sources: Sources) -> None:
        self._causes = causes
        self._tracer = tracer
        self._table, self._log, self._listeners, self._consumers, self._ready = sources

    @property
    def options(self) -> TracingOptions:
        """Return which traces are kept; may be changed while the line runs."""
        return self._tracer.options

    def export_to_opentelemetry(self, provider: object = None) -> None:
        """Have every command's trace become OpenTelemetry spans, from now on.

        Args:
            provider: A ``TracerProvider``; the global one if not given.

        Raises:
            MissingExtraError: ``opentelemetry-api`` is not installed.
        """
        self._tracer.exporters.append(SpanExporter(provider))

    # -- the tree of events -------------------------------------------------------------------

    async def ancestors(self, event_id: str) -> Sequence[EventRow]:
        """Return the events that led to one, the nearest first."""
        await self._ready()
        return await self._causes.ancestors(event_id)

    async def descendants(self, event_id: str) -> Sequence[EventRow]:
        """Return the events that one led to, directly or through others, by depth."""
        await self._ready()
        return await self._causes.descendants(event_id)

    async def siblings(self, event_id: str) -> Sequence[EventRow]:
        """Return the other events with the same cause."""
        await self._ready()
        return await self._causes.siblings(event_id)

    async def handlers(self, event_id: str) -> Sequence[HandlerRun]:
        """Return who hears an event, and where each stands with it.

        Raises:
            UsageError: There is no such event.
        """
        await self._ready()
        row = await self._causes.find(event_id)
        if row is None:
            raise UsageError(f"there is no event {event_id!r}")
        return await self._runs(row)

    # -- traces -------------------------------------------------------------------------------

    async def show(self, ident: str) -> TraceTree:
        """Return the whole tree that a command, an event or a trace's id belongs to.

        Args:
            ident: Any of these ids.

        Raises:
            UsageError: Nothing is known by it.
        """
        await self._ready()
        await self._tracer.flush(self._table())
        await self._causes.catch_up()
        correlation = await self._correlation(ident)
        rows = await self._table().related(correlation)
        traces = await self._table().traces(correlation)
        kept = {row.command_id: _decoded(row.steps) for row in traces}
        if not rows and not kept:
            raise UsageError(
                f"nothing is known by {ident!r}: give the id of a command, an event or a trace. Of "
                "commands without events only failed, slow and sampled ones are kept"
            )
        return await self._tree(correlation, rows, kept)

    async def _correlation(self, ident: str) -> str:
        event = await self._table().event(ident)
        if event is not None:
            return event.correlation
        trace = await self._table().trace(ident)
        if trace is not None:
            return trace.correlation
        decided = await self._table().decided(ident)
        return decided[0].correlation if decided else ident

    async def _tree(
        self, correlation: str, rows: Sequence[EventRow], kept: dict[str, CommandTrace]
    ) -> TraceTree:
        commands: dict[str, CommandNode] = {}
        causes: dict[str, str] = {}
        for trace in _flat(kept.values()):
            commands[trace.command_id] = CommandNode(
                id=trace.command_id,
                name=trace.name,
                domain=trace.domain,
                seconds=trace.seconds,
                error=trace.error,
                trace=trace,
            )
            causes[trace.command_id] = trace.causation
        events: dict[str, EventNode] = {}
        for row in rows:
            events[row.id] = await self._node(row)
        for row in rows:
            command = commands.setdefault(
                row.command_id, CommandNode(id=row.command_id, domain=row.domain)
            )
            cause = events.get(row.causation)
            if cause is not None and _is_of(row, rows):
                cause.events.append(events[row.id])
            else:
                command.events.append(events[row.id])
                causes.setdefault(row.command_id, row.causation)
        roots = _hang(commands, causes, events)
        return TraceTree(trace_id=correlation, commands=roots)

    async def _node(self, row: EventRow) -> EventNode:
        return EventNode(
            id=row.id,
            name=row.name,
            stream=row.channel,
            position=row.global_id,
            handlers=list(await self._runs(row)),
        )

    # -- who handled an event -----------------------------------------------------------------

    async def _runs(self, row: EventRow) -> Sequence[HandlerRun]:
        key = ChannelKey(row.channel, row.site_id or None)
        page = await self._log().read(key, row.message_id - 1, 1)
        kept = {run.handler: run for run in await self._table().runs(row.id)}
        found: list[HandlerRun] = []
        for handler, hearing, consumer in self._listeners():
            run = kept.get(handler.name)
            if handler.role is Role.CHANNEL and (run is None or not run.error):
                continue  # those that told are not worth a line each
            found += [
                await self._run(handler, consumer, record, page.epoch, run)
                for record in page.records
                if hearing.wants(record)
            ]
        return found

    async def _run(
        self, handler: Handler, consumer: str, record: Record, epoch: str, run: RunRow | None
    ) -> HandlerRun:
        state, attempts, error = DONE, 1, ""
        if not handler.is_strong:
            reach = await self._consumers().reach(consumer, epoch, (record.global_id,))
            attempts = reach.attempts or int(reach.is_done)
            error = reach.failure or reach.error
            if not reach.is_done:
                aside = RETRYING if reach.attempts else WAITING
                state = FAILED if reach.failure else aside
            elif handler.role is Role.CHANNEL and run is not None:
                state, error = FAILED, run.error  # it goes on without what this one told
        return HandlerRun(
            handler=handler.name,
            role=handler.role.value,
            consistency=handler.consistency,
            state=state,
            seconds=None if run is None else run.seconds,
            attempts=max(attempts, 0 if run is None else run.attempts),
            error=error,
        )


def _decoded(text: str) -> CommandTrace:
    return msgspec.json.decode(text, type=CommandTrace)


def _flat(traces: Iterable[CommandTrace]) -> Iterable[CommandTrace]:
    for trace in traces:
        yield trace
        yield from _flat(trace.nested)


def _is_of(row: EventRow, rows: Sequence[EventRow]) -> bool:
    """Tell whether an event was derived by its own command from another of its events."""
    return any(one.id == row.causation and one.command_id == row.command_id for one in rows)


def _hang(
    commands: dict[str, CommandNode], causes: dict[str, str], events: dict[str, EventNode]
) -> list[CommandNode]:
    """Put each command under the event that led to it; return those that nothing is known of."""
    roots = []
    for ident, command in commands.items():
        cause = events.get(causes.get(ident, ""))
        if cause is None:
            roots.append(command)
        else:
            cause.commands.append(command)
    return roots
