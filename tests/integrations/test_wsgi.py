"""WSGI: polls on real servers that fork, Flask's example, and a line that was used before."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.integrations.orders import (
    ANN,
    EXAMPLES,
    MINE,
    client_is_served,
    orders_reach_their_users,
)
from trunkline.errors import ConfigError
from trunkline.integrations.wsgi import LineMiddleware
from trunkline.model.identity import Identity
from trunkline.sync import Trunkline
from trunkline.testing.servers import Server

GUNICORN = [sys.executable, "-m", "gunicorn", "-w", "3", "--preload", "-b", "127.0.0.1:{port}"]
HERE = Path(__file__).parent
#: Runs an example as its command does, on a free port.
COMMAND = """
import runpy, sys, flask, wsgiref.simple_server as simple
port = int(sys.argv[2])
serve, make = flask.Flask.run, simple.make_server
flask.Flask.run = lambda app, **options: serve(app, port=port)
simple.make_server = lambda host, _, app: make(host, port, app)
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def example(name: str, folder: Path, command: list[str]) -> Server:
    place = {"SHOP_FOLDER": str(folder), "TRUNKLINE_LOG": f"sqlite:///{folder}/line.db"}
    return Server(command, directory=EXAMPLES / name, environment=place)


async def test_flask_tells_orders_to_their_users_and_nobody_else(tmp_path: Path) -> None:
    async with example("flask", tmp_path, [*GUNICORN, "app:app"]) as server:
        await orders_reach_their_users(server, transport="poll")
        await client_is_served(server)
        async with aiohttp.ClientSession(headers=ANN) as http:
            async with http.post(f"{server.url}/orders/0") as answer:
                assert answer.status == 500
            async with http.get(f"{server.url}/events/sse?channels={MINE}") as answer:
                assert answer.status == 501
            poll = f"{server.url}/events/message-bus/me/poll"
            async with http.post(poll, data={MINE: "0"}) as answer:
                assert [one["message_id"] for one in await answer.json()] == [1]


@pytest.mark.parametrize("name", ["flask", "wsgi"])
async def test_an_example_runs_by_one_command(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", COMMAND, str(EXAMPLES / name / "app.py"), "{port}"]
    async with example(name, tmp_path, command) as server:
        await client_is_served(server)


def test_flask_runs_commands_with_its_line(tmp_path: Path) -> None:
    def flask(*words: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "flask", "trunkline", *words],
            cwd=EXAMPLES / "flask",
            env={**os.environ, "SHOP_FOLDER": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout

    flask("publish", MINE, '{"order": 9}')
    worker = subprocess.Popen(
        [sys.executable, "-m", "flask", "trunkline", "worker"],
        cwd=EXAMPLES / "flask",
        env={**os.environ, "SHOP_FOLDER": str(tmp_path)},
    )
    try:
        assert "order 9 is confirmed" in flask("tail", "/mails", "--after", "0", "--count", "1")
    finally:
        worker.terminate()
        assert worker.wait(30) == 0


async def test_workers_of_gunicorn_go_on_with_a_line_used_before_the_fork(tmp_path: Path) -> None:
    log = {"FORKING_LOG": f"sqlite:///{tmp_path}/line.db", "PYTHONPATH": str(HERE)}
    async with (
        Server([*GUNICORN, "forking:app"], environment=log) as server,
        aiohttp.ClientSession() as http,
    ):
        wanted = {"before the fork"}

        async def post(number: int) -> int:
            wanted.add(f"/{number}")
            # A connection each, so that all workers get some.
            async with http.post(f"{server.url}/{number}", headers={"Connection": "close"}) as one:
                assert one.status == 200
                pid, _ = await one.json()
                return int(pid)

        numbers, pids = count(), set[int]()
        async with asyncio.timeout(30):
            while len(pids) < 2:
                pids |= set(await asyncio.gather(*map(post, islice(numbers, 40))))
        os.kill(pids.pop(), signal.SIGKILL)  # another one is forked in its place
        for number in islice(numbers, 20):
            await post(number)
        await everybody_heard(http, server, wanted)
        poll = f"{server.url}/events/message-bus/me/poll"
        async with http.post(poll, json={"/a": 0}) as answer:
            told = await answer.json()
        assert [one["message_id"] for one in told] == list(range(1, len(wanted) + 1))
        assert {one["data"] for one in told} == wanted


async def everybody_heard(http: aiohttp.ClientSession, server: Server, wanted: set[str]) -> None:
    """Ask until three workers have answered, each of which heard everything once."""
    complete = set()
    async with asyncio.timeout(30):
        while len(complete) < 3:
            async with http.get(server.url, headers={"Connection": "close"}) as answer:
                pid, heard = await answer.json()
            assert len(heard) == len(set(heard)), f"heard twice: {heard}"
            if set(heard) == wanted:
                complete.add(pid)


# -- the middleware itself ----------------------------------------------------------------------


@pytest.fixture
def line() -> Iterator[Trunkline]:
    with Trunkline("memory://") as line:
        yield line


def ask(app: LineMiddleware, path: str, body: bytes = b"", **more: Any) -> tuple[str, bytes]:
    told: list[str] = []
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": path,
        "wsgi.input": io.BytesIO(body),
        "CONTENT_LENGTH": str(len(body)),
        "CONTENT_TYPE": "application/json",
        **more,
    }
    parts = app(environ, lambda status, headers: told.append(status))
    return told[0], b"".join(parts)


def other(environ: Any, start: Any) -> Any:
    start("200 OK", [])
    return [b"the application"]


def test_the_root_leaves_the_application_its_paths(line: Trunkline) -> None:
    app = LineMiddleware(other, line, open=True)
    assert ask(app, "/pages") == ("200 OK", b"the application")
    assert ask(app, "/message-bus/a/poll", b'{"/a": 0}')[0] == "200 OK"
    below = LineMiddleware(other, line, path="/live", open=True)
    assert ask(below, "/message-bus/a/poll") == ("200 OK", b"the application")
    assert ask(below, "/live/message-bus/a/poll", b'{"/a": 0}') == ("200 OK", b"[]")


def test_hooks_are_needed_and_may_use_the_line(line: Trunkline) -> None:
    with pytest.raises(ConfigError, match="identify="):
        LineMiddleware(other, line)

    def identify(environ: Any) -> Identity | None:
        name = environ.get("REMOTE_USER")
        return Identity(user_id=name) if name else None

    def access(identity: Identity, channel: str) -> bool:
        return line.last_id("/allowed") == 1

    app = LineMiddleware(other, line, identify=identify, access=access)
    line.publish("/a", 1)
    poll, body = "/message-bus/a/poll", b'{"/a": 0}'
    assert ask(app, poll, body)[0] == "401 Unauthorized"
    assert ask(app, poll, body, REMOTE_USER="ann") == ("200 OK", b"[]")
    line.publish("/allowed", 1)
    assert b'"data":1' in ask(app, poll, body, REMOTE_USER="ann")[1]


def test_too_long_a_body_and_a_method_are_refused(line: Trunkline) -> None:
    app = LineMiddleware(other, line, open=True)
    assert ask(app, "/message-bus/a/poll", b" " * (2 << 20))[0].startswith("413")
    assert ask(app, "/trunkline.js", REQUEST_METHOD="DELETE")[0].startswith("405")
    assert ask(app, "/message-bus/a/poll", b"{", REQUEST_METHOD="POST")[0].startswith("400")
