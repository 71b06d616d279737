"""Measured programs: modules that run as processes of their own and print one line of JSON."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.compiler import BUILD
from bench.processes import ROOT, BenchError, clean_environment

#: Seconds that a program may take besides what it was told to measure for.
SPARE = 90.0

Told = dict[str, Any]


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Lend a fresh folder on the disk where the logs are kept."""
    BUILD.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix="run-", dir=BUILD))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def start(module: str, *words: object) -> subprocess.Popen[str]:
    """Start a module as a program whose input and output are pipes."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, words)],
        cwd=ROOT,
        env=clean_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def run(module: str, *words: object, seconds: float) -> Told:
    """Run a module to its end and return what it tells."""
    return run_together([(module, *words)], seconds=seconds)[0]


def run_together(calls: Sequence[tuple[object, ...]], *, seconds: float) -> list[Told]:
    """Run several modules at the same time and return what each tells.

    Args:
        calls: The module and the words of each.
        seconds: How long they measure.
    """
    started = [start(str(module), *words) for module, *words in calls]
    try:
        printed = [process.communicate(timeout=SPARE + seconds)[0] for process in started]
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
                process.wait()
    if any(process.returncode for process in started):
        raise BenchError("a measured program failed")
    return [json.loads(text) for text in printed]


@contextlib.contextmanager
def companion(module: str, *words: object) -> Iterator[subprocess.Popen[str]]:
    """Run a module beside what is measured; it says a line when it is ready."""
    process = start(module, *words)
    assert process.stdout is not None
    try:
        if not process.stdout.readline():
            raise BenchError(f"{module} ended before it was ready")
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def finish(process: subprocess.Popen[str]) -> Told:
    """End a companion by ending its input, and return what it tells."""
    printed, _ = process.communicate(timeout=SPARE)
    if process.returncode:
        raise BenchError("a measured program failed")
    told: Told = json.loads(printed)
    return told
