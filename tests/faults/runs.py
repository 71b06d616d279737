"""From the name of an engine and a fault to a verdict: one cell of the table."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.faults.arena import INSIDE, OUTSIDE, Arena
from tests.faults.checker import Evidence, Verdict, examine
from tests.faults.rigs import RIGS
from tests.faults.strikes import ANNOUNCED, CONSUMERS, STRIKES


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What one run found.

    Args:
        engine: Its name.
        fault: Its name.
        seed: Of the run.
        strikes: How often the fault struck.
        verdict: What the checker says.
        evidence: What it was told.
        seconds: How long it took.
    """

    engine: str
    fault: str
    seed: int
    strikes: int
    verdict: Verdict
    evidence: Evidence
    seconds: float

    @property
    def is_clean(self) -> bool:
        """Tell whether every promise was kept; only some faults may announce a loss."""
        verdict = self.verdict
        may_announce = bool(ANNOUNCED.intersection(self.fault.split(", ")))
        return verdict.is_clean and (may_announce or not (verdict.lost_announced or verdict.resets))

    def __str__(self) -> str:
        verdict = self.verdict
        rules = sorted({one.rule for one in verdict.breaches})
        text = (
            f"{self.engine} | {self.fault} | seed {self.seed}: {verdict.messages} messages, "
            f"{verdict.heard} heard, {verdict.effects} effects, {self.strikes} strikes, "
            f"{len(verdict.lost_silently)} lost silently, "
            f"{len(verdict.lost_announced)} announced, "
            f"{len(verdict.resets)} resets told, {verdict.doubtful} doubtful, "
            f"{self.seconds:.1f} s"
        )
        shown = "".join(f"\n    {one.rule} {one.who}: {one.what}" for one in verdict.breaches[:20])
        if not self.is_clean:
            shown += "".join(f"\n    {who} was told {gap}" for who, gap in verdict.resets[:5])
        return text + (f"; broken: {', '.join(rules)}{shown}" if shown else "")


async def run_cell(
    engine: str,
    faults: Sequence[str],
    *,
    seed: int,
    strikes: int,
    listeners: Sequence[str] = (*INSIDE, *OUTSIDE),
) -> Cell:
    """Run publishers and listeners on an engine, strike, heal, and examine.

    Args:
        engine: Its name.
        faults: The faults to take turns.
        seed: Decides what chance decides.
        strikes: How often to strike.
        listeners: The ways to listen.
    """
    started = time.monotonic()
    if ANNOUNCED.intersection(faults):
        # message_bus's protocol knows no epoch: it cannot be told of a reset that was outgrown.
        listeners = [way for way in listeners if way != "long-poll"]
    async with RIGS[engine]() as rig:
        arena = Arena(rig, seed=seed, listeners=listeners, consumers=CONSUMERS.get(engine, 0))
        async with arena.running():
            for number in range(strikes):
                await STRIKES[engine][faults[number % len(faults)]](arena, rig)
                await arena.progress()
            evidence = await arena.finish()
    return Cell(
        engine=engine,
        fault=", ".join(faults),
        seed=seed,
        strikes=strikes,
        verdict=examine(evidence),
        evidence=evidence,
        seconds=time.monotonic() - started,
    )
