"""One statement for a whole lone command: its write and its event, with the commit it implies.

Each of BEGIN, write, append and COMMIT is a round trip for whoever sends one command after
another. A data-modifying WITH clause carries the write instead, and is finished before the append
takes the tail's lock, for the append reads how many rows it touched: so nobody holds the tail
while waiting for a row.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from trunkline.log.postgres import statements as sql
from trunkline.log.postgres.turns import Call

#: The server's code for a version that another one was quicker to take.
REFUSED: Final = "TL001"

_WRITE: Final = re.compile(r"\s*(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s", re.IGNORECASE)
#: What ends a statement, hides its end, has an answer of its own or looks like a schema's place.
_UNFIT: Final = re.compile(r";|--|/\*|\$(?!\d)|\{|\bRETURNING\b", re.IGNORECASE)
_PLACEHOLDER: Final = re.compile(r"\$(\d+)")


def alone(
    left: Sequence[tuple[str, Sequence[Sequence[Any]]]], call: Call
) -> tuple[str, int] | None:
    """Return the statement that does it all, and how many of its values are the write's.

    Args:
        left: The writes that were left for the end.
        call: The append.

    Returns:
        None when it takes several statements.
    """
    if not left:
        return (sql.APPEND_SURE if call.statement == sql.APPEND_NEXT else call.statement), 0
    if len(left) > 1 or len(left[0][1]) > 1 or call.statement != sql.APPEND_NEXT:
        return None
    count = len(left[0][1][0])
    statement = _joined(left[0][0], count)
    return None if statement is None else (statement, count)


@lru_cache(maxsize=256)
def _joined(write: str, count: int) -> str | None:
    if not _WRITE.match(write) or _UNFIT.search(write):
        return None
    if {int(one) for one in _PLACEHOLDER.findall(write)} != set(range(1, count + 1)):
        return None
    return sql.append_after(write, count)
