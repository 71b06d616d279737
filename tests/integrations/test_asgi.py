"""FastAPI, Starlette and Litestar: each example on a real server, with real clients."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.integrations.orders import EXAMPLES, client_is_served, orders_reach_their_users
from trunkline.testing.servers import Server, uvicorn


def example(framework: str, folder: Path) -> Server:
    log = {"TRUNKLINE_LOG": f"sqlite:///{folder}/line.db"}
    return uvicorn("app:app", directory=EXAMPLES / framework, environment=log)


@pytest.mark.parametrize("transport", ["sse", "websocket", "poll"])
@pytest.mark.parametrize("framework", ["fastapi", "starlette", "litestar"])
async def test_orders_reach_their_users_and_nobody_else(
    framework: str, transport: str, tmp_path: Path
) -> None:
    async with example(framework, tmp_path) as server:
        await orders_reach_their_users(server, transport=transport)
        await client_is_served(server)


#: Runs an example as its command does, on a free port.
COMMAND = """
import runpy, sys, uvicorn
run = uvicorn.run
uvicorn.run = lambda app, **options: run(app, **{**options, "port": int(sys.argv[2])})
runpy.run_path(sys.argv[1], run_name="__main__")
"""


@pytest.mark.parametrize("framework", ["fastapi", "starlette", "litestar"])
async def test_an_example_runs_by_one_command(framework: str, tmp_path: Path) -> None:
    log = {"TRUNKLINE_LOG": f"sqlite:///{tmp_path}/line.db"}
    command = [sys.executable, "-c", COMMAND, str(EXAMPLES / framework / "app.py"), "{port}"]
    async with Server(command, environment=log) as server:
        await client_is_served(server)
