"""Servers start, crash, restart and end as a test asks, under every ASGI server."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import aiohttp
import pytest

from trunkline.testing import servers

APP = dedent(
    '''
    """Answer every request with this process's id."""

    import os


    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            for answer in ("lifespan.startup.complete", "lifespan.shutdown.complete"):
                await receive()
                await send({"type": answer})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
    '''
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "answer.py").write_text(APP)
    return tmp_path


async def get(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return await response.text()


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


async def is_gone(pid: int) -> None:
    """Wait until a killed process has died: a signal is delivered, not waited for."""
    async with asyncio.timeout(10):
        while is_alive(pid):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", servers.ASGI_SERVERS)
async def test_a_server_answers_dies_and_comes_back_on_its_port(kind, directory) -> None:
    async with servers.ASGI_SERVERS[kind]("answer:app", directory=directory) as server:
        first = int(await get(server.url))

        await server.kill9()
        await is_gone(first)
        with pytest.raises(aiohttp.ClientConnectionError):
            await get(server.url)

        await server.restart()
        second = int(await get(server.url))
        assert second != first

    assert not server.is_running()
    await is_gone(second)


async def test_terminate_ends_a_server_by_its_own_will(directory) -> None:
    server = servers.uvicorn("answer:app", directory=directory)
    await server.start()

    status = await server.terminate()

    assert status in {0, -15}
    assert "Finished server process" in server.output()


async def test_a_server_that_ends_at_once_fails_with_what_it_printed(directory) -> None:
    with pytest.raises(RuntimeError, match="no_such_module"):
        await servers.uvicorn("no_such_module:app", directory=directory).start()


async def test_a_server_that_never_listens_fails_in_time(directory) -> None:
    idle = [sys.executable, "-c", "import time; time.sleep(60)"]
    server = servers.Server(idle, start_within=0.2)

    with pytest.raises(RuntimeError, match="in time"):
        await server.start()

    assert not is_alive(server.pid)


async def test_a_server_deaf_to_sigterm_is_killed(directory) -> None:
    deaf = "import signal, socket, time; signal.signal(15, signal.SIG_IGN); "
    listen = "s = socket.create_server(('127.0.0.1', {port})); time.sleep(60)"
    server = servers.Server([sys.executable, "-c", deaf + listen], stop_within=0.2)
    await server.start()

    assert await server.terminate() == -9


async def test_a_failing_test_shows_what_the_server_printed(directory) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        async with servers.uvicorn("answer:app", directory=directory):
            raise ZeroDivisionError

    assert "Uvicorn running" in caught.value.__notes__[0]


def test_a_free_port_is_no_ephemeral_one() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])

    assert servers.free_port() < lowest


PARENT = dedent(
    """
    import asyncio, sys
    from trunkline.testing.servers import Server, free_port

    async def main():
        port = free_port()
        command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
        server = Server(command, port=port)
        await server.start()
        print(server.pid, flush=True)
        await asyncio.sleep(600)

    asyncio.run(main())
    """
)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells children")
def test_a_server_ends_when_the_run_is_killed() -> None:
    """Kill -9 of whoever started a server leaves no server behind."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = Path(f"/proc/{int(parent.stdout.readline())}")
        assert child.exists()
        parent.kill()
    deadline = time.monotonic() + 20
    while child.exists() and "zombie" not in (child / "status").read_text():
        assert time.monotonic() < deadline, "the server is still there"
        time.sleep(0.01)
