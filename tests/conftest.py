"""How every test runs: on uvloop, without a silent loss of time or of an error."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

faulthandler.enable()

# Started in the background of a shell, this process and those it starts would ignore Ctrl-C.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["pytester"]

# Under CI the same examples every time, and not so many that the suite becomes slow; a developer
# looks for new ones: HYPOTHESIS_PROFILE=dev, or =deep for a long search.
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("ci", derandomize=True, deadline=None, suppress_health_check=SLOW)
settings.register_profile("dev", deadline=None, suppress_health_check=SLOW)
settings.register_profile("deep", settings.get_profile("dev"), max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run asynchronous tests on asyncio with uvloop, as ``trunkline serve`` does."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(autouse=True)
def _loggers_that_speak(request: pytest.FixtureRequest) -> Iterator[None]:
    """Find the test that silences our loggers, rather than a later one that hears nothing."""
    yield
    silenced = ["all, by logging.disable()"] if logging.root.manager.disable else []
    logging.disable(logging.NOTSET)
    for name in tuple(logging.root.manager.loggerDict):
        logger = logging.getLogger(name)
        # caplog takes its own levels back, before or after this.
        level = logging.NOTSET if "caplog" in request.fixturenames else logger.level
        state = (logger.disabled, logger.propagate, level)
        if name.partition(".")[0] == "trunkline" and state != (False, True, logging.NOTSET):
            silenced.append(name)
            logger.disabled, logger.propagate = False, True
            logger.setLevel(logging.NOTSET)
    if silenced:
        pytest.fail(f"this test leaves loggers silenced: {', '.join(silenced)}")
