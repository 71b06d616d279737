"""The tables of a line: which of them are missing, and the statements that make them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trunkline.log.joint import JointLog
from trunkline.log.port import Log
from trunkline.sql.opening import DatabasePlace, place_of
from trunkline.store import schema


class Tables:
    """Look at the tables of a log, its store and its outboxes, and change nothing.

    Args:
        engine: The log's class.
        url: The log's URL.
        options: The log's options.
        places: The databases beside it, the store's first.
    """

    def __init__(
        self,
        engine: type[Log],
        url: str,
        options: Mapping[str, Any],
        places: Sequence[DatabasePlace],
    ) -> None:
        self._joint = engine if issubclass(engine, JointLog) else None
        self._url = url
        self._options = options
        self._places = list(places)

    async def missing(self) -> list[str]:
        """Name the migrations that have not run yet.

        Raises:
            LogError: A database can't be asked.
        """
        found = []
        if self._joint is not None:
            steps = await self._joint.missing_steps(self._url, self._options)
            found += [f"log {step}" for step in steps]
        for number, place in enumerate(self._places):
            owner = "outbox" if number else "store"
            found += [f"{owner} {step}" for step in await self._missing_in(place)]
        return found

    async def _missing_in(self, place: DatabasePlace) -> list[str]:
        if place.open is None:
            options = {} if self._url.startswith("sqlite") else self._options
            place = place_of(self._url, options)
        if place.open is None or (place.file is not None and not place.file.exists()):
            steps = schema.steps(place.dialect)
        else:
            database = await place.open()
            try:
                steps = await schema.missing(database)
            finally:
                await database.close()
        return [f"{step.version} {step.name}" for step in steps]

    def script(self) -> Iterator[str]:
        """Yield the statements that make them all in new databases."""
        if self._joint is not None:
            yield from self._joint.script(self._url, self._options)
        for place in self._places:
            yield from schema.script(place.dialect, place.schema)
