"""The contract of the log port, as tests that any engine can be held to.

Subclass :class:`LogContract` in a test module and give it a fixture ``open_log``::

    class TestMyLog(LogContract):
        @pytest.fixture
        async def open_log(self):
            async with AsyncExitStack() as stack:
                async def open_log(retention=None, clock=None):
                    log = MyLog.from_url(
                        "my://fresh", retention=retention or Retention(),
                        clock=clock or SystemClock(), options={},
                    )
                    await log.open()
                    stack.push_async_callback(log.close)
                    return log

                yield open_log

Every call within one test opens the *same* line (another handle on it), which is empty when the
test begins. The tests are asynchronous and need the anyio plugin of pytest.
"""

from trunkline.testing.contracts.appending import AppendContract
from trunkline.testing.contracts.keys import KeyContract
from trunkline.testing.contracts.reading import ReadContract
from trunkline.testing.contracts.retaining import RetentionContract
from trunkline.testing.contracts.support import OpenLog, drafts, plain, stream
from trunkline.testing.contracts.waking import WakeContract

__all__ = ["LogContract", "OpenLog", "drafts", "plain", "stream"]


class LogContract(AppendContract, KeyContract, ReadContract, RetentionContract, WakeContract):
    """Hold an engine to everything that the port promises."""
