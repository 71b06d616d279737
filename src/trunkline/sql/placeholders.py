"""Statements are written once, with ``?`` for each value, also where a dialect numbers them."""

from __future__ import annotations

import itertools
import re

from trunkline.sql.database import Dialect


def in_dialect(dialect: Dialect, statement: str) -> str:
    """Return a statement as a dialect's driver takes it.

    Args:
        dialect: Which SQL: SQLite takes ``?``, PostgreSQL ``$1``, ``$2`` and so on.
        statement: Has ``?`` for each value, and no other question mark.
    """
    if dialect is not Dialect.POSTGRES:
        return statement
    numbers = itertools.count(1)
    return re.sub(r"\?", lambda _: f"${next(numbers)}", statement)
