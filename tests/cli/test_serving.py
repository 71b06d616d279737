"""Serving: who may listen where, what is served, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from tests.cli.conftest import Shell

Start = Callable[..., tuple[subprocess.Popen[bytes], str]]

APP = """
from trunkline import Identity, Trunkline

line = Trunkline()
app = line.gateway(identify=lambda request: Identity(), access=lambda identity, name: True)
number = 5
"""


@pytest.fixture
def start(shell: Shell) -> Iterator[Start]:
    """Start a server and wait until it tells its address."""
    running: list[subprocess.Popen[bytes]] = []

    def run(*arguments: str) -> tuple[subprocess.Popen[bytes], str]:
        process = shell.start(*arguments)
        running.append(process)
        assert process.stdout is not None
        told = b""
        while (found := re.search(rb"http://[^ /]+", told)) is None:
            line = process.stdout.readline()
            assert line, process.communicate(timeout=10)
            told += line
        return process, found[0].decode()

    yield run
    for process in running:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=30)


def poll(url: str, channel: str, position: int = 0) -> list[dict[str, object]]:
    request = urllib.request.Request(
        f"{url}/message-bus/test/poll?dlp=t",
        data=json.dumps({channel: position}).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_without_an_application_the_line_is_served_on_loopback(shell: Shell, start: Start) -> None:
    shell.run("publish", "/a", "hello")
    process, url = start("serve", "--port", "0")
    assert url.startswith("http://127.0.0.1:")
    assert [one["data"] for one in poll(url, "/a")] == ["hello"]
    shell.run("publish", "/a", "again")
    assert [one["data"] for one in poll(url, "/a", 1)] == ["again"]
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130


def test_a_public_address_is_refused_unless_open_is_said(shell: Shell, start: Start) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        done = shell.run("serve", "--host", host, "--port", "0", status=2)
        assert "loopback" in done.stderr
        assert "--open" in done.stderr
    _, url = start("serve", "--host", "0.0.0.0", "--port", "0", "--open")
    assert poll(url.replace("0.0.0.0", "127.0.0.1"), "/a") == []


def test_an_application_of_ones_own_is_served_with_the_given_log(
    shell: Shell, start: Start
) -> None:
    (shell.folder / "shop.py").write_text(APP)
    log = "sqlite:///shop.db"
    shell.run("publish", "/a", "hello", "--log", log)
    _, url = start("serve", "shop:app", "--port", "0", "--log", log)
    assert [one["data"] for one in poll(url, "/a")] == ["hello"]


def test_a_line_of_ones_own_is_served_like_ours(shell: Shell, start: Start) -> None:
    (shell.folder / "shop.py").write_text(APP)
    done = shell.run("serve", "shop:line", "--host", "0.0.0.0", status=2)
    assert "--open" in done.stderr
    _, url = start("serve", "shop:line", "--port", "0")
    assert poll(url, "/a") == []


def test_several_processes_serve_one_line(shell: Shell, start: Start) -> None:
    shell.run("publish", "/a", "hello")
    process, url = start("serve", "--port", "0", "--workers", "2")
    # The socket listens from the start, so a client waits until a worker takes it.
    for _ in range(4):
        assert [one["data"] for one in poll(url, "/a")] == ["hello"]
    process.terminate()
    assert process.wait(30) is not None
    port = int(url.rpartition(":")[2])
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", port), 5):
        pass


@pytest.mark.parametrize(
    ("target", "word"),
    [
        ("nonsense", "MODULE:OBJECT"),
        ("no_such_module_x:app", "no module 'no_such_module_x' in"),
        ("broken:app", "RuntimeError: no wire ("),
        ("shop:nothing", "has no 'nothing'"),
        ("shop:number", "no ASGI application"),
    ],
)
def test_what_cannot_be_served_is_one_line(shell: Shell, target: str, word: str) -> None:
    (shell.folder / "shop.py").write_text(APP)
    (shell.folder / "broken.py").write_text("raise RuntimeError('no wire')")
    done = shell.run("serve", target, "--port", "0", status=2)
    assert word in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_port_in_use_is_told(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = shell.run("serve", "--port", port, status=1)
    assert "in use" in done.stderr
    assert "--port" in done.stderr


def test_a_log_that_cannot_be_opened_ends_the_server(shell: Shell) -> None:
    done = shell.run("serve", "--port", "0", "--log", "sqlite:////no/such/x.db", status=1)
    assert "/no/such" in done.stderr


def test_killed_and_started_again_the_server_has_everything(shell: Shell, start: Start) -> None:
    process, url = start("serve", "--port", "0")
    shell.run("publish", "/a", "-", given="1\n2\n3\n")
    assert len(poll(url, "/a")) == 3
    os.kill(process.pid, signal.SIGKILL)
    process.wait(20)
    _, url = start("serve", "--port", "0")
    assert [one["data"] for one in poll(url, "/a", 1)] == ["2", "3"]
