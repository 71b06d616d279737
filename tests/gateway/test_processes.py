"""Processes of one line hear each other: a revocation ends in all, and all answer operators."""

from __future__ import annotations

import contextlib

import aiohttp
import pytest

from tests.gateway.talker import talking
from trunkline import Trunkline
from trunkline.testing.servers import Server, granian, hypercorn, trunkline_serve, uvicorn

pytestmark = pytest.mark.slow

WEB = """
from trunkline import Identity, Trunkline

line = Trunkline()

def identify(request):
    user = request.query.get("user", [""])[0]
    return Identity(user_id=user, is_admin=user == "root") if user else None

app = line.gateway(identify=identify, access=lambda identity, channel: True)
"""


@contextlib.asynccontextmanager
async def processes(tmp_path, *kinds):
    """Run servers of different kinds on one line, and open the line here too."""
    (tmp_path / "web.py").write_text(WEB)
    url = f"sqlite:///{tmp_path}/line.db"
    environment = {"TRUNKLINE_LOG": url, "TRUNKLINE_DIAGNOSTICS": "1"}
    async with contextlib.AsyncExitStack() as stack:
        servers: list[Server] = []
        for kind in kinds:
            server = kind("web:app", directory=tmp_path, environment=environment)
            servers.append(await stack.enter_async_context(server))
        line = await stack.enter_async_context(Trunkline(url))
        yield line, servers


async def test_a_revocation_ends_connections_in_every_process(tmp_path):
    kinds = (trunkline_serve, uvicorn, hypercorn, granian)
    async with processes(tmp_path, *kinds) as (line, servers), contextlib.AsyncExitStack() as stack:
        anns, bobs = [], []
        for server in servers:
            for user, talkers in (("ann", anns), ("bob", bobs)):
                talker = await stack.enter_async_context(talking(server.port, f"?user={user}"))
                await talker.ask("subscribe", channels=["/a"])
                await talker.until("live")
                talkers.append(talker)
        await line.revoke(user_id="ann")
        for talker in anns:
            told, code = await talker.closed()
            assert (told[-1]["type"], told[-1]["reason"], code) == ("goodbye", "revoked", 4003)
        await line.publish("/a", "still here")
        for talker in bobs:
            assert (await talker.until("message"))[-1]["data"] == "still here"


async def test_operators_see_every_process(tmp_path):
    async with (
        processes(tmp_path, trunkline_serve, uvicorn) as (line, servers),
        talking(servers[0].port, "?user=ann&client_id=one") as one,
        talking(servers[1].port, "?user=bob&client_id=two") as two,
        aiohttp.ClientSession() as http,
    ):
        for talker in (one, two):
            await talker.ask("subscribe", channels=["/a"])
            await talker.until("live")
        await line.publish("/a", 1)
        url = f"{servers[0].url}/message-bus/_diagnostics/state.json"
        async with http.get(url, params={"user": "ann"}) as response:
            assert response.status == 403
        seen = set()
        for _ in range(50):
            async with http.get(url, params={"user": "root"}) as response:
                state = await response.json()
            seen = {
                (process["pid"], connection["client_id"])
                for process in state["processes"]
                for connection in process["connections"]
            }
            if len(seen) == 2:
                break
        assert {client for _, client in seen} == {"one", "two"}
        assert len({pid for pid, _ in seen}) == 2
        assert [(one["name"], one["backlog"]) for one in state["channels"]["shown"]] == [("/a", 1)]
