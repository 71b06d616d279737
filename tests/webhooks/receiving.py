"""A receiver of webhooks on a free loopback port, which does as the test says."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

Behave = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Received:
    """Be one request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """Note every request, and answer as ``behave`` says, by path."""

    port: int = 0
    requests: list[Received] = field(default_factory=list)
    behave: dict[str, Behave] = field(default_factory=dict)
    came: asyncio.Event = field(default_factory=asyncio.Event)
    connections: int = 0

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def at(self, path: str) -> list[Received]:
        return [one for one in self.requests if one.path == path]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append(Received(request.path, headers, body))
        self.came.set()
        behave = self.behave.get(request.path)
        return web.Response(text="ok") if behave is None else await behave(request)


def answers(status: int, text: str = "", **headers: str) -> Behave:
    """Return a behaviour: always this answer."""

    async def behave(request: web.Request) -> web.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, text=text, headers=named)

    return behave


def one_after_another(*each: Behave) -> Behave:
    """Return a behaviour that changes with every request; the last one stays."""
    left = list(each)

    async def behave(request: web.Request) -> web.StreamResponse:
        return await (left.pop(0) if len(left) > 1 else left[0])(request)

    return behave


async def hangs(request: web.Request) -> web.Response:
    """Be a behaviour: never answer."""
    await asyncio.Event().wait()
    raise AssertionError


async def resets(request: web.Request) -> web.Response:
    """Be a behaviour: cut the connection."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@contextlib.asynccontextmanager
async def receiving():
    """Run a receiver."""
    receiver = Receiver()
    server = web.Server(receiver.handle)
    runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=0.01)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.port = runner.addresses[0][1]
    try:
        yield receiver
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def raw_server(answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable]):
    """Run a server that speaks plain bytes; yields its port and a list of its peers."""
    peers: list[tuple] = []
    under_way: set[asyncio.Task] = set()

    async def handle(reader, writer):
        under_way.add(asyncio.current_task())
        peers.append(writer.get_extra_info("peername"))
        try:
            with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
                await answer(reader, writer)
        finally:
            writer.close()
            under_way.discard(asyncio.current_task())

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], peers
    finally:
        server.close()
        tasks = tuple(under_way)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
