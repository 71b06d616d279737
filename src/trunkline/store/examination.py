"""What ``trunkline doctor`` finds in a store: what waits, who works, and what stands still.

Whether somebody works shows only over time, so whatever should move is looked at twice.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, NamedTuple

from trunkline.log.finding import Finding
from trunkline.sql.database import Database, Dialect
from trunkline.store import schema
from trunkline.store.consumer_table import ConsumerTable, Standing, Status
from trunkline.store.lease import BEAT
from trunkline.store.outbox import Outbox
from trunkline.store.parked_table import ParkedTable
from trunkline.store.statements import statements_for

#: Dead rows of the outbox that make the relay's every look slow.
MANY_DEAD: Final = 10_000
#: Messages behind which a consumer counts as behind.
FAR_BEHIND: Final = 10_000
#: Seconds between two looks: longer than a holder of a lease is silent, a slow machine's too.
BETWEEN: Final = 2 * BEAT
START_A_WORKER: Final = "start one: trunkline worker MODULE:OBJECT"

Head = Callable[[], Awaitable[int]]
Wait = Callable[[float], Awaitable[None]]


class Claim(NamedTuple):
    """Be a lease as its row says.

    Args:
        name: What it is for.
        epoch: How often it was taken.
        beat: How often its holder has shown that it lives.
        holder: Who it is; empty for nobody.
    """

    name: str
    epoch: int
    beat: int
    holder: str


class Look(NamedTuple):
    """Be the state of a store at one moment."""

    waiting: int
    oldest: int
    claims: dict[str, Claim]


async def examine(database: Database, head: Head, wait: Wait) -> AsyncIterator[Finding]:
    """Look at a store and change nothing.

    Args:
        database: Open; its tables need not be there.
        head: Asks for the line's last global id.
        wait: Lets seconds pass.

    Yields:
        What was found, in the order to show it.
    """
    missing = await schema.missing(database)
    if missing:
        names = ", ".join(f"{one.version} {one.name}" for one in missing)
        yield Finding("warn", "store", f"tables are missing: {names}", "trunkline migrate")
        return
    before = await _look(database)
    silent: set[str] = set()
    after = before
    if before.waiting or any(one.holder for one in before.claims.values()):
        await wait(BETWEEN)
        after = await _look(database)
        silent = _silent(before, after)
    yield await _outbox(database, before, after)
    yield await _parked(database)
    if database.dialect is Dialect.POSTGRES:
        yield await _dead_rows(database)
    for claim in after.claims.values():
        if claim.holder:
            yield _lease(claim, is_silent=claim.name in silent)
    async for finding in _consumers(database, after, head):
        yield finding


async def _look(database: Database) -> Look:
    sql = statements_for(database.dialect, database.schema)
    ((waiting, oldest),) = await database.fetch(sql.waiting)
    rows = await database.fetch(sql.read_leases)
    return Look(waiting, oldest or 0, {row[0]: Claim(*tuple(row)) for row in rows})


def _silent(before: Look, after: Look) -> set[str]:
    """Name the leases that somebody holds who has not shown since the first look."""
    return {
        name
        for name, claim in after.claims.items()
        if claim.holder and before.claims.get(name) == claim
    }


async def _outbox(database: Database, before: Look, after: Look) -> Finding:
    place = f"{after.waiting} rows wait in {database.place}"
    if not after.waiting:
        return Finding("ok", "outbox", f"nothing waits in {database.place}")
    if after.oldest != before.oldest:
        return Finding("ok", "outbox", f"{place}, and move")
    detail = f"{place}, the oldest (number {after.oldest}) did not move for {BETWEEN:g} s"
    return Finding(
        "warn", "outbox", detail, f"see that a worker runs the relay, or {START_A_WORKER}"
    )


async def _parked(database: Database) -> Finding:
    parked = await Outbox(database, "").parked(limit=100)
    if not parked:
        return Finding("ok", "outbox, parked", "no log refused anything")
    many = "100 or more" if len(parked) == 100 else str(len(parked))
    detail = f"{many} messages that no log took, such as number {parked[0].seq}: {parked[0].error}"
    fix = "trunkline outbox list shows them; mend the cause, then outbox retry, or outbox drop"
    return Finding("warn", "outbox, parked", detail, fix)


async def _dead_rows(database: Database) -> Finding:
    sql = statements_for(database.dialect, database.schema)
    rows = await database.fetch(sql.dead_rows)
    dead = rows[0][0] if rows else 0
    if dead < MANY_DEAD:
        return Finding("ok", "outbox, dead rows", f"n_dead_tup {dead}")
    fix = (
        "end transactions that stay open for long (pg_stat_activity.xact_start), for they keep "
        f"autovacuum from its work; then VACUUM {database.schema}trunkline_outbox"
    )
    return Finding("warn", "outbox, dead rows", f"n_dead_tup {dead}: the relay slows down", fix)


def _lease(claim: Claim, *, is_silent: bool) -> Finding:
    subject = f"lease {claim.name}"
    if not is_silent:
        return Finding("ok", subject, f"held by {claim.holder}")
    detail = f"{claim.holder} holds it and was silent for {BETWEEN:g} s: it hangs, or was killed"
    return Finding(
        "warn", subject, detail, f"another worker takes over by itself; {START_A_WORKER}"
    )


async def _consumers(database: Database, look: Look, head: Head) -> AsyncIterator[Finding]:
    table, parked = ConsumerTable(database), ParkedTable(database)
    definitions = await table.definitions()
    last = await head() if definitions else 0
    for one in definitions:
        standing = await table.standing(one.name)
        if standing is not None:
            claim = look.claims.get(f"consumer:{one.name}")
            holder = claim.holder if claim else ""
            count = await parked.count(one.name)
            yield _consumer(one.name, standing, (last, count), holder)


def _consumer(name: str, standing: Standing, counts: tuple[int, int], holder: str) -> Finding:
    head, parked = counts
    subject, behind = f"consumer {name}", max(0, head - standing.position.global_id)
    detail = f"{standing.status}, at most {behind} messages behind, {parked} set aside"
    if standing.status is Status.STOPPED:
        fix = f"trunkline consumers show {name}, then resume or seek"
        return Finding("fail", subject, f"{detail}: {standing.reason}", fix)
    if standing.status is Status.PAUSED:
        return Finding("warn", subject, detail, f"trunkline consumers resume {name}")
    if not holder and (behind or parked):
        return Finding("warn", subject, f"{detail}, and nobody runs it", START_A_WORKER)
    if parked:
        fix = f"trunkline consumers parked {name} shows why; then retry or skip"
        return Finding("warn", subject, detail, fix)
    if behind > FAR_BEHIND:
        return Finding("warn", subject, detail, "a faster handler, or batch=, lets it catch up")
    return Finding("ok", subject, detail)
