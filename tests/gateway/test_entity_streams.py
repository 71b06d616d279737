"""Entities on event streams, beside channels or alone, on every server."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from tests.gateway.serving import SERVERS
from tests.gateway.stall import Stall


@pytest.fixture(params=SERVERS)
def server(request):
    return request.param


async def events(response):
    """Iterate over a stream's events as (name, data)."""
    name, data = "message", None
    async for raw in response.content:
        line = raw.decode().rstrip("\n")
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            data = json.loads(line[6:])
        elif not line:
            if data is not None:
                yield name, data
            name, data = "message", None


async def test_a_stream_shows_entities_beside_channels(server):
    params = [
        ("channel", "/a"),
        ("watch", '["items","100"]'),
        ("watch", '["nothing","1"]'),
    ]
    async with Stall(server) as shop, aiohttp.ClientSession() as http:
        await shop.put(1)
        url = f"http://127.0.0.1:{shop.port}/sse"
        headers = {"x-trunkline-secret": "s"}
        async with asyncio.timeout(15), http.get(url, params=params, headers=headers) as response:
            told = events(response)
            assert (await anext(told))[0] == "ready"
            name, data = await anext(told)
            assert name == "watching"
            assert [one["code"] for one in data["refused"]] == ["unknown-entity"]
            name, data = await anext(told)
            assert (name, data["rows"][0]["value"]) == ("entity", 1)
            version = data["version"]
            await shop.line.publish("/a", "x")
            name, data = await anext(told)
            assert (name, data["data"]) == ("message", "x")
            await shop.put(2)
            name, data = await anext(told)
            assert (name, data["rows"][0]["value"]) == ("entity", 2)
            assert shop.shelf.asked[-1][1].secret == "s"
            newer = data["version"]
        for known, current in ((newer, 1), (version, 0)):
            watch = {"watch": json.dumps(["items", "100", known])}
            async with http.get(url, params=watch, headers=headers) as response:
                told = events(response)
                await anext(told)
                name, data = await anext(told)
                assert (name, len(data["current"])) == ("watching", current)


@pytest.mark.parametrize(
    "watch",
    ["", "items/1", '["items"]', '["items",1]', '["items","1","yesterday"]', '["","1"]', "[1,2]"],
)
async def test_a_stream_refuses_what_is_no_entity(watch):
    async with Stall() as shop, aiohttp.ClientSession() as http:
        url = f"http://127.0.0.1:{shop.port}/sse"
        async with http.get(url, params={"watch": watch}) as response:
            assert response.status == 400
            assert (await response.json())["type"].endswith("grammar")
