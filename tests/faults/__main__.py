"""``make test-faults``: strike every engine with every fault, and write docs/faults.md.

``--engine`` and ``--fault`` choose; rows that were not run stay as they are.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tests.faults.report import Row, keep, row_of
from tests.faults.runs import Cell, run_cell
from tests.faults.strikes import STRIKES


def main() -> None:
    """Run what the command line asks for; exit with 1 when a promise was broken."""
    given = _arguments()
    rows: list[Row] = []
    are_clean = True
    for engine, fault in _places(given):
        cells = [
            _run(engine, fault, seed=given.seed + turn, given=given) for turn in range(given.runs)
        ]
        are_clean = are_clean and all(cells) and all(one.is_clean for one in cells if one)
        rows.append(_row(engine, fault, cells))
        if not given.dry:
            keep(rows)
    sys.exit(not are_clean)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--engine", action="append", choices=STRIKES)
    parser.add_argument("--fault", action="append", help="as in the table; all by default")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000)
    parser.add_argument("--strikes", type=int, default=5, help="faults in a run (5)")
    parser.add_argument("--runs", type=int, default=1, help="runs of each, seeds counted up (1)")
    parser.add_argument("--dry", action="store_true", help="write nothing")
    parser.add_argument("--keep", metavar="FOLDER", help="write there what unclean runs heard")
    return parser.parse_args()


def _places(given: argparse.Namespace) -> Iterator[tuple[str, str]]:
    for engine, faults in STRIKES.items():
        if not given.engine or engine in given.engine:
            for fault in faults:
                if not given.fault or fault in given.fault:
                    yield engine, fault


def _run(engine: str, fault: str, *, seed: int, given: argparse.Namespace) -> Cell | None:
    """Run one cell and say what it found; None when it could not be brought to its end."""
    try:
        cell = asyncio.run(run_cell(engine, [fault], seed=seed, strikes=given.strikes))
    except (AssertionError, RuntimeError) as error:
        _say(f"{engine} | {fault} | seed {seed}: {type(error).__name__}: {error}")
        _say("\n".join(getattr(error, "__notes__", ())))
        return None
    _say(str(cell))
    if given.keep and not cell.is_clean:
        path = Path(given.keep, f"{engine} {fault} {seed}.json".replace(" ", "-"))
        path.write_bytes(msgspec.json.encode(cell.evidence, enc_hook=list))
        _say(f"    evidence: {path}")
    return cell


def _row(engine: str, fault: str, cells: list[Cell | None]) -> Row:
    """Return a cell's row; a run that did not come to its end is no run that went well."""
    whole = [one for one in cells if one is not None]
    row = row_of(whole) if whole else Row(engine=engine, fault=fault)
    if len(whole) < len(cells):
        row = msgspec.structs.replace(row, broken=[*row.broken, "did not come to an end"])
    return row


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


main()
