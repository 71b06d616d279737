"""The engine that docs/howto/engine.md shows keeps the contract."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from trunkline.errors import ConfigError
from trunkline.log.retention import Retention
from trunkline.runtime.clock import SystemClock
from trunkline.testing.contracts import LogContract

PAGE = Path(__file__).resolve().parents[2] / "docs/howto/engine.md"


def documented() -> type:
    """Return the class that the page's first Python block defines."""
    code = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)[0]
    names: dict[str, Any] = {"__name__": "acme_trunkline"}
    exec(compile(code, str(PAGE), "exec"), names)
    return names["AcmeLog"]


AcmeLog = documented()


class TestDocumentedEngine(LogContract):
    """The engine keeps the contract; its handles are one object, opened anew."""

    @pytest.fixture
    async def open_log(self):
        async with AsyncExitStack() as stack:
            logs = []

            async def open_log(retention=None, clock=None):
                if not logs:
                    logs.append(AcmeLog(retention or Retention(), clock or SystemClock()))
                await logs[0].open()
                stack.push_async_callback(logs[0].close)
                return logs[0]

            yield open_log


def test_a_url_of_another_engine_is_refused():
    with pytest.raises(ConfigError, match="acme://"):
        AcmeLog.from_url("memory://", retention=Retention(), clock=SystemClock(), options={})
