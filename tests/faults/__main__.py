"""Run cells of the fault suite: ``python -m tests.faults ENGINE FAULT [SEED [STRIKES]]``."""

from __future__ import annotations

import asyncio
import sys

from tests.faults.runs import run_cell

engine, fault, *more = sys.argv[1:]
seed, strikes = [*map(int, more), 1, 3][:2] if more else (1, 3)
sys.stdout.write(f"{asyncio.run(run_cell(engine, [fault], seed=seed, strikes=strikes))}\n")
