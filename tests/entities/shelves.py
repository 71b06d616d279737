"""Shelves of items, a line that serves them, and every engine for the line."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import Any, NamedTuple

import pytest

from tests.faults.rigs import RIGS, NetworkRig
from tests.gateway.serving import serving
from trunkline import Trunkline

ENGINES = ("memory", "sqlite", "postgres", "redis", "nats")


class Place(NamedTuple):
    """Be where a line can be kept."""

    engine: str
    url: str
    rig: Any

    def line(self, **settings: Any) -> Trunkline:
        settings.setdefault("entity_prefix", f"t{secrets.token_hex(4)}")
        return Trunkline(self.url, **settings)


@pytest.fixture(scope="module", params=ENGINES)
async def place(request, tmp_path_factory):
    """Run each engine, behind a proxy where it is a server."""
    if request.param == "memory":
        yield Place("memory", "memory://", None)
        return
    async with RIGS[request.param]() as rig:
        yield Place(request.param, rig.url, rig if isinstance(rig, NetworkRig) else None)


class Shelf:
    """Keep things by key, and count who asked for them."""

    def __init__(self):
        self.things = {}
        self.asked = []

    async def fetch(self, key, viewer):
        self.asked.append((key, viewer))
        return self.things.get(tuple(key))

    async def put(self, line, entity, key_id, value, **how):
        self.things[entity, key_id] = value
        await line.changed(entity, key_id, **how)

    async def drop(self, line, entity, key_id):
        del self.things[entity, key_id]
        await line.changed(entity, key_id)


class Shop(NamedTuple):
    """Be a line that serves a shelf."""

    line: Trunkline
    shelf: Shelf
    port: int


@contextlib.asynccontextmanager
async def a_shop(line, *kinds, server="handed-over", options=None, **how):
    """Serve a shelf's kinds of entity on a line."""
    shelf = Shelf()
    for kind in kinds or ("items",):
        line.entity(kind, **(options or {}))(shelf.fetch)
    how.setdefault("open", True)
    async with line, serving(line.gateway(**how), server) as port:
        yield Shop(line, shelf, port)


async def wait_until(holds, within=15.0):
    """Poll until a condition holds."""
    async with asyncio.timeout(within):
        while not holds():
            await asyncio.sleep(0.005)
