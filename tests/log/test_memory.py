"""The memory engine: the contract, and what is its own."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from trunkline.errors import ConfigError
from trunkline.log.memory import MemoryLog
from trunkline.log.retention import Retention
from trunkline.runtime.clock import SystemClock
from trunkline.testing.contracts import LogContract


class TestMemoryLog(LogContract):
    """The memory engine keeps the contract; its handles are one object, opened anew."""

    @pytest.fixture
    async def open_log(self):
        async with AsyncExitStack() as stack:
            made = []

            async def open_log(retention=None, clock=None):
                if not made:
                    made.append(
                        MemoryLog.from_url(
                            "memory://",
                            retention=retention or Retention(),
                            clock=clock or SystemClock(),
                            options={},
                        )
                    )
                await made[0].open()
                stack.push_async_callback(made[0].close)
                return made[0]

            yield open_log


@pytest.mark.parametrize("url", ["memory://?size=1", "memory://host", "memory:///path", "other://"])
def test_url_that_makes_no_sense_is_refused(url):
    """A memory log has no place and no options; the message says how to write it."""
    with pytest.raises(ConfigError):
        MemoryLog.from_url(url, retention=Retention(), clock=SystemClock(), options={})


def test_option_is_refused_by_name():
    """An unknown option is named."""
    with pytest.raises(ConfigError, match="busy_timeout"):
        MemoryLog.from_url(
            "memory://", retention=Retention(), clock=SystemClock(), options={"busy_timeout": 1}
        )
