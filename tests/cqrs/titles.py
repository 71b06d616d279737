"""Projections of titles, in two versions, that tests build."""

from __future__ import annotations

from typing import Any

from tests.cqrs.following import Created, Renamed

TABLE = "CREATE TABLE {title} (test_id text PRIMARY KEY, title text NOT NULL)"
SHOUTED = [
    "CREATE TABLE {title} (test_id text PRIMARY KEY, title text NOT NULL, loud text NOT NULL)",
    "CREATE INDEX {title}_loud ON {title} (loud)",
]


def upsert(ground: Any) -> str:
    marks = ("?", "?") if ground.dialect == "sqlite" else ("$1", "$2")
    return (
        f"INSERT INTO {{title}} (test_id, title) VALUES ({marks[0]}, {marks[1]}) "
        "ON CONFLICT (test_id) DO UPDATE SET title = excluded.title"
    )


def shout(ground: Any) -> str:
    marks = ("?", "?", "?") if ground.dialect == "sqlite" else ("$1", "$2", "$3")
    return (
        f"INSERT INTO {{title}} VALUES ({', '.join(marks)}) "
        "ON CONFLICT (test_id) DO UPDATE SET title = excluded.title, loud = excluded.loud"
    )


def with_titles(line: Any, ground: Any, **options: Any) -> Any:
    """Declare version 1 of a projection of titles."""

    @line.projector("test.**", tables={"title": TABLE}, **options)
    async def titles(event: Created | Renamed, tx):
        await tx.execute(upsert(ground), event.test_id, event.title)

    return titles


def with_shouts(line: Any, ground: Any, **options: Any) -> Any:
    """Declare version 2: another table under the same name."""

    @line.projector("test.**", tables={"title": SHOUTED}, version=2, name="titles", **options)
    async def shouts(event: Created | Renamed, tx):
        await tx.execute(shout(ground), event.test_id, event.title, event.title.upper())

    return shouts
