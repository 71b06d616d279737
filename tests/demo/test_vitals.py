"""The machine's vitals are read from procfs, and told as best as can be without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from trunkline.demo.vitals import Vitals

STAT = (
    "cpu  {0} 0 0 {1} 0 0 0 0 9 9\n"
    "cpu0 {0} 0 0 {1} 0 0 0 0 0 0\n"
    "cpu1 0 0 0 {1} 0 0 0 0 0 0\n"
    "intr 5\n"
)
MEMORY = "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    400 kB\n"
NETWORK = (
    "Inter-|   Receive  |  Transmit\n face |bytes packets |bytes packets\n"
    "    lo: 999999 1 0 0 0 0 0 0 999999 1 0 0 0 0 0 0\n"
    "  eth0: {0} 1 0 0 0 0 0 0 {1} 1 0 0 0 0 0 0\n"
)


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at = 100.0

    def now(self) -> float:
        return self.at + 1_000_000

    def monotonic(self) -> float:
        return self.at


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "net").mkdir()
    (tmp_path / "meminfo").write_text(MEMORY)
    (tmp_path / "stat").write_text(STAT.format(100, 100))
    (tmp_path / "net" / "dev").write_text(NETWORK.format(1000, 500))
    return tmp_path


def test_what_happened_between_two_readings_is_told(proc: Path) -> None:
    clock = Hands()
    vitals = Vitals(clock, proc=proc)
    clock.at += 2
    (proc / "stat").write_text(STAT.format(130, 110))
    (proc / "net" / "dev").write_text(NETWORK.format(3000, 600))
    assert vitals.read() == {
        "at": 1_000_102.0,
        "cpu": {"total": 75.0, "cores": [75.0, 0.0]},
        "memory": {"used": 600 * 1024, "total": 1000 * 1024},
        "network": {"rx": 1000, "tx": 50},
    }


def test_nothing_moved_is_zero_and_counters_may_start_over(proc: Path) -> None:
    clock = Hands()
    vitals = Vitals(clock, proc=proc)
    assert vitals.read()["cpu"] == {"total": 0.0, "cores": [0.0, 0.0]}
    (proc / "stat").write_text(STAT.format(1, 1))
    (proc / "net" / "dev").write_text(NETWORK.format(0, 0))
    told = vitals.read()
    assert told["cpu"]["total"] == 0.0
    assert told["network"] == {"rx": 0, "tx": 0}


def test_without_procfs_the_same_is_told_as_best_as_can_be(tmp_path: Path) -> None:
    told = Vitals(Hands(), proc=tmp_path / "none").read()
    assert told.keys() == {"at", "cpu", "memory", "network"}
    assert told["cpu"]["cores"] == []
    assert 0 <= told["cpu"]["total"] <= 100
    assert told["memory"]["used"] == 0
    assert told["network"] == {"rx": 0, "tx": 0}
