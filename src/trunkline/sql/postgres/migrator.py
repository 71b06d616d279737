"""Running the numbered migrations on PostgreSQL, safely when many processes start at once."""

from __future__ import annotations

from collections.abc import Iterator

from trunkline.errors import SchemaTooNewError
from trunkline.sql.migrator import Migration
from trunkline.sql.postgres.address import Address
from trunkline.sql.postgres.database import Connection

#: First half of the advisory lock under which one process at a time migrates.
LOCK_CLASS = 1953656429
# Not to_regclass(): within a transaction it may answer from a cache that does not know yet what
# another session has just created.
_FIND_NOTES = (
    "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = $1 AND c.relname = 'schema_version'"
)
_MAKE_NOTES = (
    "CREATE TABLE {schema}.schema_version "
    "(version integer PRIMARY KEY, name text NOT NULL, ran_at timestamptz NOT NULL DEFAULT now())"
)


async def version_of(connection: Connection, address: Address) -> int:
    """Return the number of the newest step that ran, 0 for a database without our tables."""
    if await connection.fetchval(_FIND_NOTES, address.schema) is None:
        return 0
    newest = address.sql("SELECT coalesce(max(version), 0) FROM {schema}.schema_version")
    return int(await connection.fetchval(newest))


def script(steps: list[Migration], address: Address) -> Iterator[str]:
    """Yield all statements of the steps and their notes, for those who run them by hand."""
    yield address.sql("CREATE SCHEMA IF NOT EXISTS {schema};")
    yield address.sql(_MAKE_NOTES) + ";"
    for step in steps:
        yield address.sql(step.script)
        values = f"VALUES ({step.version}, '{step.name}')"
        yield address.sql("INSERT INTO {schema}.schema_version (version, name) ") + f"{values};"


async def migrate(connection: Connection, steps: list[Migration], address: Address) -> int:
    """Run the steps that are missing, all in one transaction.

    Args:
        connection: A connection outside a transaction.
        steps: What this release knows, in order.
        address: Names the schema.

    Returns:
        How many steps ran.

    Raises:
        SchemaTooNewError: The database has a step that this release does not know.
        asyncpg.PostgresError: The server refused one.
    """
    newest = steps[-1].version if steps else 0
    if check_version(await version_of(connection, address), newest, address) == newest:
        return 0
    async with connection.transaction():
        await connection.execute(
            "SELECT pg_advisory_xact_lock($1, hashtext($2))", LOCK_CLASS, address.schema
        )
        # Another process may have done it while this one waited.
        version = check_version(await version_of(connection, address), newest, address)
        missing = [step for step in steps if step.version > version]
        if version == 0:
            await _make_schema(connection, address)
        for step in missing:
            await connection.execute(address.sql(step.script))
            note = address.sql(
                "INSERT INTO {schema}.schema_version (version, name) VALUES ($1, $2)"
            )
            await connection.execute(note, step.version, step.name)
    return len(missing)


async def _make_schema(connection: Connection, address: Address) -> None:
    # IF NOT EXISTS would ask for the right to create schemas even when it is there.
    found = "SELECT 1 FROM pg_namespace WHERE nspname = $1"
    if await connection.fetchval(found, address.schema) is None:
        await connection.execute(address.sql("CREATE SCHEMA {schema}"))
    await connection.execute(address.sql(_MAKE_NOTES))


def check_version(version: int, newest: int, address: Address) -> int:
    """Return a database's version, or raise when it is newer than this release.

    Raises:
        SchemaTooNewError: It is.
    """
    if version > newest:
        raise SchemaTooNewError(
            f"the schema {address.schema!r} of {address.place} has version {version} and this "
            f"release knows up to {newest}: install a newer trunkline"
        )
    return version
