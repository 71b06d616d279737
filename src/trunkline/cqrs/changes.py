"""What a command asked for, what was there before, what was approved, and what thereby changes.

An update hook compares a request with the stored record and lets through only the fields it names;
the event then says exactly which fields changed and what they held. A request of many records
keeps the books for each of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from trunkline.errors import UsageError

R = TypeVar("R")
Record = Mapping[str, Any] | msgspec.Struct


class Difference(msgspec.Struct, frozen=True):
    """Be what changed, as an event carries it in one of its fields.

    Args:
        changed: The paths that changed: a field, or ``index.field`` in a list of records.
        previous: What they held, by path; None where there was nothing.
    """

    changed: tuple[str, ...] = ()
    previous: dict[str, Any] = {}

    def __bool__(self) -> bool:
        return bool(self.changed)

    def __contains__(self, path: str) -> bool:
        """Tell whether a path changed; a field without index means that of any record."""
        return any(path in {changed, _without_index(changed)} for changed in self.changed)

    def before(self, path: str) -> Any:
        """Return what a changed path held, None where there was nothing.

        Raises:
            UsageError: It did not change.
        """
        if path not in self.previous:
            raise UsageError(f"{path!r} did not change; these did: {', '.join(self.changed)}")
        return self.previous[path]


class Changes:
    """Keep the books of one requested record.

    Before :meth:`compare` the data are the request. For a new record everything requested is
    approved; for a stored one the data become the stored values, and what was requested is let in
    field by field.

    Args:
        requested: The wanted fields: a struct, whose fields that are ``msgspec.UNSET`` were not
            asked for, or a mapping.
        fields: All fields a record has, in order; by default those of the struct or mapping.

    Attributes:
        data: The working values.
        requested: What was asked for, and what was applied since.
        previous: What was stored; None for each field of a new record.
        approved: What was explicitly accepted.
        changed: What accepted fields held that differ from what was stored.
    """

    def __init__(self, requested: Record, *, fields: Sequence[str] = ()) -> None:
        self._fields = tuple(fields) or _names(requested)
        self.data = _values(requested)
        self.requested = deepcopy(self.data)
        self.previous: dict[str, Any] = {}
        self.approved: dict[str, Any] = {}
        self.changed: dict[str, Any] = {}
        self._is_new: bool | None = None

    @classmethod
    def of(cls, stored: Record) -> Changes:
        """Keep the books of a record that is loaded already, or needs no loading."""
        books = cls(stored)
        books.compare(stored)
        return books

    @property
    def is_compared(self) -> bool:
        """Tell whether it is known what was stored."""
        return self._is_new is not None

    @property
    def is_new(self) -> bool:
        """Tell whether nothing was stored; not known before :meth:`compare`."""
        return self._is_new is True

    def compare(self, stored: Record | None) -> None:
        """Take what is stored; a second time changes nothing.

        Args:
            stored: The stored values, or None for a new record.
        """
        if self.is_compared:
            return
        self._is_new = stored is None
        if stored is not None:
            self.data = _values(stored)
            self.previous = deepcopy(self.data)
            return
        self.previous = dict.fromkeys(self._fields)
        for field in self._fields:
            if field in self.data:
                self.apply(field)

    async def reload(self, fetch: Callable[[], Awaitable[Record | None]]) -> None:
        """Compare with what a query finds, unless that is known; then nothing is asked.

        Args:
            fetch: Returns the stored values, or None for a new record.
        """
        if not self.is_compared:
            self.compare(await fetch())

    def approve_updates(self, *fields: str) -> None:
        """Let in those of these fields that were requested and differ: an update's white list."""
        for field in fields:
            if field in self.requested and self.requested[field] != self.data.get(field):
                self.apply(field, self.requested[field])

    def approve_changes(self, *fields: str) -> None:
        """Accept those of these fields that code has put into the data and that differ."""
        for field in fields:
            if self.data.get(field) != self.previous.get(field):
                self.apply(field)

    def apply(self, path: str, value: Any = msgspec.UNSET) -> None:
        """Accept a value: it is data, requested and approved, and changed if it differs.

        Args:
            path: A field, or a dotted path into nested mappings.
            value: The value; by default the present one.
        """
        if value is msgspec.UNSET:
            value = _look(self.data, path)
        for book in (self.data, self.requested):
            _put(book, path, deepcopy(value))
        self.approved[path] = deepcopy(value)
        before = _look(self.previous, path)
        if value == before:
            self.changed.pop(path, None)
        else:
            self.changed[path] = before

    def stamp_created(self, now: datetime, field: str = "created_at") -> None:
        """Apply a time to a new record only."""
        if self.is_new:
            self.apply(field, now)

    def stamp_updated(self, now: datetime, field: str = "updated_at") -> None:
        """Apply a time if there are changes; a new record counts as changed."""
        if self.has_changes():
            self.apply(field, now)

    def stamp_deleted(self, now: datetime, field: str = "deleted_at") -> None:
        """Apply a time, whatever else changes."""
        self.apply(field, now)

    def changes(self) -> list[str]:
        """Return the changed paths, in order: all fields of a new record."""
        if not self.is_new:
            return list(self.changed)
        return [*self._fields, *(path for path in self.changed if path not in self._fields)]

    def has_changed(self, path: str) -> bool:
        """Tell whether a path changed."""
        return path in self.changes()

    def has_changes(self) -> bool:
        """Tell whether anything changed; a new record has."""
        return self.is_new or bool(self.changed)

    def unapproved(self) -> list[str]:
        """Return the fields that were asked for and neither hold nor were let in."""
        wanted = self.requested.items()
        return [field for field, value in wanted if self.data.get(field) != value]

    def difference(self) -> Difference:
        """Return what changed, for an event to carry."""
        return Difference(tuple(self.changed), dict(self.changed))

    def result(self, kind: type[R]) -> R:
        """Return the data as a value of a type, checked as on every construction.

        Args:
            kind: The type; its ``__post_init__`` runs.

        Raises:
            UsageError: The data don't fit.
        """
        try:
            return msgspec.convert(self.data, kind)
        except msgspec.ValidationError as error:
            raise UsageError(f"what was approved is no {kind.__name__}: {error}") from error


