"""Migrations: numbered, once each, all or nothing, and never from a newer release."""

from __future__ import annotations

import sqlite3

import pytest

from trunkline.errors import SchemaTooNewError
from trunkline.sql.migrator import Migration, migrate, migrations, statements, version_of


@pytest.fixture
def connection():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    yield connection
    connection.close()


def test_shipped_steps_are_numbered_without_holes():
    """The steps of a dialect count 1, 2, 3 …."""
    found = migrations("sqlite")
    assert [step.version for step in found] == list(range(1, len(found) + 1))
    assert found[0].name == "line"


def test_each_step_runs_once(connection):
    """A second run does nothing; a new step runs on top."""
    one = Migration(1, "one", "CREATE TABLE a (x);")
    two = Migration(2, "two", "INSERT INTO a VALUES (1); INSERT INTO a VALUES (2);")
    assert version_of(connection) == 0
    assert migrate(connection, [one], place="here") == 1
    assert migrate(connection, [one], place="here") == 0
    assert migrate(connection, [one, two], place="here") == 1
    assert version_of(connection) == 2
    assert connection.execute("SELECT count(*) FROM a").fetchone() == (2,)


def test_failing_step_leaves_nothing(connection):
    """When a statement fails, no step of the run is kept."""
    steps = [
        Migration(1, "good", "CREATE TABLE a (x);"),
        Migration(2, "bad", "CREATE TABLE b (x); INSERT INTO nowhere VALUES (1);"),
    ]
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, steps, place="here")
    assert version_of(connection) == 0
    assert connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)
    assert not connection.in_transaction


def test_newer_schema_is_refused_with_both_versions(connection):
    """A database of a newer release is not touched."""
    migrate(connection, [Migration(7, "later", "CREATE TABLE a (x);")], place="here")
    with pytest.raises(SchemaTooNewError, match=r"here has schema 7 .* up to 1"):
        migrate(connection, [Migration(1, "one", "CREATE TABLE a (x);")], place="here")
    assert version_of(connection) == 7


def test_statements_are_split_where_they_end():
    """Semicolons in texts, comments and triggers do not end a statement."""
    script = """
    -- a comment; with a semicolon
    CREATE TABLE a (x DEFAULT ';');
    CREATE TRIGGER t AFTER INSERT ON a BEGIN
      DELETE FROM a; SELECT 1;
    END;
    SELECT 1
    """
    found = list(statements(script))
    assert len(found) == 3
    assert found[1].startswith("CREATE TRIGGER")
    assert found[1].endswith("END;")
