"""Lines on each embedded engine, for tests of what an application sees."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from trunkline import Trunkline

ENGINES = ("memory", "sqlite")


def log_url(engine: str, folder: Path) -> str:
    """Return the URL of a fresh log."""
    return "memory://" if engine == "memory" else f"sqlite:///{folder / 'line.db'}"


@pytest.fixture(params=ENGINES)
def log(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a fresh log on each embedded engine."""
    return log_url(request.param, tmp_path)


@pytest.fixture
async def line(log: str) -> AsyncIterator[Trunkline]:
    """Open a fresh line."""
    async with Trunkline(log) as line:
        yield line


async def take(source: Any, count: int) -> list[Any]:
    """Return the next *count* messages of a subscription."""
    return [await anext(source) for _ in range(count)]