class ListChanges(Sequence[Changes]):
    """Keep the books of many requested records, each by its place.

    Args:
        requested: The records.
        fields: All fields a record has.
    """

    def __init__(self, requested: Sequence[Record], *, fields: Sequence[str] = ()) -> None:
        self._books = [Changes(record, fields=fields) for record in requested]

    def __len__(self) -> int:
        return len(self._books)

    def __getitem__(self, index: Any) -> Any:
        return self._books[index]

    def __iter__(self) -> Iterator[Changes]:
        return iter(self._books)

    def compare(self, stored: Sequence[Record | None]) -> None:
        """Take what is stored, in the order of the request; None for a new record.

        Raises:
            UsageError: There are more or fewer than requested.
        """
        if len(stored) != len(self._books):
            raise UsageError(f"{len(self._books)} records were requested, {len(stored)} are stored")
        for books, record in zip(self._books, stored, strict=True):
            books.compare(record)

    def approve_updates(self, *fields: str) -> None:
        """Let in those of these fields that were requested and differ, in every record."""
        for books in self._books:
            books.approve_updates(*fields)

    def apply(self, path: str, value: Any = msgspec.UNSET) -> None:
        """Accept a value at ``index.field``.

        Raises:
            UsageError: The path has no index of a record.
        """
        index, _, field = path.partition(".")
        if not index.isdecimal() or not field or int(index) >= len(self._books):
            raise UsageError(f"{path!r} names no field of one of {len(self._books)} records")
        self._books[int(index)].apply(field, value)

    def changes(self) -> list[list[str]]:
        """Return the changed paths of each record."""
        return [books.changes() for books in self._books]

    def has_changed(self, path: str) -> list[bool]:
        """Tell for each record whether a path changed."""
        return [books.has_changed(path) for books in self._books]

    def has_changes(self, index: int | None = None) -> bool:
        """Tell whether one record, or any, has changes."""
        asked = self._books if index is None else [self._books[index]]
        return any(books.has_changes() for books in asked)

    def difference(self) -> Difference:
        """Return what changed, by ``index.field``, for an event to carry."""
        previous = {
            f"{index}.{path}": value
            for index, books in enumerate(self._books)
            for path, value in books.changed.items()
        }
        return Difference(tuple(previous), previous)


def _without_index(path: str) -> str:
    index, _, field = path.partition(".")
    return field if index.isdecimal() else path


def _names(record: Record) -> tuple[str, ...]:
    return record.__struct_fields__ if isinstance(record, msgspec.Struct) else tuple(record)


def _values(record: Record) -> dict[str, Any]:
    """Return a record's values as it holds them, those too that its JSON would hide."""
    if isinstance(record, msgspec.Struct):
        record = {name: getattr(record, name) for name in record.__struct_fields__}
    return {name: deepcopy(v) for name, v in record.items() if v is not msgspec.UNSET}


def _look(book: Mapping[str, Any], path: str) -> Any:
    found: Any = book
    for step in path.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found


def _put(book: dict[str, Any], path: str, value: Any) -> None:
    *steps, last = path.split(".")
    for step in steps:
        inner = book.get(step)
        book[step] = book = dict(inner) if isinstance(inner, Mapping) else {}
    book[last] = value
