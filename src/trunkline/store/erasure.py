"""What goes with a line that is erased: all that names its messages by their place.

Ids begin again in a new epoch, so a key's result, a snapshot, a tag or a row of the tree of events
would name other messages than it was written for. Durable consumers know the epoch themselves and
are told of a gap.
"""

# ruff: noqa: S608 - statements are put together from constants and a checked schema name alone
from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from trunkline.sql.database import Dialect

#: Tables of which nothing holds any more. What waits for a timer waits for what is gone.
_ERASED: Final = (
    "trunkline_command",
    "trunkline_snapshot",
    "trunkline_tag",
    "trunkline_event",
    "trunkline_timer",
)


def erasure(dialect: Dialect, schema: str) -> Sequence[str]:
    """Return the statements that go before the erasing of a line, in its transaction.

    Args:
        dialect: Which SQL.
        schema: Qualifies table names, dot included; empty for none.
    """
    found = [f"DELETE FROM {schema}{table}" for table in _ERASED]
    # An instance that waits for events of the erased line must not meet those of the new one.
    found.append(
        f"UPDATE {schema}trunkline_process SET status = 'abandoned', "
        "error = 'the line was reset' WHERE status IN ('active', 'stuck')"
    )
    # Tables hold what erased events made: a worker builds them again, from what there is.
    found.append(f"UPDATE {schema}trunkline_projection SET live_at = 0")
    if dialect is Dialect.POSTGRES:
        # Whoever has written there and not committed yet comes before us, whole.
        names = ", ".join(f"{schema}{table}" for table in (*_ERASED, "trunkline_process"))
        found.insert(0, f"LOCK TABLE {names} IN EXCLUSIVE MODE")
    return found
