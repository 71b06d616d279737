"""What a guest is, and how the rows of a publish become one statement in its driver's style."""

from __future__ import annotations

import secrets
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from trunkline.sql.database import Dialect

#: Rows in one statement: two values each stay far below every driver's limit.
ROWS = 400

#: Connections whose transactions' tokens are remembered.
REMEMBERED = 4096

Poke = Callable[[], None]


class Guest(Protocol):
    """Be somebody else's open transaction."""

    #: Whether it is for synchronous code.
    is_sync: bool

    @property
    def dialect(self) -> Dialect:
        """Name the dialect of its database."""

    def on_commit(self, poke: Poke) -> None:
        """Have *poke* called around its commit, if its library can; it may be called in vain."""


class SyncGuest(Guest, Protocol):
    """Be a transaction of synchronous code."""

    def run(self, statement: str, values: Sequence[Any]) -> int:
        """Run a statement of ours and return how many rows it touched.

        Args:
            statement: With ``?`` for each value, and no other question mark or percent sign.
            values: The values.
        """

    def insert(self, insert: str, sealed: Sequence[bytes]) -> None:
        """Insert rows into the outbox.

        Args:
            insert: The statement up to ``VALUES``.
            sealed: A draft for each row.
        """


class AsyncGuest(Guest, Protocol):
    """Be a transaction of asynchronous code."""

    async def run(self, statement: str, values: Sequence[Any]) -> int:
        """Run a statement of ours; as for :meth:`SyncGuest.run`."""

    async def insert(self, insert: str, sealed: Sequence[bytes]) -> None:
        """Insert rows into the outbox; as for :meth:`SyncGuest.insert`."""


class Style:
    """Write rows as one statement with a driver's placeholders.

    Args:
        dialect: SQLite's rows have a token, PostgreSQL's none.
        name: As PEP 249 names it: ``qmark``, ``numeric_dollar``, else ``%s``.
    """

    def __init__(self, dialect: Dialect, name: str) -> None:
        self._dialect = dialect
        self._name = name

    def statements(
        self, insert: str, sealed: Sequence[bytes], token: str
    ) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """Yield statements with their values: one, unless there are very many rows."""
        has_token = self._dialect is Dialect.SQLITE
        for start in range(0, len(sealed), ROWS):
            rows = sealed[start : start + ROWS]
            width = 2 if has_token else 1
            marks = iter(self._marks(len(rows) * width))
            texts = (f"({', '.join(next(marks) for _ in range(width))})" for _ in rows)
            values = [one for row in rows for one in ((token, row) if has_token else (row,))]
            yield insert + ", ".join(texts), tuple(values)

    def marked(self, statement: str) -> str:
        """Return a statement that has ``?`` for each value with the driver's placeholders."""
        first, *rest = statement.split("?")
        return first + "".join(
            mark + text for mark, text in zip(self._marks(len(rest)), rest, strict=True)
        )

    def _marks(self, count: int) -> list[str]:
        if self._name == "qmark":
            return ["?"] * count
        if self._name == "numeric_dollar":
            return [f"${number}" for number in range(1, count + 1)]
        return ["%s"] * count


class Tokens:
    """Give each SQLite transaction a token, by something that lives as long as it does.

    Two transactions may share one (their messages then reach the log together), but one
    transaction never has two.
    """

    def __init__(self) -> None:
        self._weak: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
        self._by_id: dict[int, str] = {}

    def of(self, anchor: Any, *, is_new: bool) -> str:
        """Return the token of a transaction.

        Args:
            anchor: What lives as long: the transaction's own object, or its connection's.
            is_new: Whether the transaction is certain to begin just now.
        """
        try:
            token = None if is_new else self._weak.get(anchor)
            if token is None:
                token = self._weak[anchor] = secrets.token_hex(8)
        except TypeError:  # sqlite3's connections cannot be referred to weakly
            return self._of_id(id(anchor), is_new=is_new)
        return token

    def forget(self, connection: Any) -> None:
        """Know that what a connection publishes next belongs to another transaction."""
        self._by_id.pop(id(connection), None)

    def _of_id(self, ident: int, *, is_new: bool) -> str:
        token = None if is_new else self._by_id.pop(ident, None)
        if len(self._by_id) >= REMEMBERED:
            del self._by_id[next(iter(self._by_id))]
        self._by_id[ident] = token = token or secrets.token_hex(8)
        return token


TOKENS = Tokens()
