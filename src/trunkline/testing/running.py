"""Servers for code that has no event loop: synchronous tests, state machines, measuring."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Protocol, TypeVar


class Enterable(Protocol):
    """Be a server that runs as an asynchronous context manager."""

    async def __aenter__(self) -> Any: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> Any: ...


S = TypeVar("S", bound=Enterable)


@contextlib.contextmanager
def running(server: S) -> Iterator[S]:
    """Run a server from code that is not asynchronous.

    Args:
        server: Any of this package's servers, not started yet.

    Yields:
        The server, which is stopped at the end.
    """
    with asyncio.Runner() as runner:
        runner.run(server.__aenter__())
        try:
            yield server
        finally:
            runner.run(server.__aexit__(None, None, None))
