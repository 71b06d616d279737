"""A log in a file, which the test publishes to while a server serves it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from trunkline import Trunkline


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[Trunkline]:
    async with Trunkline(f"sqlite:///{tmp_path / 'line.db'}") as line:
        yield line
