"""Bringing the store's tables to what this release knows, in either dialect."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from trunkline.errors import SchemaTooNewError
from trunkline.sql.database import Database, Dialect, Transaction
from trunkline.sql.migrator import Migration, migrations, statements
from trunkline.store.statements import Statements, statements_for

#: Two processes that start together take turns by it, in a class of our own.
_FIND_SCHEMA = "SELECT 1 FROM pg_namespace WHERE nspname = $1"
_LOCK = "SELECT pg_advisory_xact_lock(1953656431, 1)"


def steps(dialect: Dialect) -> list[Migration]:
    """Return the store's numbered steps in a dialect, in order."""
    return migrations(f"{dialect}/store")


def script(dialect: Dialect, schema: str) -> Iterator[str]:
    """Yield all statements that make the store's tables, for those who run them by hand."""
    sql = statements_for(dialect, schema)
    if schema:
        yield f"CREATE SCHEMA IF NOT EXISTS {schema.removesuffix('.')};"
    yield f"{sql.make_notes};"
    for step in steps(dialect):
        yield from _statements(step, schema)
        values = f"VALUES ({step.version}, '{step.name}')"
        yield f"INSERT INTO {schema}trunkline_store_schema (version, name) {values};"


async def missing(database: Database) -> list[Migration]:
    """Return the steps that have not run yet.

    Raises:
        SchemaTooNewError: The database has a step that this release does not know.
    """
    sql = statements_for(database.dialect, database.schema)
    if not await database.fetch(sql.find_notes):
        return steps(database.dialect)
    version = (await database.fetch(sql.read_version))[0][0]
    return _missing(database, version)


async def migrate(database: Database) -> str:
    """Run the steps that are missing, all in one transaction, and return the store's name.

    Raises:
        SchemaTooNewError: The database has a step that this release does not know.
        LogError: The database cannot be used.
    """
    sql = statements_for(database.dialect, database.schema)
    if await missing(database):
        async with database.transaction() as tx:
            await _run_missing(database, tx, sql)
    found = await database.fetch(sql.read_store)
    if not found:  # also after the statements were run by hand
        async with database.transaction() as tx:
            await tx.execute(sql.found_store, secrets.token_hex(4))
        found = await database.fetch(sql.read_store)
    return str(found[0][0])


async def _run_missing(database: Database, tx: Transaction, sql: Statements) -> None:
    schema = database.schema
    if database.dialect is Dialect.POSTGRES:
        await tx.fetch(_LOCK)
        # IF NOT EXISTS would ask for the right to create schemas even when it is there.
        if not await tx.fetch(_FIND_SCHEMA, schema.removesuffix(".").strip('"')):
            await tx.execute(f"CREATE SCHEMA {schema.removesuffix('.')}")
    version = 0
    if await tx.fetch(sql.find_notes):
        version = (await tx.fetch(sql.read_version))[0][0]
    else:
        await tx.execute(sql.make_notes)
    for step in _missing(database, version):
        for statement in _statements(step, schema):
            await tx.execute(statement)
        await tx.execute(sql.note_version, step.version, step.name)


def _missing(database: Database, version: int) -> list[Migration]:
    known = steps(database.dialect)
    if version > known[-1].version:
        raise SchemaTooNewError(
            f"the store in {database.place} has schema {version} and this release knows up to "
            f"{known[-1].version}: install a newer trunkline"
        )
    return [step for step in known if step.version > version]


def _statements(step: Migration, schema: str) -> Iterator[str]:
    yield from statements(step.script.replace("{schema}.", schema))
