"""Fixtures for pytest, there as soon as Trunkline is installed: a line per test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # tests that don't use it don't wait for it
    from trunkline.testing.kit import SyncTestingLine, TestingLine


@pytest.fixture
def sync_line() -> Iterator[SyncTestingLine]:
    """Return an open line in memory for code that can't await."""
    from trunkline.testing.kit import open_sync_testing_line

    with open_sync_testing_line() as line:
        yield line


@pytest.fixture
def make_sync_line() -> Iterator[Callable[..., SyncTestingLine]]:
    """Return a function that opens lines; ``make_sync_line(database=True)`` for transactions."""
    from trunkline.testing.kit import open_sync_testing_line

    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(open_sync_testing_line(**settings))


@pytest.fixture
def open_line() -> Callable[..., AbstractAsyncContextManager[TestingLine]]:
    """Return what opens a line, with ``async with``, under any plugin for async tests."""
    from trunkline.testing.kit import open_testing_line

    def open_one(**settings: Any) -> AbstractAsyncContextManager[TestingLine]:
        return open_testing_line(**settings)

    return open_one
