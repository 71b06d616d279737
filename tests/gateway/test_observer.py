"""Operators see every process, connection and channel; nobody else sees anything."""

from __future__ import annotations

import base64
import hashlib
import os
import re

import anyio
import pytest

from tests.gateway.edge import a_line, call, code_of
from tests.gateway.serving import serving
from tests.gateway.talker import talking
from trunkline.gateway import observer
from trunkline.gateway.options import GatewayOptions
from trunkline.model.identity import Identity

PAGE = "/message-bus/_diagnostics"
STATE = f"{PAGE}/state.json"


def administered(line, **options):
    """Make a gateway where ?admin makes one an admin."""
    return line.gateway(
        identify=lambda request: Identity(user_id="ann", is_admin="admin" in request.query),
        access=lambda *_: True,
        options=GatewayOptions(diagnostics=True, **options),
    )


@pytest.mark.parametrize("path", [PAGE, STATE])
async def test_it_is_off_and_for_admins_only(path):
    async with a_line() as line:
        gateway = administered(line)
        told = await call(gateway, "GET", path)
        assert (told.status, code_of(told)) == (403, "access-denied")
        assert (await call(gateway, "GET", path, query=b"admin")).status == 200
        assert (await call(gateway, "POST", path, query=b"admin")).status == 405
        gateway.options.diagnostics = False
        told = await call(gateway, "GET", path, query=b"admin")
        assert (told.status, code_of(told)) == (404, "not-found")
        await gateway.close()


async def test_the_page_may_load_and_run_nothing_but_itself():
    async with a_line() as line:
        gateway = administered(line)
        told = await call(gateway, "GET", PAGE, query=b"admin")
        page = told.body.decode()
        policy = told.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy
        for kind in ("script", "style"):
            (inside,) = re.findall(rf"<{kind}>(.*?)</{kind}>", page, re.DOTALL)
            digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
            assert f"{kind}-src 'sha256-{digest}'" in policy
        assert not re.search(r"https?://|\bsrc=|\bhref=|\bon[a-z]+=", page)
        await gateway.close()


async def test_it_shows_processes_connections_and_channels():
    async with a_line() as line:
        gateway = administered(line)
        for n in range(5):
            await line.bus.publish("/a", n)
        await line.bus.trim("/a", 2)
        async with serving(gateway) as port, talking(port, "?client_id=c1") as talker:
            await talker.ask("subscribe", channels=["/a", "/b/**"])
            await talker.until("live")
            state = (await call(gateway, "GET", STATE, query=b"admin")).json
            (process,) = state["processes"]
            assert process["is_self"] is True
            assert process["pid"] == os.getpid()
            assert process["version"]
            assert process["connections_total"] == 1
            assert process["by_transport"] == {"websocket": 1}
            assert process["hub"]["lag"] == 0
            (connection,) = process["connections"]
            assert connection["transport"] == "websocket"
            assert (connection["client_id"], connection["user_id"]) == ("c1", "ann")
            assert connection["channels"] == ["/a", "/b/**"]
            assert connection["lag"] == 0
            assert connection["position"].endswith("-5")
            assert abs(connection["since"] - state["now"]) < 60
            (channel,) = state["channels"]["shown"]
            assert (channel["name"], channel["last_id"]) == ("/a", 5)
            assert (channel["floor"], channel["backlog"]) == (2, 3)
            assert state["channels"]["next"] is None
        await gateway.close()


async def test_every_process_answers_and_one_that_is_gone_is_forgotten(monkeypatch):
    monkeypatch.setattr(observer, "ASK_EVERY", 0.0)
    async with a_line() as line:
        gateways = [administered(line) for _ in range(3)]
        silent = line.gateway(options=GatewayOptions(diagnostics=False))
        for gateway in (*gateways, silent):
            await gateway.context.intercom.open()

        async def processes():
            state = (await call(gateways[0], "GET", STATE, query=b"admin")).json
            return {one["process"] for one in state["processes"]}

        with anyio.fail_after(10):
            while len(await processes()) < 3:
                pass
        assert len(await processes()) == 3
        await gateways[2].close()
        monkeypatch.setattr(observer, "ROW_AGE", 0.0)
        assert len(await processes()) <= 2
        for gateway in (*gateways[:2], silent):
            await gateway.close()


async def test_nothing_is_written_while_nobody_looks():
    async with a_line() as line:
        gateway = administered(line)
        async with serving(gateway) as port, talking(port) as talker:
            await talker.ask("subscribe", channels=["/a"])
            assert (await line.bus.position()).global_id == 0
        await gateway.close()


async def test_channels_come_in_pages(monkeypatch):
    monkeypatch.setattr(observer, "CHANNELS_PER_PAGE", 2)
    async with a_line() as line:
        gateway = administered(line)
        for name, site in (("/a", None), ("/b", None), ("/a", "s")):
            await line.bus.publish(name, 1, site_id=site)
        seen, query = [], b"admin"
        while True:
            channels = (await call(gateway, "GET", STATE, query=query)).json["channels"]
            seen += [(one["name"], one["site_id"]) for one in channels["shown"]]
            if channels["next"] is None:
                break
            query = b"admin&after=" + channels["next"]["name"].encode()
            if channels["next"]["site_id"] is not None:
                query += b"&after_site=" + channels["next"]["site_id"].encode()
        assert sorted(seen, key=str) == sorted([("/a", None), ("/b", None), ("/a", "s")], key=str)
        await gateway.close()


async def test_what_it_shows_is_bounded(monkeypatch):
    monkeypatch.setattr(observer, "MAX_CONNECTIONS", 2)
    monkeypatch.setattr(observer, "MAX_CHANNELS", 3)
    async with a_line() as line:
        gateway = administered(line)
        async with (
            serving(gateway) as port,
            talking(port) as one,
            talking(port),
            talking(port),
        ):
            await one.ask("subscribe", channels=[f"/{n}" for n in range(9)])
            state = (await call(gateway, "GET", STATE, query=b"admin")).json
            (process,) = state["processes"]
            assert (process["connections_total"], len(process["connections"])) == (3, 2)
            assert all(len(one["channels"]) <= 3 for one in process["connections"])
        await gateway.close()
