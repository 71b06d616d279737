"""The seam between a line and its wings: what a wing works with, and how it lives with the line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from trunkline.channels.consuming import ConsumingBus
from trunkline.channels.hub import Hub
from trunkline.log.port import Log
from trunkline.runtime.clock import Clock
from trunkline.runtime.crew import Work
from trunkline.runtime.loops import LoopLock
from trunkline.runtime.service import Service
from trunkline.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Premises:
    """Be what a wing works with.

    Args:
        bus: Publishes, subscribes, begins transactions, declares consumers.
        log: The log, open while the line is.
        hub: This process's hub on it.
        store: The SQL state beside it; ``store.database`` is None without one.
        clock: Tells the time.
        run: Runs background work by name until it returns or the line closes.
    """

    bus: WingedBus
    log: Log
    hub: Hub
    store: Store
    clock: Clock
    run: Callable[[str, Work], None]


class Wing(Protocol):
    """Be a room above the channels that opens and closes with the line."""

    async def open(self) -> None:
        """Check what was declared and start what it needs; the log and the store are open.

        Raises:
            ConfigError: Something declared makes no sense, or something it needs is missing.
        """

    async def close(self) -> None:
        """End what :meth:`open` started; the log and the store are still open. Idempotent."""

    def services(self) -> Sequence[Service]:
        """Return what a worker runs for it, while the line is open."""


W = TypeVar("W", bound=Wing)


class WingedBus(ConsumingBus):
    """Publish, subscribe, consume, and carry wings, each built when it is first asked for."""

    #: Set by whoever makes the bus, before its first use.
    _premises: Premises

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self._wings: list[Wing] = []
        self._opened: list[Wing] = []
        self._building = LoopLock()

    def add_wing(self, make: Callable[[Premises], W]) -> W:
        """Build a wing, which opens with the line, or at its first use on an open line.

        Args:
            make: Builds it.
        """
        wing = make(self._premises)
        self._wings.append(wing)
        return wing

    async def reset(self) -> None:
        """Erase the line, counters included, and start a new epoch: for tests.

        With a log in a SQL database this takes along, in the same commit, what commands left
        beside it: results under keys, snapshots, tags, timers. Instances of process managers are
        abandoned, projections are built anew by the next worker, and durable consumers stop at
        a gap. Sagas under way go on: what they called stands outside.
        """
        await self._ready()
        if not await self._premises.store.reset():
            await self._log.reset()

    async def be_ready(self) -> None:
        """Open the line and the wings that are not open yet; a wing's verbs await it first.

        Raises:
            ConfigError: Something declared makes no sense.
            LogError: The log can't be used.
        """
        await self._ready()
        if self._is_off and not self._publishes:
            return  # nothing was opened, and nothing runs
        if len(self._opened) < len(self._wings):
            await self._open_wings()

    async def _open_wings(self) -> None:
        async with self._building:
            for wing in self._wings:
                if wing not in self._opened:
                    await wing.open()
                    self._opened.append(wing)

    async def _close_wings(self) -> None:
        if not self._opened:
            return
        try:
            await self._opened.pop().close()
        finally:  # one that fails keeps no other open, which the next opening would leave out
            await self._close_wings()

    def _wing_services(self) -> list[Service]:
        return [service for wing in self._opened for service in wing.services()]
