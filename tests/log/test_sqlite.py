"""The SQLite engine: the contract, over one file."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from trunkline.log.retention import Retention
from trunkline.log.sqlite import SQLiteLog
from trunkline.runtime.clock import SystemClock
from trunkline.testing.contracts import LogContract


class TestSQLiteLog(LogContract):
    """The SQLite engine keeps the contract; every handle has connections of its own."""

    @pytest.fixture
    async def open_log(self, tmp_path):
        async with AsyncExitStack() as stack:

            async def open_log(retention=None, clock=None):
                log = SQLiteLog.from_url(
                    f"sqlite:///{tmp_path}/line.db",
                    retention=retention or Retention(),
                    clock=clock or SystemClock(),
                    options={},
                )
                await log.open()
                stack.push_async_callback(log.close)
                return log

            yield open_log
