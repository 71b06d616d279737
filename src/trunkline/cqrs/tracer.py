"""Which traces are kept: failures and slow ones always, of the others a sample.

A tree of commands is sampled as a whole, for the choice comes from its id alone. What is kept is
written behind the commands, in batches; nobody waits for it, and a full buffer drops the oldest.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from trunkline.cqrs.trace import CommandTrace
from trunkline.errors import TrunklineError
from trunkline.store.trace_table import RunRow, TraceRow, TraceTable

if TYPE_CHECKING:
    from trunkline.cqrs.command import Recorded
    from trunkline.cqrs.context import Context
    from trunkline.cqrs.result import Result

logger = logging.getLogger(__name__)

#: Traces that wait to be written at most, and that one transaction writes.
WAITING: Final = 2000
BATCH: Final = 200
#: The last digits of an id, hexadecimal, by which a tree is sampled.
_DIGITS: Final = 4


class TracingOptions(msgspec.Struct):
    """Say which traces are kept; may be changed while the line runs.

    Args:
        sample: The share of trees that are kept whatever they did, from 0 to 1.
        slow: Seconds from which on a command or handler is kept as slow.
        keep: Seconds that traces are kept.
    """

    sample: float = 0.01
    slow: float = 0.5
    keep: float = 7 * 86400.0


class Exporter(Protocol):
    """Be told of every command that is traced."""

    def export(self, trace: CommandTrace) -> None:
        """Take a trace; called by whoever sent the command, so it must not wait."""


class Tracer:
    """Decide which traces are kept, and write them.

    Args:
        now: Tells the time, Unix seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.options = TracingOptions()
        #: Domains whose traces are all kept.
        self.whole: set[str] = set()
        self.exporters: list[Exporter] = []
        self._now = now
        self._traces: deque[TraceRow] = deque(maxlen=WAITING)
        self._runs: deque[RunRow] = deque(maxlen=WAITING)
        self._woken = asyncio.Event()

    # -- noting -------------------------------------------------------------------------------

    def note(
        self,
        ctx: Context,
        began: float,
        *,
        result: Result | None = None,
        error: BaseException | None = None,
    ) -> None:
        """Note how a command ended.

        Args:
            ctx: What is known of it.
            began: When it was sent, by ``time.perf_counter``.
            result: What it came to, if it came to something.
            error: What ended it otherwise.
        """
        ctx.began, ctx.took = began, perf_counter() - began
        is_kept = error is not None or ctx.took >= self.options.slow or self._is_chosen(ctx)
        if not is_kept and not self.exporters:
            return
        trace = CommandTrace.of(ctx, result=result, error=error)
        for exporter in self.exporters:
            exporter.export(trace)
        if is_kept:
            self._traces.append(_row(trace))
            self._woken.set()

    def _is_chosen(self, ctx: Context) -> bool:
        return ctx.domain in self.whole or self._is_sampled(ctx.correlation)

    def _is_sampled(self, correlation: str) -> bool:
        try:
            chance = int(correlation[-_DIGITS:], 16) / 16**_DIGITS
        except ValueError:  # an id of somebody else's
            return False
        return chance < self.options.sample

    def note_run(
        self, handler: str, recorded: Recorded[object], seconds: float, error: BaseException | None
    ) -> None:
        """Note what an eventual handler did with an event.

        Args:
            handler: Its name.
            recorded: The event.
            seconds: How long it took.
            error: What it raised, or None.
        """
        header = recorded.headers
        is_chosen = header.domain in self.whole or self._is_sampled(header.correlation)
        if error is None and seconds < self.options.slow and not is_chosen:
            return
        what = "" if error is None else f"{type(error).__name__}: {error}"
        row = RunRow(header.id, handler, header.correlation, self._now(), seconds, 1, what)
        self._runs.append(row)
        self._woken.set()

    # -- writing ------------------------------------------------------------------------------

    async def write(self, table: TraceTable) -> None:
        """Write what is noted, until cancelled."""
        self._woken = asyncio.Event()  # of this loop: a line may be opened again on another
        self._woken.set()
        while True:
            await self._woken.wait()
            self._woken.clear()
            try:
                await self.flush(table)
            except TrunklineError as error:
                logger.warning("traces can't be written: %s", error)
                await asyncio.sleep(1.0)
                self._woken.set()

    async def flush(self, table: TraceTable) -> None:
        """Write what is noted by now.

        Raises:
            LogError: The database failed; the traces in hand are noted again.
        """
        while self._traces or self._runs:
            traces = [self._traces.popleft() for _ in range(min(BATCH, len(self._traces)))]
            runs = [self._runs.popleft() for _ in range(min(BATCH, len(self._runs)))]
            try:
                await table.keep(traces, runs)
            except BaseException:
                self._traces.extendleft(reversed(traces))
                self._runs.extendleft(reversed(runs))
                raise

    async def forget(self, table: TraceTable) -> None:
        """Forget traces that are old enough."""
        await table.forget(self._now() - self.options.keep)


def _row(trace: CommandTrace) -> TraceRow:
    return TraceRow(
        trace.command_id,
        trace.correlation,
        trace.causation,
        trace.domain,
        trace.name,
        trace.at,
        trace.seconds,
        trace.error,
        msgspec.json.encode(trace).decode(),
    )
