"""The tables of a projection, under the names that they have now.

A projector writes ``{search}`` where the table's name goes. The live table is called ``search``;
one that is built beside it has a name of its own until it takes the live one's place.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from trunkline.errors import ConfigError

if TYPE_CHECKING:
    from trunkline.channels.transaction import LineTransaction
    from trunkline.sql.database import Row

_TABLE = re.compile(r"[a-z_][a-z0-9_]{0,47}\Z")
_PLACE = re.compile(r"\{([a-z_][a-z0-9_]*)\}")
#: Statements of one projector that are remembered with their names filled in.
STATEMENTS = 256


class Naming:
    """Fill names of tables into statements.

    Args:
        names: The present names, by those that statements say.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = dict(names)
        self.text = lru_cache(STATEMENTS)(self._text)

    @classmethod
    def live(cls, tables: Iterable[str]) -> Naming:
        """Name the tables that readers see."""
        return cls({name: name for name in tables})

    @classmethod
    def built(cls, tables: Iterable[str], build: int) -> Naming:
        """Name the tables that are built beside them."""
        return cls({name: f"{name}__b{build}" for name in tables})

    def _text(self, statement: str) -> str:
        return _PLACE.sub(lambda found: self.names.get(found[1], found[0]), statement)

    def on(self, tx: LineTransaction) -> LineTransaction:
        """Return a transaction whose statements have the names filled in."""
        return cast("LineTransaction", NamingTransaction(tx, self))


class NamingTransaction:
    """Be a transaction in whose statements ``{name}`` is a table of the projection.

    Args:
        tx: The transaction.
        naming: The names.
    """

    def __init__(self, tx: LineTransaction, naming: Naming) -> None:
        self._tx = tx
        # Statements go straight to the database: a projector runs one or more for every event.
        self._database = tx.unit.transaction
        self._text = naming.text

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    def execute(self, statement: str, *values: Any) -> Awaitable[int]:
        """Run a statement and return how many rows it touched."""
        return self._database.execute(self._text(statement), *values)

    def execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> Awaitable[None]:
        """Run a statement once for each row of values."""
        return self._database.execute_many(self._text(statement), rows)

    def write(self, statement: str, *values: Any) -> Awaitable[None]:
        """Run a statement whose answer nobody needs."""
        return self._database.write(self._text(statement), *values)

    def fetch(self, statement: str, *values: Any) -> Awaitable[Sequence[Row]]:
        """Run a statement and return its rows."""
        return self._database.fetch(self._text(statement), *values)


def tables_of(handler: str, given: Mapping[str, str | Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Check the tables that a projector declares.

    Args:
        handler: Its name, for the error.
        given: Statements that make a table, with ``{name}`` for its name, by that name.

    Returns:
        The statements by name.

    Raises:
        ConfigError: A name is none, or the statements don't name their table.
    """
    tables: dict[str, tuple[str, ...]] = {}
    for name, said in given.items():
        if not _TABLE.match(name):
            raise ConfigError(
                f"{handler}: a table's name is up to 48 small letters, digits and _: {name!r}"
            )
        statements = (said,) if isinstance(said, str) else tuple(said)
        if not any(f"{{{name}}}" in statement for statement in statements):
            raise ConfigError(
                f"{handler}: write {{{name}}} for the table's name in the statements that make it, "
                "so that it can be built anew beside the live one"
            )
        tables[name] = statements
    return tables


def versioned(name: str, version: int) -> str:
    """Return the name of a handler's consumer: its own, and its version from the second on."""
    return name if version == 1 else f"{name}.v{version}"
