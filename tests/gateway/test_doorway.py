"""The gateway's lifespan opens and closes the line, around whatever application it wraps."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import anyio
import pytest

from trunkline import Identity, Trunkline
from trunkline.errors import ConfigError


class Host:
    """Send an application lifespan events, as a server does."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._task: asyncio.Future[None] | None = None

    async def say(self, what: str) -> str:
        if self._task is None:
            scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
            self._task = asyncio.ensure_future(self._app(scope, self._events.get, self.told.put))
        await self._events.put({"type": f"lifespan.{what}"})
        with anyio.fail_after(10):
            return (await self.told.get())["type"].removeprefix("lifespan.")

    async def end(self) -> None:
        assert self._task is not None
        await asyncio.wait_for(self._task, 10)


async def get(app: Any, path: str) -> int:
    events: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(event: dict[str, Any]) -> None:
        events.append(event)

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "headers": [],
        "query_string": b"",
        "http_version": "1.1",
    }
    await app(scope, receive, send)
    return events[0]["status"]


def is_empty(folder: Path) -> bool:
    return not any(folder.iterdir())


@pytest.fixture
def line(tmp_path: Path) -> Trunkline:
    return Trunkline(f"sqlite:///{tmp_path / 'line.db'}")


def test_there_is_no_gateway_without_hooks_or_a_word(line: Trunkline) -> None:
    with pytest.raises(ConfigError, match="identify="):
        line.gateway()
    with pytest.raises(ConfigError, match="access="):
        line.gateway(identify=lambda _: Identity())
    with pytest.raises(ConfigError, match="identify="):
        line.gateway(access=lambda *_: True)
    assert line.gateway(open=True)


async def test_the_servers_start_and_end_open_and_close_the_line(line: Trunkline) -> None:
    host = Host(line.gateway(open=True))
    assert await host.say("startup") == "startup.complete"
    assert line.is_open
    assert await host.say("shutdown") == "shutdown.complete"
    assert not line.is_open
    await host.end()


async def test_it_serves_again_after_it_was_closed(line: Trunkline) -> None:
    door = line.gateway(open=True)
    for _ in range(3):
        host = Host(door)
        assert await host.say("startup") == "startup.complete"
        assert await get(door, "/api/openapi.json") == 200
        assert await host.say("shutdown") == "shutdown.complete"
        await host.end()


async def test_a_line_that_was_open_already_stays_open(line: Trunkline) -> None:
    async with line:
        host = Host(line.gateway(open=True))
        await host.say("startup")
        await host.say("shutdown")
        assert line.is_open
        await host.end()


async def test_a_wrapped_application_lives_while_the_line_is_open(line: Trunkline) -> None:
    seen: list[tuple[str, bool]] = []

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        while True:
            event = await receive()
            seen.append((event["type"], line.is_open))
            await send({"type": f"{event['type']}.complete"})
            if event["type"] == "lifespan.shutdown":
                return

    host = Host(line.gateway(open=True, wrapped=wrapped))
    assert await host.say("startup") == "startup.complete"
    assert await host.say("shutdown") == "shutdown.complete"
    await host.end()
    assert seen == [("lifespan.startup", True), ("lifespan.shutdown", True)]
    assert not line.is_open


async def test_a_wrapped_application_without_lifespan_is_served_too(line: Trunkline) -> None:
    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    door = line.gateway(open=True, wrapped=wrapped)
    host = Host(door)
    assert await host.say("startup") == "startup.complete"
    assert await get(door, "/elsewhere") == 299
    assert await host.say("shutdown") == "shutdown.complete"
    await host.end()
    assert not line.is_open


async def test_a_wrapped_application_that_fails_to_start_closes_the_line(line: Trunkline) -> None:
    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})

    host = Host(line.gateway(open=True, wrapped=wrapped))
    assert await host.say("startup") == "startup.failed"
    await host.end()
    assert not line.is_open


async def test_a_log_that_cannot_be_opened_fails_the_start_with_its_reason(tmp_path: Path) -> None:
    host = Host(Trunkline(f"sqlite:///{tmp_path / 'no' / 'line.db'}").gateway(open=True))
    task = asyncio.ensure_future(host.say("startup"))
    assert await task == "startup.failed"
    await host.end()


async def test_mounted_without_lifespan_the_first_request_opens_the_line(line: Trunkline) -> None:
    door = line.gateway(open=True)
    assert await get(door, "/api/openapi.json") == 200
    assert line.is_open
    await line.close()


async def test_switched_off_it_serves_and_opens_nothing(tmp_path: Path) -> None:
    line = Trunkline(f"sqlite:///{tmp_path / 'line.db'}", off=True)
    door = line.gateway(open=True)
    host = Host(door)
    assert await host.say("startup") == "startup.complete"
    assert await get(door, "/api/openapi.json") == 200
    assert await host.say("shutdown") == "shutdown.complete"
    await host.end()
    assert is_empty(tmp_path)
