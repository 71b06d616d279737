"""Every SQL statement of the store, in both dialects, each in this one place."""

# ruff: noqa: S608 - statements are put together from constants and a checked schema name alone
from __future__ import annotations

from functools import cache
from typing import Final

import msgspec

from trunkline.sql.database import Dialect

#: Placeholders and type of a list of numbers: one JSON text in SQLite, one array in PostgreSQL.
_LIST: Final = {
    Dialect.SQLITE: "(SELECT value FROM json_each({}))",
    Dialect.POSTGRES: "(SELECT unnest({}::bigint[]))",
}


class Statements(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the statements of one dialect, for tables in one schema."""

    find_notes: str
    make_notes: str
    read_version: str
    note_version: str
    found_store: str
    read_store: str

    insert: str
    peek: str
    waiting: str
    read: str
    read_these: str
    remove: str
    park: str
    parked: str
    drop_parked: str
    put_back: str

    read_relayed: str
    note_relayed: str
    forget_relayed: str

    make_lease: str
    read_lease: str
    read_leases: str
    take_lease: str
    beat_lease: str
    hold_lease: str
    release_lease: str
    #: Only PostgreSQL has any.
    dead_rows: str = ""


@cache
def statements_for(dialect: Dialect, schema: str) -> Statements:
    """Return the statements.

    Args:
        dialect: Which SQL.
        schema: Qualifies table names, dot included; empty for none.
    """
    return _sqlite() if dialect is Dialect.SQLITE else _postgres(schema)


def _sqlite() -> Statements:
    listed = _LIST[Dialect.SQLITE].format("?")
    return Statements(
        find_notes="SELECT 1 FROM sqlite_schema WHERE name = 'trunkline_store_schema'",
        make_notes=_notes("integer"),
        read_version="SELECT coalesce(max(version), 0) FROM trunkline_store_schema",
        note_version="INSERT INTO trunkline_store_schema (version, name) VALUES (?, ?)",
        found_store="INSERT INTO trunkline_store VALUES (1, ?) ON CONFLICT DO NOTHING",
        read_store="SELECT ident FROM trunkline_store",
        peek="SELECT 1 FROM trunkline_outbox LIMIT 1",
        waiting="SELECT count(*), min(seq) FROM trunkline_outbox",
        insert="INSERT INTO trunkline_outbox (token, draft) VALUES ",
        read="SELECT seq, token, draft FROM trunkline_outbox ORDER BY seq LIMIT ?",
        read_these="SELECT seq, token, draft FROM trunkline_outbox "
        f"WHERE seq IN {listed} ORDER BY seq",
        remove=f"DELETE FROM trunkline_outbox WHERE seq IN {listed}",
        park="INSERT INTO trunkline_parked VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        parked="SELECT seq, draft, error, parked_at FROM trunkline_parked ORDER BY seq LIMIT ?",
        drop_parked=f"DELETE FROM trunkline_parked WHERE seq IN {listed}",
        put_back="INSERT INTO trunkline_outbox (token, draft) "
        f"SELECT 'retry ' || seq, draft FROM trunkline_parked WHERE seq IN {listed} ORDER BY seq",
        read_relayed="SELECT begun_at, seqs FROM trunkline_relayed",
        note_relayed="INSERT INTO trunkline_relayed VALUES (1, ?, ?)",
        forget_relayed="DELETE FROM trunkline_relayed",
        make_lease="INSERT INTO trunkline_lease VALUES (?, 0, 0, '') ON CONFLICT DO NOTHING",
        read_lease="SELECT epoch, beat, holder FROM trunkline_lease WHERE name = ?",
        read_leases="SELECT name, epoch, beat, holder FROM trunkline_lease ORDER BY name",
        take_lease="UPDATE trunkline_lease SET epoch = epoch + 1, beat = 0, holder = ? "
        "WHERE name = ? AND epoch = ? AND beat = ?",
        beat_lease="UPDATE trunkline_lease SET beat = beat + 1 WHERE name = ? AND epoch = ?",
        hold_lease="SELECT 1 FROM trunkline_lease WHERE name = ? AND epoch = ?",
        release_lease="UPDATE trunkline_lease SET holder = '' WHERE name = ? AND epoch = ?",
    )


def _postgres(p: str) -> Statements:
    listed = _LIST[Dialect.POSTGRES].format("$1")
    return Statements(
        find_notes=f"SELECT 1 WHERE to_regclass('{p}trunkline_store_schema') IS NOT NULL",
        make_notes=_notes("integer", p),
        read_version=f"SELECT coalesce(max(version), 0) FROM {p}trunkline_store_schema",
        note_version=f"INSERT INTO {p}trunkline_store_schema (version, name) VALUES ($1, $2)",
        found_store=f"INSERT INTO {p}trunkline_store VALUES (1, $1) ON CONFLICT DO NOTHING",
        read_store=f"SELECT ident FROM {p}trunkline_store",
        peek=f"SELECT 1 FROM {p}trunkline_outbox LIMIT 1",
        waiting=f"SELECT count(*), min(seq) FROM {p}trunkline_outbox",
        insert=f"INSERT INTO {p}trunkline_outbox (draft) VALUES ",
        # Ordered by each transaction's last number, among whatever one statement sees: whoever
        # published after another's commit has a higher one, and is not seen without that other.
        read=f"WITH x AS (SELECT xid, max(seq) AS last FROM {p}trunkline_outbox GROUP BY xid "
        "ORDER BY last LIMIT $1) SELECT o.seq, o.xid::text AS token, o.draft "
        f"FROM {p}trunkline_outbox o JOIN x USING (xid) ORDER BY x.last, o.seq",
        read_these="SELECT seq, xid::text AS token, draft FROM ("
        f"SELECT seq, xid, draft, max(seq) OVER (PARTITION BY xid) AS last "
        f"FROM {p}trunkline_outbox WHERE seq IN {listed}) AS o ORDER BY last, seq",
        remove=f"DELETE FROM {p}trunkline_outbox WHERE seq IN {listed}",
        park=f"INSERT INTO {p}trunkline_parked VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        parked=f"SELECT seq, draft, error, parked_at FROM {p}trunkline_parked "
        "ORDER BY seq LIMIT $1",
        drop_parked=f"DELETE FROM {p}trunkline_parked WHERE seq IN {listed}",
        put_back=f"INSERT INTO {p}trunkline_outbox (draft) "
        f"SELECT draft FROM {p}trunkline_parked WHERE seq IN {listed} ORDER BY seq",
        read_relayed=f"SELECT begun_at, seqs FROM {p}trunkline_relayed",
        note_relayed=f"INSERT INTO {p}trunkline_relayed VALUES (1, $1, $2)",
        forget_relayed=f"DELETE FROM {p}trunkline_relayed",
        make_lease=f"INSERT INTO {p}trunkline_lease VALUES ($1, 0, 0, '') ON CONFLICT DO NOTHING",
        read_lease=f"SELECT epoch, beat, holder FROM {p}trunkline_lease WHERE name = $1",
        read_leases=f"SELECT name, epoch, beat, holder FROM {p}trunkline_lease ORDER BY name",
        take_lease=f"UPDATE {p}trunkline_lease SET epoch = epoch + 1, beat = 0, holder = $1 "
        "WHERE name = $2 AND epoch = $3 AND beat = $4",
        beat_lease=f"UPDATE {p}trunkline_lease SET beat = beat + 1 WHERE name = $1 AND epoch = $2",
        # A share lock: whoever takes over has to wait for the commit that this check is part of.
        hold_lease=f"SELECT 1 FROM {p}trunkline_lease WHERE name = $1 AND epoch = $2 FOR SHARE",
        release_lease=f"UPDATE {p}trunkline_lease SET holder = '' WHERE name = $1 AND epoch = $2",
        dead_rows="SELECT n_dead_tup FROM pg_stat_user_tables "
        f"WHERE relid = to_regclass('{p}trunkline_outbox')",
    )


def _notes(number: str, schema: str = "") -> str:
    return (
        f"CREATE TABLE {schema}trunkline_store_schema "
        f"(version {number} PRIMARY KEY, name text NOT NULL)"
    )
