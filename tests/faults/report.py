"""The table: what every cell found, kept beside this file and written to docs/faults.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from tests.faults.runs import Cell
from tests.faults.strikes import ANNOUNCED, STRIKES

RESULTS = Path(__file__).with_name("results.json")
PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
TEXT = Path(__file__).with_name("faults.md.in")
TABLE = "@table@"
FOUND = "@found@"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One cell of the table.

    Args:
        engine: Its name.
        fault: Its name.
        seeds: Of the runs.
        strikes: How often the fault struck.
        messages: Acknowledged publishes.
        heard: Messages told to listeners.
        effects: What a durable consumer did.
        lost_silently: Messages lost without a word.
        lost_announced: Messages that are gone and were said to be.
        doubtful: Publishes that raised and are stored all the same.
        broken: Other promises that were broken, by rule.
    """

    engine: str
    fault: str
    seeds: list[int] = []
    strikes: int = 0
    messages: int = 0
    heard: int = 0
    effects: int = 0
    lost_silently: int = 0
    lost_announced: int = 0
    doubtful: int = 0
    broken: list[str] = []


def row_of(cells: Iterable[Cell]) -> Row:
    """Add up the runs of one cell."""
    runs = list(cells)
    verdicts = [one.verdict for one in runs]
    rules = {breach.rule for one in verdicts for breach in one.breaches}
    if any(one.verdict.resets and one.fault not in ANNOUNCED for one in runs):
        rules.add("reset told for nothing")
    return Row(
        engine=runs[0].engine,
        fault=runs[0].fault,
        seeds=[one.seed for one in runs],
        strikes=sum(one.strikes for one in runs),
        messages=sum(one.messages for one in verdicts),
        heard=sum(one.heard for one in verdicts),
        effects=sum(one.effects for one in verdicts),
        lost_silently=sum(len(one.lost_silently) for one in verdicts),
        lost_announced=sum(len(one.lost_announced) for one in verdicts),
        doubtful=sum(one.doubtful for one in verdicts),
        broken=sorted(rules),
    )


def kept_rows() -> dict[tuple[str, str], Row]:
    """Return the rows of earlier runs, by engine and fault."""
    if not RESULTS.exists():
        return {}
    rows = msgspec.json.decode(RESULTS.read_bytes(), type=list[Row])
    return {(one.engine, one.fault): one for one in rows}


def keep(rows: Iterable[Row]) -> None:
    """Put rows in the place of their earlier ones, and write the page anew."""
    all_rows = kept_rows() | {(one.engine, one.fault): one for one in rows}
    order = [(engine, fault) for engine, faults in STRIKES.items() for fault in faults]
    ordered = [all_rows[place] for place in order if place in all_rows]
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(ordered), indent=1) + b"\n")
    PAGE.write_text(page(ordered))


def page(rows: Iterable[Row]) -> str:
    """Return the page with a table of rows."""
    rows = list(rows)
    text = TEXT.read_text().replace(TABLE, "\n".join(_table(rows)))
    return text.replace(FOUND, "\n".join(_found(rows)))


def _table(rows: Iterable[Row]) -> Iterator[str]:
    yield (
        "| engine | fault | times | acknowledged | heard | effects "
        "| lost silently | lost, announced |"
    )
    yield "|---|---|--:|--:|--:|--:|--:|--:|"
    for one in rows:
        told = (one.strikes, one.messages, one.heard, one.effects)
        counts = (*told, one.lost_silently, one.lost_announced)
        numbers = " | ".join(f"{count:,}" for count in counts)
        yield f"| {one.engine} | {one.fault} | {numbers} |"


def _found(rows: list[Row]) -> Iterator[str]:
    total = sum(one.strikes for one in rows), sum(one.messages for one in rows)
    yield f"{total[0]:,} faults, {total[1]:,} acknowledged messages."
    broken = [one for one in rows if one.broken]
    for one in broken:
        yield f"* **{one.engine}, {one.fault}**: broken: {', '.join(one.broken)}."
    if not broken:
        yield "No rule was broken in any run."
