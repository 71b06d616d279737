"""The catalogue: which type stands behind a stored name, and how old versions are read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from trunkline.cqrs.command import Event, Header, Recorded, Stored, stored
from trunkline.cqrs.errors import UndecodableEventError
from trunkline.errors import ConfigError
from trunkline.model.message import Record

_header_decoder = msgspec.json.Decoder(Header)
_header_encoder = msgspec.json.Encoder()
_builtins = msgspec.json.Decoder(dict[str, Any])


class Catalog:
    """Know the types of events by their stored names.

    Args:
        kinds: The types.

    Raises:
        ConfigError: Two have one name, or an older version can't be brought up.
    """

    def __init__(self, kinds: Iterable[type[Event]] = ()) -> None:
        self._events: dict[str, Stored] = {}
        for kind in kinds:
            self.add(kind)

    def add(self, kind: type[Event]) -> None:
        """Make a type known. Idempotent.

        Raises:
            ConfigError: Another type has its name, or an older version can't be brought up.
        """
        ours = stored(kind)
        known = self._events.get(ours.name)
        if known is not None and known.kind is not kind:
            raise ConfigError(
                f"{kind.__qualname__} and {known.kind.__qualname__} are both stored as "
                f"{ours.name!r}: rename one"
            )
        for version in range(1, ours.version):
            if version not in ours.upcasters:
                raise ConfigError(
                    f"{ours.name!r} has version {ours.version}, and nobody brings up version "
                    f"{version}: write @{kind.__name__}.upcast({version})"
                )
        self._events[ours.name] = ours

    def replace(self, other: Catalog) -> None:
        """Know what another one knows, and no more."""
        self._events = other._events

    def __contains__(self, name: str) -> bool:
        return name in self._events

    def kinds(self) -> list[type[Event]]:
        """Return the types that are known."""
        return [one.kind for one in self._events.values()]

    def kind(self, name: str) -> type[Event] | None:
        """Return the type that is stored under a name, or None."""
        found = self._events.get(name)
        return None if found is None else found.kind

    def header(self, record: Record) -> Header:
        """Return what is stored beside an event.

        Raises:
            UndecodableEventError: It is no event.
        """
        try:
            return _header_decoder.decode(record.headers or b"")
        except msgspec.DecodeError as error:
            raise _unreadable(record, f"its headers are none of an event ({error})") from error

    def recorded(self, record: Record, header: Header | None = None) -> Recorded[Any]:
        """Decode an event as a log keeps it, brought up to the present version.

        Args:
            record: The event.
            header: What is stored beside it, if it is decoded already.

        Raises:
            UndecodableEventError: No type is known by its name, its version is newer than the
                type's, an upcaster failed, or its fields don't fit.
        """
        header = header or self.header(record)
        return Recorded(
            event=self._event(record, header),
            name=header.name,
            version=header.v,
            stream=record.channel.name,
            stream_version=record.message_id,
            position=record.global_id,
            headers=header,
        )

    def _event(self, record: Record, header: Header) -> Any:
        name = header.type or header.name
        kind = self._events.get(name)
        if kind is None:
            raise _unreadable(
                record, f"no type is stored as {name!r}: register it with line.event(…)"
            )
        if header.v == kind.version:
            try:
                return kind.decoder.decode(record.data)
            except (msgspec.DecodeError, ValueError) as error:
                raise _unreadable(record, f"{name!r} version {header.v}: {error}") from error
        if header.v > kind.version:
            raise _unreadable(
                record,
                f"{name!r} is version {header.v} and this code knows up to {kind.version}: "
                "deploy the newer code here too",
            )
        return _brought_up(record, header, kind)


def _brought_up(record: Record, header: Header, kind: Stored) -> Any:
    try:
        fields = _builtins.decode(record.data)
        for version in range(header.v, kind.version):
            fields = kind.upcasters[version](fields)
        return msgspec.convert(fields, kind.kind)
    except Exception as error:  # an upcaster may raise anything
        raise _unreadable(
            record, f"{kind.name!r} can't be brought up from version {header.v}: {error}"
        ) from error


def _unreadable(record: Record, why: str) -> UndecodableEventError:
    return UndecodableEventError(record.channel.name, record.message_id, why)


def encode_header(header: Header) -> bytes:
    """Return a header as it is stored."""
    return _header_encoder.encode(header)


class HeaderText:
    """Be the text that the headers of one decision's events of one type share.

    Args:
        header: One of them; only the number at the end of the id differs from the others.
    """

    def __init__(self, header: Header) -> None:
        text = encode_header(header)
        ident = _header_encoder.encode(header.id)
        start = text.index(b'"id":' + ident) + len(b'"id":')
        # Of the id stays what is before its number, with the dot.
        self._before = text[: start + ident.rindex(b".") + 1]
        self._after = text[start + len(ident) - 1 :]

    def numbered(self, number: int) -> bytes:
        """Return the header of the event of that number as it is stored."""
        return b"%b%d%b" % (self._before, number, self._after)
