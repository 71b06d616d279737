"""Changing what the connections of an app are granted, all in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from trunkline.model import codec
from trunkline.sql.database import Transaction
from trunkline.webhooks.app import json_text
from trunkline.webhooks.statements import Statements

#: Connections that are read and changed at a time.
CHUNK: Final = 500


def merged(had: Sequence[str], new: Sequence[str], gone: AbstractSet[str]) -> list[str]:
    """Return granted signals after an app asks for others.

    Args:
        had: What was granted.
        new: What is granted on top.
        gone: What is no longer.
    """
    kept = [one for one in had if one not in gone]
    return [*kept, *(one for one in new if one not in kept)]


async def regrant(
    tx: Transaction,
    sql: Statements,
    app_id: str,
    decide: Callable[[Sequence[str]], Sequence[str]],
    now: float,
) -> int:
    """Change what all connections of an app are granted.

    Args:
        tx: The transaction.
        sql: The statements.
        app_id: Which app.
        decide: Returns what is granted, given what was.
        now: Unix seconds.

    Returns:
        How many connections it changed.
    """
    after, count = "", 0
    while rows := await tx.fetch(sql.connections, after, app_id, app_id, "", "", "", CHUNK):
        changes = []
        for row in rows:
            had, declined = codec.decode(row[5]), codec.decode(row[6])
            granted = list(decide(had))
            left = [one for one in declined if one not in granted]
            if (granted, left) != (had, declined):
                changes.append((json_text(granted), json_text(left), now, row[0]))
        if changes:
            await tx.execute_many(sql.change_connection, changes)
        after, count = rows[-1][0], count + len(changes)
    return count
