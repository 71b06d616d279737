"""The engines of the fault suite: real servers set up as the doctor asks, behind a fault proxy."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

from trunkline.testing import faults
from trunkline.testing.faults import FaultProxy
from trunkline.testing.nats_server import NatsCluster, NatsServer
from trunkline.testing.postgres_server import PostgresServer
from trunkline.testing.redis_server import RedisServer
from trunkline.testing.servers import HOST

if TYPE_CHECKING:
    from tests.faults.arena import Arena

#: Room that a full disk still has, on top of the journals that share it.
LEFT = 8 * 1024
#: Seconds that publishes wait for an engine that is away; less than usual, to see some refused.
QUEUE_TIMEOUT = 3
#: The shortest it takes.
NATS_OPTIONS = "timeout=5"


class Rig(ABC):
    """Be an engine that can be harmed; an async context manager."""

    #: The log, as publishers, listeners and the gateway reach it.
    url: str
    #: The log, without the proxy.
    direct_url: str

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return

    @abstractmethod
    def full_disk(self, arena: Arena) -> contextlib.AbstractAsyncContextManager[None]:
        """Leave the engine no room while the context is open."""


class SQLiteRig(Rig):
    """The embedded engine: its processes are ours."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="trunkline-faults-")
        self.url = self.direct_url = f"sqlite:///{Path(self._folder.name, 'line.db')}"

    async def __aexit__(self, *_: object) -> None:
        self._folder.cleanup()

    @contextlib.asynccontextmanager
    async def full_disk(self, arena: Arena) -> AsyncIterator[None]:
        """Let no file of a publisher grow beyond its journal, which needs room too."""
        size = max(one.size() for one in arena.publishers) + LEFT
        for one in arena.publishers:
            faults.limit_files(one.pid, size)
        try:
            yield
        finally:
            for one in arena.publishers:
                faults.limit_files(one.pid, None)


class NetworkRig(Rig):
    """An engine in a process of its own, behind a proxy."""

    proxy: FaultProxy

    async def __aenter__(self) -> Self:
        await self.start()
        await self.proxy.__aenter__()
        return self

    @abstractmethod
    async def kill9(self) -> None:
        """Kill the engine."""

    @abstractmethod
    async def start(self) -> None:
        """Start the engine on what it stored."""


class ProcessRig(NetworkRig):
    """An engine that is one process, and whose files are that process's."""

    server: RedisServer | NatsServer

    async def kill9(self) -> None:
        """Kill the server."""
        await self.server.kill9()

    async def start(self) -> None:
        """Start the server, and wait until it is ready."""
        await self.server.start()

    @contextlib.asynccontextmanager
    async def full_disk(self, arena: Arena) -> AsyncIterator[None]:
        """Let none of the server's files grow; one that gives up is started again."""
        faults.limit_files(self.server.pid, 1)
        yield
        await self.kill9()
        await self.start()


class RedisRig(ProcessRig):
    """Redis that syncs every write, and for a failover a replica behind a proxy of its own."""

    def __init__(self) -> None:
        self.server = RedisServer()
        self.proxy = FaultProxy(self.server.port)
        self._replica: RedisServer | None = None
        self._link: FaultProxy | None = None
        self.url = f"redis://{HOST}:{self.proxy.port}/0?queue_timeout={QUEUE_TIMEOUT}"

    @property
    def direct_url(self) -> str:
        return self.server.log_url

    async def __aexit__(self, *_: object) -> None:
        await self.proxy.__aexit__(None, None, None)
        await self.drop_replica()
        await self.server.remove()

    async def have_replica(self) -> None:
        """Start a replica and wait until it has everything."""
        self._replica = RedisServer()
        self._link = FaultProxy(self.server.port)
        await self._link.__aenter__()
        await self._replica.start()
        await self._replica.follow(self._link)

    async def drop_replica(self) -> None:
        """End the replica."""
        if self._replica is not None and self._link is not None:
            await self._link.__aexit__(None, None, None)
            await self._replica.remove()
        self._replica = self._link = None

    def hold_replication(self) -> None:
        """Let nothing more reach the replica: what is acknowledged from now on it lacks."""
        assert self._link is not None
        self._link.freeze()

    async def fail_over(self) -> None:
        """Kill the master; the replica takes its place and its address."""
        assert self._replica is not None
        self.proxy.refuse()
        old, self.server = self.server, self._replica
        self._replica = None
        await old.remove()
        assert self._link is not None
        await self._link.__aexit__(None, None, None)
        self._link = None
        await self.server.promote()
        self.proxy.target = self.server.port
        self.proxy.heal()


class PostgresRig(NetworkRig):
    """PostgreSQL as it comes, which syncs every commit."""

    def __init__(self) -> None:
        self.server = PostgresServer()
        self.proxy = FaultProxy(self.server.port)
        self.direct_url = f"{self.server.url}?patience={QUEUE_TIMEOUT}"
        self.url = self.direct_url.replace(f":{self.server.port}/", f":{self.proxy.port}/")

    async def __aexit__(self, *_: object) -> None:
        await self.proxy.__aexit__(None, None, None)
        await asyncio.to_thread(self.server.remove)

    async def kill9(self) -> None:
        """Kill the server."""
        await asyncio.to_thread(self.server.kill9)

    async def start(self) -> None:
        """Start the server, and wait until it has recovered."""
        await asyncio.to_thread(self.server.start)

    async def restart(self, how: signal.Signals) -> None:
        """Stop the server in its own ways, and start it again."""
        await asyncio.to_thread(self.server.restart, how)

    @contextlib.asynccontextmanager
    async def full_disk(self, arena: Arena) -> AsyncIterator[None]:
        """Let no file of any of its processes grow, the log of its transactions least of all."""
        for pid in (self.server.pid, *_children(self.server.pid)):
            with contextlib.suppress(ProcessLookupError):
                faults.limit_files(pid, 1)
        yield
        await self.kill9()
        await self.start()


class NatsRig(ProcessRig):
    """One NATS server with its streams in files."""

    def __init__(self) -> None:
        self.server = NatsServer()
        self.proxy = FaultProxy(self.server.port)
        self.url = f"nats://{HOST}:{self.proxy.port}?{NATS_OPTIONS}"
        self.direct_url = f"{self.server.url}?{NATS_OPTIONS}"

    async def __aexit__(self, *_: object) -> None:
        await self.proxy.__aexit__(None, None, None)
        await self.server.stop()


class NatsClusterRig(Rig):
    """Three NATS servers, each with a copy of everything."""

    def __init__(self) -> None:
        self.cluster = NatsCluster()
        self.url = self.direct_url = f"{self.cluster.url}?{NATS_OPTIONS}"

    async def __aenter__(self) -> Self:
        await self.cluster.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cluster.__aexit__(None, None, None)

    def full_disk(self, arena: Arena) -> contextlib.AbstractAsyncContextManager[None]:
        """Not here: one server shows it."""
        raise NotImplementedError


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(one) for one in text.split()]


RIGS: Mapping[str, type[Rig]] = {
    "sqlite": SQLiteRig,
    "postgres": PostgresRig,
    "redis": RedisRig,
    "nats": NatsRig,
    "nats cluster": NatsClusterRig,
}
