"""What an application declares about a kind of entity, and the register of all kinds."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypedDict

from trunkline.entities.viewer import ScopeOf, Viewer
from trunkline.errors import ConfigError, UsageError
from trunkline.model.entity import EntityKey, check_entity

Fetch = Callable[..., Awaitable[Any]]
Access = Callable[[EntityKey, Viewer], Awaitable[bool]]

_RANGES: Final = {
    "batch_size": (1, 10_000),
    "concurrency": (1, 1000),
    "timeout": (0.01, 3600.0),
    "interval": (0.0, 3600.0),
}


class Wanted(NamedTuple):
    """Be one of the states that a batch fetch is asked for.

    Args:
        key: Which entity.
        viewer: For whom.
    """

    key: EntityKey
    viewer: Viewer


class EntityOptions(TypedDict, total=False):
    """Be the options of an entity, all of them optional.

    Attributes:
        batch: Whether the function takes many: a list of :class:`Wanted`, of which it returns
            the states in the same order, or a mapping from what was wanted to its state.
        batch_size: How many a call may be asked for.
        scope: Called with a viewer; those for whom it gives an equal JSON value share fetches.
            Without it only viewers that are alike in everything do.
        access: Called with key and viewer, before a watch begins or resumes and before every
            fetch; True lets the viewer see it. A coroutine function.
        concurrency: Fetches of this kind at a time, in each process.
        timeout: Seconds a fetch may take.
        interval: Seconds between two fetches of one state, at least.
    """

    batch: bool
    batch_size: int
    scope: ScopeOf | None
    access: Access | None
    concurrency: int
    timeout: float
    interval: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """Hold what is declared about a kind of entity; see :class:`EntityOptions`.

    Args:
        name: The kind.
        fetch: The application's function.
    """

    name: str
    fetch: Fetch
    batch: bool = False
    batch_size: int = 100
    scope: ScopeOf | None = None
    access: Access | None = None
    concurrency: int = 8
    timeout: float = 10.0
    interval: float = 0.0

    async def ask(self, wanted: Sequence[Wanted]) -> list[Any]:
        """Call the function.

        Args:
            wanted: One, unless it takes many.

        Returns:
            What it gave for each, in order.

        Raises:
            UsageError: A batch was not answered one by one.
            Exception: Whatever the function raises.
        """
        if not self.batch:
            ((key, viewer),) = wanted
            return [await self.fetch(key, viewer)]
        given = await self.fetch(list(wanted))
        if isinstance(given, Mapping):
            return [given.get(one) for one in wanted]
        if not isinstance(given, Sequence) or len(given) != len(wanted):
            raise UsageError(
                f"the batch fetch of {self.name!r} was asked for {len(wanted)} states: return a "
                "list of as many, or a mapping from what was wanted"
            )
        return list(given)


class Declarations:
    """Hold the kinds of entity of a line."""

    def __init__(self) -> None:
        self._by_name: dict[str, Declaration] = {}

    def add(self, name: str, fetch: Fetch, options: EntityOptions) -> Declaration:
        """Declare a kind.

        Raises:
            ConfigError: It is declared already, or something makes no sense.
            GrammarError: The name is outside the grammar.
        """
        check_entity(name)
        if name in self._by_name:
            raise ConfigError(f"the entity {name!r} is declared already: one function fetches it")
        _check(name, fetch, options)
        declaration = Declaration(name=name, fetch=fetch, **options)
        self._by_name[name] = declaration
        return declaration

    def find(self, name: str) -> Declaration | None:
        """Return a kind's declaration, or None."""
        return self._by_name.get(name)

    def __iter__(self) -> Iterator[Declaration]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)


def _check(name: str, fetch: Fetch, options: EntityOptions) -> None:
    known = EntityOptions.__annotations__
    if unknown := [one for one in options if one not in known]:
        raise ConfigError(f"the entity {name!r} has no option {unknown[0]}: use {', '.join(known)}")
    for what, function in (("fetch", fetch), ("access", options.get("access"))):
        if function is not None and not _is_coroutine_function(function):
            raise ConfigError(
                f"the {what} of {name!r} must be a coroutine function: a plain one would block "
                "everybody (asyncio.to_thread runs one aside)"
            )
    for option, (low, high) in _RANGES.items():
        value: Any = options.get(option, low)
        is_whole = isinstance(low, int)
        kinds = (int,) if is_whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
            raise ConfigError(f"{option}={value!r} of {name!r} must be from {low:g} to {high:g}")


def _is_coroutine_function(function: Any) -> bool:
    # An object with __call__, or a partial, may be one too.
    call = getattr(function, "func", function)
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(
        getattr(call, "__call__", None)  # noqa: B004 - its kind is looked at
    )
