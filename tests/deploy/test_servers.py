"""Behind every server that the deployment pages name, the line serves as those pages say."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deploy.talk import all_is_well, get, poll
from tests.gateway.held import wire
from trunkline import Trunkline
from trunkline.testing.servers import ASGI_SERVERS, HOST, Server, trunkline_serve

LIVE = "tests.deploy.live_app:app"
WSGI = "tests.deploy.wsgi_app:application"
BIN = Path(sys.executable).parent
WHERE = f"{HOST}:{{port}}"


def daphne(app: str, **options: object) -> Server:
    fixed = ("-b", HOST, "-p", "{port}", "--application-close-timeout", "3")
    return Server([str(BIN / "daphne"), *fixed, app], **options)


def granian(app: str, **options: object) -> Server:
    return ASGI_SERVERS["granian"](app, "--workers-kill-timeout", "3", **options)


def gunicorn(app: str, *arguments: str, **options: object) -> Server:
    fixed = ("--workers", "2", "--bind", WHERE, "--graceful-timeout", "3")
    return Server([str(BIN / "gunicorn"), app, *fixed, *arguments], **options)


def gunicorn_asgi(app: str, **options: object) -> Server:
    return gunicorn(app, "--worker-class", "uvicorn_worker.UvicornWorker", **options)


def gunicorn_wsgi(app: str, **options: object) -> Server:
    return gunicorn(app, "--preload", "--threads", "4", **options)


def uwsgi(app: str, **options: object) -> Server:
    fixed = ("--http-socket", WHERE, "--master", "--processes", "2", "--enable-threads")
    return Server([str(BIN / "uwsgi"), *fixed, "--die-on-term", "--module", app], **options)


SERVERS: dict[str, Callable[..., Server]] = {
    "trunkline-serve": trunkline_serve,
    **ASGI_SERVERS,
    "granian": granian,
    "daphne": daphne,
    "gunicorn": gunicorn_asgi,
}
WSGI_SERVERS: dict[str, Callable[..., Server]] = {"gunicorn": gunicorn_wsgi, "uwsgi": uwsgi}


def environment(tmp_path: Path) -> dict[str, str]:
    return {
        "TRUNKLINE_LOG": f"sqlite:///{tmp_path / 'line.db'}",
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
    }


@pytest.mark.parametrize("name", SERVERS)
async def test_every_server_holds_streams_and_ends(
    name: str, line: Trunkline, tmp_path: Path
) -> None:
    server = SERVERS[name](LIVE, environment=environment(tmp_path))
    async with server:
        await all_is_well(server.port, line)
        async with wire(server.port, get("/events/sse?channel=/a")) as client:
            await client.until(b"\r\n\r\n", within=20)
            status = await server.terminate()
        assert status != -9, server.output()


@pytest.mark.parametrize("name", WSGI_SERVERS)
async def test_wsgi_servers_answer_polls_at_once(
    name: str, line: Trunkline, tmp_path: Path
) -> None:
    await line.publish("/a", "stored")
    async with WSGI_SERVERS[name](WSGI, environment=environment(tmp_path)) as server:
        async with wire(server.port, poll("/a", 0)) as client:
            assert b"application/json" in (await client.until(b"\r\n\r\n", within=20)).lower()
            await client.until(b'"stored"', within=20)
        for number in (1, 2):
            async with wire(server.port, get("/view", "Connection: close")) as client:
                await client.until(b"published %d" % number, within=20)
        async with wire(server.port, get("/events/sse?channel=/a")) as client:
            assert b" 501 " in await client.until(b"\r\n\r\n", within=20)
