"""The demo serves its page, takes what is said within limits, and publishes the vitals."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest


class Reply(NamedTuple):
    """What the server answered."""

    status: int
    headers: Any
    body: bytes


class Demo:
    """A demo that runs."""

    def __init__(self, process: subprocess.Popen[str], greeting: str) -> None:
        self.process = process
        self.greeting = greeting
        self.url = re.search(r"http://[\d.:]+", greeting)[0]  # type: ignore[index]

    def ask(self, path: str, body: Any = None, **headers: str) -> Reply:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        given = {"content-type": "application/json"} if body is not None else {}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"{self.url}{path}", data=data, headers=given)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return Reply(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, error.headers, error.read())

    def kept(self, channel: str) -> list[dict[str, Any]]:
        return json.loads(self.ask("/message-bus/test/poll?dlp=t", {channel: 0}).body)


def run_demo(folder: Path, *arguments: str) -> Demo:
    environ = {"XDG_CACHE_HOME": str(folder), "NO_COLOR": "1", "PATH": "/usr/bin"}
    process = subprocess.Popen(
        [sys.executable, "-m", "trunkline.cli", "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
        cwd=folder,
    )
    assert process.stdout is not None
    greeting = ""
    while "Ctrl-C" not in greeting:
        line = process.stdout.readline()
        assert line, process.communicate(timeout=10)
        greeting += line
    return Demo(process, greeting)


def end(demo: Demo, number: int = signal.SIGTERM) -> str:
    demo.process.send_signal(number)
    return demo.process.communicate(timeout=30)[1]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    demo = run_demo(tmp_path_factory.mktemp("demo"), "--port", "0")
    yield demo
    assert "Traceback" not in end(demo)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/demo/demo.js", "text/javascript; charset=utf-8"),
        ("/demo/demo.css", "text/css; charset=utf-8"),
        ("/trunkline.js", "text/javascript; charset=utf-8"),
        ("/api/openapi.json", "application/json"),
        ("/message-bus/_diagnostics", "text/html; charset=utf-8"),
    ],
)
def test_the_page_and_what_it_links_are_served(demo: Demo, path: str, kind: str) -> None:
    reply = demo.ask(path)
    assert (reply.status, reply.headers["content-type"]) == (200, kind)
    assert reply.body


def test_the_page_may_run_only_its_own_scripts(demo: Demo) -> None:
    policy = demo.ask("/").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    "path", ["/demo/", "/demo/nothing.js", "/demo/../app.py", "/demo/%2e%2e/app.py", "/x"]
)
def test_nothing_else_is(demo: Demo, path: str) -> None:
    assert demo.ask(path).status == 404


def test_what_is_said_reaches_the_room(demo: Demo) -> None:
    reply = demo.ask("/demo/say", {"name": " Ann ", "text": "<b>hi</b> \u2028"})
    assert reply.status == 200
    said = {one["message_id"]: one["data"] for one in demo.kept("/demo/chat")}
    assert said[json.loads(reply.body)["message_id"]] == {"name": "Ann", "text": "<b>hi</b>"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "Ann", "text": ""}, 400),
        ({"name": "  ", "text": "x"}, 400),
        ({"name": "x" * 33, "text": "x"}, 400),
        ({"name": "Ann", "text": "x" * 501}, 400),
        ({"name": "Ann", "text": 5}, 400),
        ({"name": "Ann", "text": "x", "channel": "/y"}, 400),
        (b'{"name":"Ann","text":"\\ud800"}', 400),
        (b"{", 400),
        (b"[" * 5000, 400),
        (b"x" * 10_000, 413),
    ],
)
def test_what_cannot_be_said_is_a_problem(demo: Demo, body: Any, status: int) -> None:
    reply = None
    for _ in range(200):  # until the limiter lets it through
        reply = demo.ask("/demo/say", body)
        if reply.status != 429:
            break
        demo.ask("/")
    assert reply is not None
    assert reply.status == status
    assert reply.headers["content-type"] == "application/problem+json"


def test_another_sites_page_cannot_speak(demo: Demo) -> None:
    assert (
        demo.ask("/demo/say", {"name": "a", "text": "b"}, content_type="text/plain").status == 415
    )
    assert demo.ask("/demo/say").status == 405


def test_who_speaks_too_often_must_wait(demo: Demo) -> None:
    replies = [demo.ask("/demo/say", {"name": "a", "text": "b"}) for _ in range(60)]
    slow = [one for one in replies if one.status == 429]
    assert slow
    assert all(int(one.headers["retry-after"]) >= 1 for one in slow)


def test_the_vitals_come_several_times_a_second(demo: Demo) -> None:
    path = "/sse?channel=/demo/vitals"
    seen: list[dict[str, Any]] = []
    with urllib.request.urlopen(f"{demo.url}{path}", timeout=30) as stream:
        for line in stream:
            if line.startswith(b'data: {"channel"'):
                seen.append(json.loads(line[6:])["data"])
            if len(seen) == 5:
                break
    assert seen[-1]["at"] - seen[0]["at"] < 4
    assert seen[0].keys() == {"at", "cpu", "memory", "network"}


def test_only_the_demos_channels_may_be_read(demo: Demo) -> None:
    assert demo.ask("/sse?channel=/secret").status == 403


def test_the_operators_page_is_for_this_machine_alone(demo: Demo) -> None:
    assert demo.ask("/message-bus/_diagnostics", host="localhost:8000").status == 200
    assert demo.ask("/message-bus/_diagnostics", host="evil.example:8000").status == 403


def test_a_port_in_use_is_replaced_and_restarts_lose_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        demo = run_demo(tmp_path, "--port", port)
        assert f":{port}" not in demo.url
        assert demo.ask("/demo/say", {"name": "Ann", "text": "before"}).status == 200
        assert f"not port {port} (it is in use)" in end(demo, signal.SIGKILL)
    demo = run_demo(tmp_path, "--port", port)
    assert demo.url.endswith(f":{port}")
    assert demo.kept("/demo/chat")[0]["data"]["text"] == "before"
    assert end(demo, signal.SIGINT) == ""
    assert demo.process.returncode == 130
