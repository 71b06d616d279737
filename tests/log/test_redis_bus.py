"""layout=message_bus: the contract but for its known exceptions, and Ruby's bytes both ways."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from trunkline.log.redis import RedisLog
from trunkline.log.retention import Retention
from trunkline.runtime.clock import SystemClock
from trunkline.testing.contracts import LogContract
from trunkline.testing.redis_server import RedisServer

#: Tests of the contract that this layout cannot pass, and why; docs/compatibility.md tells users.
AGE = "Redis lets a whole channel expire, by its own clock, after that long without a publish"
VERSIONS = "expected versions raise: Ruby's counters expire"
HEADERS = "headers raise: the envelope has no place for them"
TIME = "no time of publishing is kept"
EXCEPTIONS = {
    "test_age_counts_per_message": AGE,
    "test_age_in_a_sweep_needs_no_publish": AGE,
    "test_age_at_publish_trims_that_channel_only": AGE,
    "test_idle_channel_goes_as_a_whole": AGE,
    "test_key_is_forgotten_after_its_age": AGE,
    "test_cap_over_the_line_drops_the_oldest": "the cap is on pointers: max_global_backlog_size",
    "test_channels_show_backlog_and_floor": TIME,
    "test_published_at_never_decreases": TIME,
    "test_receipt_names_the_stored_message": HEADERS,
    "test_key_with_other_content_is_refused": HEADERS,
    "test_repeat_goes_before_the_expected_version": VERSIONS,
    "test_repeat_in_a_group_moves_no_version": VERSIONS,
    "test_group_with_one_refused_draft_stores_nothing": VERSIONS,
    "test_expected_version_must_be_the_last_id": VERSIONS,
    "test_expected_versions_count_on_within_a_group": VERSIONS,
    "test_of_rivals_with_one_expected_version_one_wins": VERSIONS,
    "test_two_handles_are_one_line": VERSIONS,
}


@pytest.fixture(scope="module")
async def server():
    async with RedisServer() as server:
        yield server


class TestMessageBusLayout(LogContract):
    """What Ruby's layout can keep of the contract, it keeps; what it cannot is listed."""

    @pytest.fixture(autouse=True)
    def expect(self, request):
        if (why := EXCEPTIONS.get(request.node.originalname)) is not None:
            request.applymarker(pytest.mark.xfail(reason=why, strict=True))

    @pytest.fixture
    async def open_log(self, server):
        await server.flush()
        async with AsyncExitStack() as stack:

            async def open_log(retention=None, clock=None):
                log = RedisLog.from_url(
                    f"{server.log_url}?layout=message_bus",
                    retention=retention or Retention(),
                    clock=clock or SystemClock(),
                    options={},
                )
                await log.open()
                stack.push_async_callback(log.close)
                return log

            yield open_log
