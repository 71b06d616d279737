"""A gateway on a line in memory, and a caller that speaks ASGI to it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any, NamedTuple

import anyio
import msgspec

from trunkline.channels.bus import Bus
from trunkline.channels.filters import Filters
from trunkline.channels.hub import Hub
from trunkline.gateway.assembly import Gateway
from trunkline.gateway.hooks import Hooks
from trunkline.log.memory import MemoryLog
from trunkline.log.retention import Retention
from trunkline.runtime.clock import SystemClock


class Told(NamedTuple):
    """Be what an application answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class ManualClock:
    """Tell a time that tests set."""

    def __init__(self) -> None:
        self.time = 1_000_000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


class Line(NamedTuple):
    """Be a line's parts."""

    log: MemoryLog
    hub: Hub
    bus: Bus
    gateways: list[Gateway]

    def gateway(self, **how: Any) -> Gateway:
        """Make a gateway that is open unless it is given hooks."""
        how.setdefault("open", "identify" not in how or "access" not in how)
        rest = {name: how.pop(name) for name in ("options", "clock") if name in how}
        gateway = Gateway(self.log, self.hub, self.bus, hooks=Hooks(**how), **rest)
        self.gateways.append(gateway)
        return gateway


@contextlib.asynccontextmanager
async def a_line() -> AsyncIterator[Line]:
    """Run a line in memory."""
    log = MemoryLog(retention=Retention(), clock=SystemClock())
    await log.open()
    filters = Filters()
    hub = Hub(log, filters)

    async def ready() -> None:
        return

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hub.run)
        bus = Bus(log, hub, filters=filters, ready=ready, listen=lambda _: None)
        line = Line(log, hub, bus, [])
        yield line
        for gateway in line.gateways:
            await gateway.close()
        tasks.cancel_scope.cancel()
    await log.close()


def scope_of(
    method: str,
    path: str,
    *,
    headers: Iterable[tuple[str, str]] = (),
    query: bytes = b"",
    **more: Any,
) -> dict[str, Any]:
    """Return an ASGI scope."""
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        "client": ("192.0.2.1", 50000),
        "server": ("127.0.0.1", 80),
        "state": {},
        **more,
    }


async def call(
    app: Any,
    method: str,
    path: str,
    *,
    body: bytes | list[bytes] = b"",
    headers: Iterable[tuple[str, str]] = (),
    within: float = 10.0,
    **more: Any,
) -> Told:
    """Send one request and return the whole answer."""
    scope = scope_of(method, path, headers=headers, **more)
    return await exchange(app, scope, body, within=within)


async def exchange(
    app: Any, scope: dict[str, Any], body: bytes | list[bytes] = b"", *, within: float = 10.0
) -> Told:
    """Speak one exchange of ASGI; the client goes away when the body is sent and answered."""
    parts = list(body) if isinstance(body, list) else [body]
    answered = anyio.Event()
    sent: list[Any] = []

    async def receive() -> Any:
        if parts:
            part = parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(parts)}
        await answered.wait()
        return {"type": "http.disconnect"}

    async def send(event: Any) -> None:
        sent.append(event)
        if event["type"] == "http.response.body" and not event.get("more_body", False):
            answered.set()

    with anyio.fail_after(within):
        await app(scope, receive, send)
    return _told(sent)


def _told(sent: list[Any]) -> Told:
    start = sent[0]
    assert start["type"] == "http.response.start", start
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    assert len(headers) == len(start["headers"]), "a header stands twice"
    return Told(start["status"], headers, b"".join(event.get("body", b"") for event in sent[1:]))


def code_of(told: Told) -> str:
    """Return a problem's code, having checked that it is a problem."""
    assert told.headers["content-type"] == "application/problem+json", told
    problem = told.json
    assert problem["status"] == told.status
    assert problem["detail"]
    return str(problem["type"]).removeprefix("urn:trunkline:problem:")
