"""What every framework's example does: users place orders, and each is told of their own."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp

from trunkline.client import Client
from trunkline.testing.servers import Server

EXAMPLES = Path(__file__).parents[2] / "examples"
ANN = {"Authorization": "Bearer ann"}
BOB = {"Authorization": "Bearer bob"}
MINE = "/users/ann/orders"


async def orders_reach_their_users(
    server: Server,
    *,
    transport: str = "sse",
    ann: dict[str, str] = ANN,
    bob: dict[str, str] = BOB,
    mine: str = MINE,
) -> None:
    """Place an order through the application, and hear of it through the gateway."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        client = await stack.enter_async_context(
            Client(f"{server.url}/events", transport=transport, headers=ann, poll_interval=0.1)
        )
        start = 0 if transport in {"sse", "websocket"} else None
        subscription = await client.subscribe(mine, position=start).open()
        placed = {**ann, "Content-Type": "application/json"}
        order = secrets.randbelow(10**6) + 1
        async with http.post(f"{server.url}/orders/{order}", headers=placed) as answer:
            assert answer.status == 200, await answer.text()
        async with asyncio.timeout(20):
            async for message in subscription:
                if message.data == {"order": order}:
                    break
        await others_see_nothing(http, server, bob, mine)


async def others_see_nothing(
    http: aiohttp.ClientSession, server: Server, bob: dict[str, str], mine: str
) -> None:
    """Poll as somebody else, who is told nothing, and as a stranger, who is refused."""
    poll = f"{server.url}/events/message-bus/other/poll?dlp=t"
    async with http.post(poll, json={mine: 0}, headers=bob) as answer:
        assert answer.status == 200
        assert [one for one in await answer.json() if one["channel"] == mine] == []
    async with http.post(poll, json={mine: 0}) as answer:
        assert answer.status == 401


async def client_is_served(server: Server) -> None:
    """Fetch the browser client."""
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{server.url}/events/trunkline.js", headers=ANN) as answer,
    ):
        assert answer.status == 200
        assert answer.content_type == "text/javascript"
