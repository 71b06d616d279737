"""The machine's vitals: processors, memory and network, read from where the system tells them.

On Linux that is procfs, whose files are described in proc(5). Elsewhere only what the standard
library knows is told, and the rest is zero.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trunkline.runtime.clock import Clock

PROC = Path("/proc")


class _Busy(NamedTuple):
    """Hold a processor's time so far: busy and altogether, in ticks."""

    busy: int
    total: int


class _Sample(NamedTuple):
    """Hold the counters at one moment."""

    at: float
    cpus: Sequence[_Busy]
    received: int
    sent: int


class Vitals:
    """Tell how busy the machine was since the last time it was asked.

    Args:
        clock: Tells the time.
        proc: Where procfs is mounted.
    """

    def __init__(self, clock: Clock, *, proc: Path = PROC) -> None:
        self._clock = clock
        self._proc = proc
        self._before = self._sample()

    def read(self) -> dict[str, Any]:
        """Return processors in percent, memory in bytes, network in bytes per second.

        Returns:
            ``at`` (Unix seconds), ``cpu`` (total, cores), ``memory`` (used, total) and
            ``network`` (rx, tx).
        """
        before, now = self._before, self._sample()
        self._before = now
        elapsed = max(1e-3, now.at - before.at)
        shares = [_share(old, new) for old, new in zip(before.cpus, now.cpus, strict=False)]
        used, total = self._memory()
        return {
            "at": round(self._clock.now(), 3),
            "cpu": {"total": shares[0] if shares else _load(), "cores": shares[1:]},
            "memory": {"used": used, "total": total},
            "network": {
                "rx": round(max(0, now.received - before.received) / elapsed),
                "tx": round(max(0, now.sent - before.sent) / elapsed),
            },
        }

    def _sample(self) -> _Sample:
        return _Sample(self._clock.monotonic(), self._cpus(), *self._network())

    def _text(self, name: str) -> str:
        with contextlib.suppress(OSError):
            return (self._proc / name).read_text("ascii", "replace")
        return ""

    def _cpus(self) -> list[_Busy]:
        found = []
        for line in self._text("stat").splitlines():
            name, *ticks = line.split()
            if name.startswith("cpu"):
                # user nice system idle iowait irq softirq steal; guest time is in user already
                numbers = [int(one) for one in ticks[:8]]
                idle = sum(numbers[3:5])
                found.append(_Busy(sum(numbers) - idle, sum(numbers)))
        return found

    def _memory(self) -> tuple[int, int]:
        fields = dict(line.split(":", 1) for line in self._text("meminfo").splitlines())
        total = _kilobytes(fields.get("MemTotal")) or _physical_memory()
        free = _kilobytes(fields.get("MemAvailable"))
        return (total - free if free else 0), total

    def _network(self) -> tuple[int, int]:
        received = sent = 0
        for line in self._text("net/dev").splitlines()[2:]:
            name, _, rest = line.partition(":")
            numbers = rest.split()
            if name.strip() != "lo" and len(numbers) >= 9:
                received += int(numbers[0])
                sent += int(numbers[8])
        return received, sent


def _share(before: _Busy, now: _Busy) -> float:
    total = now.total - before.total
    busy = now.busy - before.busy
    return round(min(100.0, max(0.0, 100 * busy / total)), 1) if total > 0 else 0.0


def _kilobytes(field: str | None) -> int:
    return int(field.split()[0]) * 1024 if field else 0


def _load() -> float:
    """Guess the processors' share from the load, where procfs does not tell it."""
    with contextlib.suppress(OSError, AttributeError):
        return round(min(100.0, 100 * os.getloadavg()[0] / (os.cpu_count() or 1)), 1)
    return 0.0


def _physical_memory() -> int:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return 0
