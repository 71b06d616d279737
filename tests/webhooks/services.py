"""What the tests of the services share: a publisher and a subscriber, each with a real server."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.gateway.serving import serving
from trunkline import Trunkline

LOOPBACK = {"http": True, "networks": ["127.0.0.0/8"]}
PREFIX = "org.example."


class Door:
    """Be an application that is chosen later, for its address has to be known first."""

    def __init__(self) -> None:
        self.app: Any = None

    async def __call__(self, scope, receive, send) -> None:
        await self.app(scope, receive, send)


def other(ground) -> str:
    """Return the URL of another line on the same kind of database."""
    if ground.dialect == "sqlite":
        return ground.url.replace("line.db", "other.db")
    return f"{ground.url}_b"


def make_line(url: str, **services: Any) -> Trunkline:
    webhooks = {"delivery": LOOPBACK, "services": services}
    return Trunkline(url, webhooks=webhooks, close_grace=0.5)


@contextlib.asynccontextmanager
async def publishing(url: str, **services: Any):
    """Run a publisher: yields its line and the URL where one subscribes."""
    door = Door()
    line = make_line(url, **{"prefix": PREFIX, "delivery": {"schedule": [0.05] * 20}, **services})
    door.app = line.siblings.subscriptions_service()
    async with line, serving(door, "uvicorn") as port:
        line.start_services()
        yield line, f"http://127.0.0.1:{port}/subscriptions"


@dataclass
class Hearer:
    """Be a subscriber before and after it has opened."""

    line: Trunkline
    heard: list[Any] = field(default_factory=list)

    async def hear(self, event) -> None:
        self.heard.append(event)


@contextlib.asynccontextmanager
async def hearing(url: str, **services: Any):
    """Serve a subscriber's handlers: yields it, not opened, so that it can be declared."""
    door = Door()
    async with serving(door, "uvicorn") as port:
        callback = f"http://127.0.0.1:{port}/callbacks"
        line = make_line(url, **{"callback_url": callback, "register": "manual", **services})
        door.app = line.siblings.handler_service()
        try:
            yield Hearer(line)
        finally:
            await line.close()


async def introduce(publisher: Trunkline, subscriber: Trunkline, **terms: Any) -> None:
    """Have both know each other."""
    given = await publisher.siblings.peers.add("shop", **terms)
    await subscriber.siblings.peers.add("school", send=given, **terms)


async def come(holds) -> None:
    async with asyncio.timeout(15):
        while not holds():
            await asyncio.sleep(0.002)


@contextlib.asynccontextmanager
async def pair(ground, **services: Any):
    """Run a publisher and a subscriber that know each other; yields line, hearer and URL."""
    async with publishing(ground.url, **services) as (line, url), hearing(other(ground)) as hearer:
        await introduce(line, hearer.line)
        hearer.line.siblings.source("school", subscription_url=url, channel_prefix=PREFIX)
        yield line, hearer, url


async def ask(method: str, url: str, **how: Any):
    """Make a plain request: status, headers and body."""
    async with aiohttp.ClientSession() as session, session.request(method, url, **how) as answer:
        return answer.status, answer.headers, await answer.read()
