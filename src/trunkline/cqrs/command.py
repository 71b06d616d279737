"""Commands and events: typed values with a stored name, never the path of a module.

What is stored outlives the code that wrote it. So a type says under which name and version it is
stored, and old versions are brought up by functions that the type is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from trunkline.cqrs.pattern import NamePattern, name_pattern
from trunkline.errors import ConfigError

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
U = TypeVar("U", bound=Upcaster)
E = TypeVar("E")


class Stored:
    """Be what a type says about how its values are stored.

    Args:
        kind: The type.
        name: Its stored name; for events a pattern whose parameters are fields.
        version: The version of its fields.
        tags: What its events are found by, with fields in braces.
    """

    __slots__ = (
        "decoder",
        "fields",
        "is_fixed",
        "is_plain",
        "kind",
        "name",
        "pattern",
        "tags",
        "upcasters",
        "version",
    )

    def __init__(self, kind: Any, name: str, version: int, tags: tuple[str, ...]) -> None:
        if version < 1:
            raise ConfigError(f"{kind.__qualname__}: a version is 1 or more, not {version}")
        self.kind = kind
        self.name = name
        self.version = version
        self.tags = tags
        self.pattern: NamePattern = name_pattern(name)
        self.is_fixed = self.pattern.is_exact
        #: Whether nothing of an event's fields is in its header.
        self.is_plain = self.is_fixed and not tags
        self.upcasters: dict[int, Upcaster] = {}
        self.decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind)
        self.fields = self._checked_fields()

    def _checked_fields(self) -> tuple[str, ...]:
        wanted = self.pattern.parameters
        known = set(self.kind.__struct_fields__)
        if missing := [name for name in wanted if name not in known]:
            raise ConfigError(
                f"{self.kind.__qualname__} has no field {missing[0]!r}, which its name "
                f"{self.name!r} takes"
            )
        return wanted

    def name_of(self, value: Any) -> str:
        """Return the name that one value is stored under, its parameters filled in."""
        if self.is_fixed:
            return self.name
        return self.pattern.fill({field: getattr(value, field) for field in self.fields})

    def tags_of(self, value: Any) -> tuple[str, ...]:
        """Return the tags of one event."""
        if not self.tags:
            return ()
        fields = {field: getattr(value, field) for field in self.kind.__struct_fields__}
        return tuple(tag.format_map(fields) for tag in self.tags)


class StoredMeta(msgspec.StructMeta):
    """Let a struct say its stored name and version where it is defined."""

    def __new__(
        mcls,
        class_name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        **options: Any,
    ) -> StoredMeta:
        """Make the class; ``name``, ``version`` and ``tags`` are ours, the rest is msgspec's."""
        name = options.pop("name", None)
        version = options.pop("version", 1)
        tags = tuple(options.pop("tags", ()))
        made: Any = super().__new__(mcls, class_name, bases, namespace, **options)
        made.__stored_as__ = None if name is None else (name, version, tags)
        made.__stored__ = None
        return made  # type: ignore[no-any-return]


def stored(kind: Any) -> Stored:
    """Return how a type's values are stored.

    Args:
        kind: A subclass of :class:`Command` or :class:`Event`.

    Raises:
        ConfigError: It has no stored name, or the name takes a field that it hasn't.
        GrammarError: The name is none.
    """
    found = kind.__dict__.get("__stored__")
    if found is None:
        given = kind.__dict__.get("__stored_as__")
        if given is None:
            raise ConfigError(
                f"{kind.__qualname__} has no stored name: say class {kind.__name__}"
                '(…, name="thing.done")'
            )
        found = Stored(kind, *given)
        kind.__stored__ = found
    return found  # type: ignore[no-any-return]


class Command(msgspec.Struct, metaclass=StoredMeta, frozen=True):
    """Be the base of commands: ``class CreateTest(Command, name="create.test")``."""

    if TYPE_CHECKING:

        def __init_subclass__(cls, *, name: str = "", version: int = 1, **options: Any) -> None:
            """Take the stored name and version."""


class Event(msgspec.Struct, metaclass=StoredMeta, frozen=True):
    """Be the base of events: ``class TestCreated(Event, name="test.:test_id.created")``.

    A parameter in the name is a field, and becomes part of the name an event is heard under.
    """

    if TYPE_CHECKING:

        def __init_subclass__(
            cls,
            *,
            name: str = "",
            version: int = 1,
            tags: tuple[str, ...] = (),
            **options: Any,
        ) -> None:
            """Take the stored name, the version and the tags."""

    @classmethod
    def upcast(cls, version: int) -> Callable[[U], U]:
        """Bring events of an older version up by one, as a decorator.

        Args:
            version: The version it takes; it returns the fields of the next one.

        Raises:
            ConfigError: There is one already, or the version is not older.
        """
        ours = stored(cls)

        def register(function: U) -> U:
            if not 1 <= version < ours.version:
                raise ConfigError(
                    f"{ours.name!r} has version {ours.version}: it can't be brought up from "
                    f"version {version}"
                )
            if version in ours.upcasters:
                raise ConfigError(f"{ours.name!r} is brought up from version {version} twice")
            ours.upcasters[version] = function
            return function

        return register


class Header(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Be what is stored beside an event's fields.

    Args:
        name: The name it is heard under, parameters filled in.
        type: The stored name of its type, where that differs.
        v: The version of its fields.
        id: The event's own id.
        command: The id of the command that decided it.
        causation: The id of the event or command that led to it.
        correlation: The id of the first command of the tree.
        domain: Whose event it is.
        at: When it was decided, Unix seconds.
        actor: Who wanted it.
        tags: What it is found by.
    """

    name: str
    v: int
    id: str
    command: str
    causation: str
    correlation: str
    domain: str
    at: float
    actor: str | int | None = None
    type: str | None = None
    tags: tuple[str, ...] = ()


class Recorded(msgspec.Struct, Generic[E], frozen=True, kw_only=True):
    """Be an event with all that is known of it.

    Args:
        event: The event itself, brought up to the present version.
        name: The name it is heard under, parameters filled in.
        version: The version its fields were stored in.
        stream: Its channel.
        stream_version: Its place in that channel, from 1.
        position: Its global id; 0 while it is not committed.
        headers: What is stored beside it.
    """

    event: E
    name: str
    version: int
    stream: str
    stream_version: int
    position: int
    headers: Header

    @property
    def id(self) -> str:
        """Return the event's own id."""
        return self.headers.id


def fields_of(value: Any) -> Mapping[str, Any]:
    """Return the fields of a command or event."""
    return {name: getattr(value, name) for name in value.__struct_fields__}
