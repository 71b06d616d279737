"""A served gateway whose clients say in a header who they are, which its hook believes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import msgspec

from tests.gateway.serving import serving
from tests.interop.replies import ask, poll, request
from trunkline import Identity, Request, Trunkline


class Who(NamedTuple):
    """Be a client: who it says it is, and what it calls itself."""

    user: str | int | None = None
    groups: tuple[str | int, ...] = ()
    site: str | None = None
    client: str = "c1"

    @property
    def header(self) -> str:
        told = {"user": self.user, "groups": self.groups, "site": self.site}
        return "x-who: " + msgspec.json.encode(told).decode()


def identify(request: Request) -> Identity | None:
    """Believe the header, as a test may."""
    told = msgspec.json.decode(request.header("x-who") or "{}")
    return Identity(
        user_id=told.get("user"),
        group_ids=frozenset(told.get("groups", ())),
        site_id=told.get("site"),
    )


ANYBODY = Who()


class Shop(NamedTuple):
    """Be a line, its gateway and the port it is served on."""

    line: Trunkline
    gateway: Any
    port: int

    async def poll(self, positions: dict[str, int | None], who: Who = ANYBODY) -> list[Any]:
        """Poll without being held, and return the messages."""
        body = msgspec.json.encode(positions)
        headers = ["content-type: application/json", who.header]
        asked = request(f"/message-bus/{who.client}/poll?dlp=t", body, headers=headers)
        async with ask(self.port, asked) as reply:
            assert reply.status == 200, await reply.body()
            answer: list[Any] = await reply.json()
            return answer

    def stream(self, positions: str, who: Who = ANYBODY, *headers: str) -> Any:
        """Poll as a stream; an async context manager that gives the reply."""
        return ask(self.port, poll(positions, who.header, *headers, client=who.client))


@contextlib.asynccontextmanager
async def a_shop(log: str = "memory://", **hooks: Any) -> AsyncIterator[Shop]:
    """Serve a line of its own."""
    settings = hooks.pop("settings", {})
    hooks = {"identify": identify, "access": lambda identity, channel: True, **hooks}
    async with Trunkline(log, **settings) as line:
        gateway = line.gateway(**hooks)
        async with serving(gateway) as port:
            yield Shop(line, gateway, port)
        await gateway.close()


def data_of(answer: list[Any]) -> list[Any]:
    """Return the data of an answer's messages."""
    return [one["data"] for one in answer if not one["channel"].startswith("/__")]


def status_of(answer: list[Any]) -> dict[str, int] | None:
    """Return what the status message says, which must stand last."""
    found = [one for one in answer if one["channel"] == "/__status"]
    assert len(found) <= 1
    if not found:
        return None
    assert answer[-1] == found[0]
    assert found[0]["message_id"] == found[0]["global_id"] == -1
    told: dict[str, int] = found[0]["data"]
    return told
