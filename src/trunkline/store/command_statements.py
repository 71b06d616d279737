"""Every SQL statement about commands, snapshots and tags, in both dialects."""

# ruff: noqa: S608 - statements are put together from constants and a checked schema name alone
from __future__ import annotations

from functools import cache
from typing import Final

import msgspec

from trunkline.sql.database import Dialect

_ROW: Final = "site_id, key, command_id, name, fingerprint, result, at"


class CommandStatements(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the statements of one dialect, for tables in one schema."""

    find: str
    add: str
    add_many: str
    forget: str

    find_snapshots: str
    save_snapshot: str

    add_tag: str
    #: site, first tag, after, types (JSON or array), all tags (likewise), how many those are.
    tagged: str


@cache
def command_statements(dialect: Dialect, schema: str) -> CommandStatements:
    """Return the statements.

    Args:
        dialect: Which SQL.
        schema: Qualifies table names, dot included; empty for none.
    """
    return _sqlite() if dialect is Dialect.SQLITE else _postgres(schema)


def _sqlite() -> CommandStatements:
    add = f"INSERT INTO trunkline_command ({_ROW}) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO "
    return CommandStatements(
        find="SELECT command_id, name, fingerprint, result FROM trunkline_command "
        "WHERE site_id = ? AND key = ?",
        add=f"{add}NOTHING",
        add_many=f"{add}NOTHING",
        forget="DELETE FROM trunkline_command WHERE (site_id, key) IN "
        "(SELECT site_id, key FROM trunkline_command WHERE at < ? ORDER BY at LIMIT ?)",
        find_snapshots="SELECT s.site_id, s.stream, s.version, s.format, s.state "
        "FROM json_each(?) w JOIN trunkline_snapshot s "
        "ON s.site_id = json_extract(w.value, '$[0]') AND s.stream = json_extract(w.value, '$[1]')",
        save_snapshot="INSERT INTO trunkline_snapshot VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (site_id, stream) DO UPDATE SET version = excluded.version, "
        "format = excluded.format, state = excluded.state",
        add_tag="INSERT INTO trunkline_tag VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        tagged="SELECT a.global_id FROM trunkline_tag a WHERE a.site_id = ? AND a.tag = ? "
        "AND a.global_id > ? AND (? = '[]' OR a.type IN (SELECT value FROM json_each(?))) "
        "AND (SELECT count(*) FROM json_each(?) t JOIN trunkline_tag b ON b.site_id = a.site_id "
        "AND b.tag = t.value AND b.global_id = a.global_id) = ? ORDER BY a.global_id",
    )


def _postgres(p: str) -> CommandStatements:
    return CommandStatements(
        find=f"SELECT command_id, name, fingerprint, result FROM {p}trunkline_command "
        "WHERE site_id = $1 AND key = $2",
        add=f"INSERT INTO {p}trunkline_command ({_ROW}) VALUES ($1, $2, $3, $4, $5, $6, $7) "
        "ON CONFLICT DO NOTHING",
        add_many=f"INSERT INTO {p}trunkline_command ({_ROW}) SELECT * FROM unnest($1::text[], "
        "$2::text[], $3::text[], $4::text[], $5::bytea[], $6::bytea[], $7::float8[]) "
        "ON CONFLICT DO NOTHING RETURNING command_id",
        forget=f"DELETE FROM {p}trunkline_command WHERE ctid = ANY(ARRAY(SELECT c.ctid "
        f"FROM {p}trunkline_command c WHERE c.at < $1 ORDER BY c.at LIMIT $2))",
        find_snapshots="SELECT s.site_id, s.stream, s.version, s.format, s.state "
        "FROM unnest($1::text[], $2::text[]) w (site, stream) "
        f"JOIN {p}trunkline_snapshot s ON s.site_id = w.site AND s.stream = w.stream",
        save_snapshot=f"INSERT INTO {p}trunkline_snapshot VALUES ($1, $2, $3, $4, $5) "
        "ON CONFLICT (site_id, stream) DO UPDATE SET version = excluded.version, "
        "format = excluded.format, state = excluded.state",
        add_tag=f"INSERT INTO {p}trunkline_tag VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        tagged=f"SELECT a.global_id FROM {p}trunkline_tag a WHERE a.site_id = $1 AND a.tag = $2 "
        "AND a.global_id > $3 AND (cardinality($4::text[]) = 0 OR a.type = ANY($4::text[])) "
        f"AND NOT EXISTS (SELECT 1 FROM unnest($5::text[]) t WHERE NOT EXISTS (SELECT 1 "
        f"FROM {p}trunkline_tag b WHERE b.site_id = a.site_id AND b.tag = t "
        "AND b.global_id = a.global_id)) ORDER BY a.global_id",
    )
