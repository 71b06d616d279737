"""An answer that is lost for good: every engine says that the outcome is unknown, and only then."""

from __future__ import annotations

import contextlib

import pytest

from trunkline.errors import LogUnavailableError, OutcomeUnknownError
from trunkline.log.registry import engine_for
from trunkline.log.retention import Retention
from trunkline.runtime.clock import SystemClock
from trunkline.testing.contracts.support import append, plain, values, whole_line
from trunkline.testing.faults import FaultProxy
from trunkline.testing.nats_server import NatsServer
from trunkline.testing.postgres_server import PostgresServer
from trunkline.testing.redis_server import RedisServer
from trunkline.testing.servers import HOST

pytestmark = pytest.mark.timeout(120)

#: The least that each engine waits.
IMPATIENT = {
    "redis": "queue_timeout=1&socket_timeout=0.5",
    "postgres": "patience=1&reply_timeout=0.5",
    "nats": "timeout=5",
}


@contextlib.asynccontextmanager
async def running(engine):
    """Yield a server's port, and what its URL is with a port left open."""
    if engine == "redis":
        async with RedisServer() as server:
            yield server.port, f"redis://{HOST}:{{}}/0?{IMPATIENT[engine]}"
    elif engine == "nats":
        async with NatsServer() as server:
            yield server.port, f"nats://{HOST}:{{}}?{IMPATIENT[engine]}"
    else:
        with PostgresServer() as server:
            url = server.url.replace(f":{server.port}/", ":{}/")
            yield server.port, f"{url}?{IMPATIENT[engine]}"


@contextlib.asynccontextmanager
async def opened(url):
    log = engine_for(url).from_url(url, retention=Retention(), clock=SystemClock(), options={})
    await log.open()
    try:
        yield log
    finally:
        await log.close()


@pytest.mark.parametrize("engine", IMPATIENT)
async def test_only_a_lost_answer_leaves_an_outcome_unknown(engine):
    """A stored publish whose answer never comes is unknown; without a server nothing is stored."""
    async with (
        running(engine) as (port, url),
        FaultProxy(port) as proxy,
        opened(url.format(proxy.port)) as log,
        opened(url.format(port)) as beside,
    ):
        await append(log, [plain("/a", "before", key="first")])
        proxy.freeze(requests=False)
        with pytest.raises(OutcomeUnknownError, match="same key"):
            await append(log, [plain("/a", "unknown", key="k")])
        assert values(await whole_line(beside)) == ["before", "unknown"]
        proxy.refuse()
        raised = OutcomeUnknownError
        while raised is OutcomeUnknownError:  # until it has noticed that the connection is gone
            with pytest.raises(LogUnavailableError) as caught:
                await append(log, [plain("/a", "refused")])
            raised = caught.type
        proxy.heal()
        found = []
        while not found:
            with contextlib.suppress(LogUnavailableError):
                found = await append(log, [plain("/a", "unknown", key="k")])
        assert (found[0].is_repeat, found[0].message_id) == (True, 2)
        assert values(await whole_line(beside)) == ["before", "unknown"]
