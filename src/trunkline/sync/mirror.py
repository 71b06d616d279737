"""Objects of the line as synchronous code sees them: calls that await, blocks and iterations.

There is no second implementation: a mirror hands every call to the loop and adapts what comes back.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Hashable, Iterator, MutableMapping
from types import TracebackType
from typing import Any, Protocol, cast

import msgspec

from trunkline.channels.cache import Cache
from trunkline.runtime.portal import Visit


class Caller(Protocol):
    """Be what runs a function on the loop and returns its result."""

    def call(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Run it."""


class Host(Caller, Protocol):
    """Be a caller that can have several calls run in one task."""

    def visit(self) -> Visit:
        """Begin such a series."""


class GatedHost(Host, Protocol):
    """Be a host that can have calls wait while the process forks."""

    def call_gated(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Run it, but not while the process forks."""


class Gated:
    """Call through the gate of a line.

    Args:
        line: The line.
    """

    def __init__(self, line: GatedHost) -> None:
        self._line = line

    def call(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Run it, unless the process is about to fork; then after that."""
        return self._line.call_gated(function, *args, **options)

    def visit(self) -> Visit:
        """Begin a series of calls in one task."""
        return self._line.visit()


def adapted(value: Any, caller: Caller) -> Any:
    """Return a value as synchronous code can use it.

    Args:
        value: What a call returned.
        caller: Runs what is called on it.

    Returns:
        The value itself when it is plain; a block, an iteration or a mirror otherwise.
    """
    if isinstance(value, msgspec.Struct):
        return value
    if hasattr(value, "__anext__"):
        return Items(value, caller)
    if not type(value).__module__.startswith(("trunkline.", "contextlib")):
        return value
    if hasattr(value, "__aenter__"):
        return Block(value, caller)
    if isinstance(value, Cache):
        return MirroredCache(value, caller)
    return Mirror(value, caller) if _has_coroutines(cast(Hashable, type(value))) else value


def bare(value: Any) -> Any:
    """Return what a mirror stands for, or the value itself."""
    return value.__dict__["_target"] if isinstance(value, Mirror) else value


def threaded(handler: Callable[..., Any], caller: Caller) -> Callable[..., Any]:
    """Have a plain function called in a thread, where it may block and use the line.

    Args:
        handler: A function; a coroutine function is returned as it is.
        caller: Runs what is called on the function's arguments.
    """
    if inspect.iscoroutinefunction(handler):
        return handler

    @functools.wraps(handler)
    async def run(*args: Any) -> Any:
        given = [adapted(one, caller) for one in args]
        return await asyncio.to_thread(handler, *given)

    return run


@functools.cache
def _has_coroutines(kind: Hashable) -> bool:
    return any(
        inspect.iscoroutinefunction(inspect.getattr_static(kind, name, None)) for name in dir(kind)
    )


class Mirror:
    """Stand for an object on the loop; every call waits for its result.

    Args:
        target: The object.
        caller: Runs what is called.
    """

    def __init__(self, target: Any, caller: Caller) -> None:
        self.__dict__["_target"] = target
        self.__dict__["_caller"] = caller

    def __getattr__(self, name: str) -> Any:
        return mirrored(getattr(self.__dict__["_target"], name), self.__dict__["_caller"])

    def __repr__(self) -> str:
        return f"<sync {self.__dict__['_target']!r}>"


class MirroredCache(Mirror, MutableMapping[str, Any]):
    """Stand for a distributed cache; a write returns when it is durable and shows here.

    Args:
        target: The cache.
        caller: Runs what is called.
    """

    def __getitem__(self, key: str) -> Any:
        return self.__dict__["_caller"].call(bare(self).__getitem__, key)

    def __setitem__(self, key: str, value: Any) -> None:
        self.__dict__["_caller"].call(bare(self).set, key, value)

    def __delitem__(self, key: str) -> None:
        _ = self[key]
        self.__dict__["_caller"].call(bare(self).delete, key)

    def __iter__(self) -> Iterator[str]:
        return iter(self.__dict__["_caller"].call(list, bare(self)))

    def __len__(self) -> int:
        size: int = self.__dict__["_caller"].call(len, bare(self))
        return size

    def clear(self) -> None:
        """Take all keys out."""
        self.__dict__["_caller"].call(bare(self).wipe)


def mirrored(found: Any, caller: Caller) -> Any:
    """Return an attribute as synchronous code can use it: a method waits for its result."""
    if not inspect.ismethod(found):
        return adapted(found, caller)

    @functools.wraps(found)
    def method(*args: Any, **options: Any) -> Any:
        given = {name: bare(value) for name, value in options.items()}
        return adapted(caller.call(found, *map(bare, args), **given), caller)

    return method


class Items:
    """Iterate synchronously over what is yielded on the loop.

    Args:
        source: An asynchronous iterator.
        caller: Runs its steps.
    """

    def __init__(self, source: Any, caller: Caller) -> None:
        self._source = source
        self._caller = caller

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return self._caller.call(anext, self._source)
        except StopAsyncIteration:
            raise StopIteration from None


class Block:
    """Be a ``with`` block whose entry, calls and exit run in one task on the loop.

    Args:
        manager: An asynchronous context manager.
        caller: Runs its steps: a host, or the visit that the block is nested in.
    """

    def __init__(self, manager: Any, caller: Caller) -> None:
        self._manager = manager
        self._caller = caller
        self._visit: Visit | None = None

    def __enter__(self) -> Any:
        caller = self._caller
        if not isinstance(caller, Visit):
            caller = self._visit = cast(Host, caller).visit()
        try:
            value = caller.call(self._manager.__aenter__)
        except BaseException:
            self._end()
            raise
        self._caller = caller
        return adapted(value, caller)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        try:
            return bool(self._caller.call(self._manager.__aexit__, kind, error, trace))
        finally:
            self._end()

    def _end(self) -> None:
        if self._visit is not None:
            self._visit.end()
            self._visit = None
