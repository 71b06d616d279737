"""Servers and the load client as processes: started, pinned, asked, measured and ended."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import psutil

from bench.compiler import BUILD, load_client
from bench.machine import cores
from bench.requests import request_of, subscription_of

ROOT = BUILD.parent.parent
HOST = "127.0.0.1"
START_WITHIN = 20.0
STOP_WITHIN = 10.0

Answer = dict[str, Any]


class BenchError(Exception):
    """Say why something could not be measured."""


def read_line(descriptor: int, within: float, what: str) -> Answer:
    """Read a line of JSON, or fail when it does not come in time."""
    line = b""
    deadline = time.monotonic() + within
    while not line.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([descriptor], [], [], left)[0]:
            raise BenchError(f"{what} did not answer within {within:g} s")
        got = os.read(descriptor, 65536)
        if not got:
            raise BenchError(f"{what} ended without an answer")
        line += got
    answer: Answer = json.loads(line)
    return answer


class Server:
    """Run a server with a control socket on the server's core.

    Args:
        name: ``trunkline`` or ``uvicorn``.
        command: Its command line.
        environment: More of its environment.
    """

    def __init__(self, name: str, command: list[str], environment: Mapping[str, str]) -> None:
        self.name = name
        self.folder = Path(tempfile.mkdtemp(prefix="run-", dir=BUILD))
        self.port = free_port()
        self.control_path = str(self.folder / "control")
        words = [word.replace("{port}", str(self.port)) for word in command]
        values = {
            key: value.replace("{folder}", str(self.folder)) for key, value in environment.items()
        }
        self._output = (self.folder / "output").open("wb")
        self._process = subprocess.Popen(
            words,
            cwd=ROOT,
            env={**clean_environment(), **values, "BENCH_CONTROL": self.control_path},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        os.sched_setaffinity(self._process.pid, cores()[0])
        self._seen = psutil.Process(self._process.pid)
        self._control: socket.socket | None = None

    def wait(self) -> None:
        """Wait until it accepts connections."""
        deadline = time.monotonic() + START_WITHIN
        self._control = socket.socket(socket.AF_UNIX)
        while True:
            with contextlib.suppress(OSError):
                # A port may be bound before the application has started, and the other way round.
                socket.create_connection((HOST, self.port)).close()
                self._control.connect(self.control_path)
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                printed = (self.folder / "output").read_text()
                raise BenchError(f"{self.name} did not start; it printed:\n{printed}")
            time.sleep(0.02)

    def ask(
        self, command: str, within: float = 60.0, meanwhile: Callable[[], None] | None = None
    ) -> Answer:
        """Send a command and return its answer.

        Args:
            command: A line for the control socket.
            within: Seconds the answer may take.
            meanwhile: Called twice a second until it comes.
        """
        assert self._control is not None
        self._control.sendall(command.encode() + b"\n")
        deadline = time.monotonic() + within
        while meanwhile is not None and not select.select([self._control], [], [], 0.5)[0]:
            meanwhile()
            if time.monotonic() > deadline:
                break
        left = max(0.1, deadline - time.monotonic())
        return read_line(self._control.fileno(), left, self.name)

    @property
    def resident(self) -> int:
        """Return its resident memory in bytes."""
        size: int = self._seen.memory_info().rss
        return size

    @property
    def busy(self) -> float:
        """Return the processor time it has used, in seconds."""
        times = self._seen.cpu_times()
        used: float = times.user + times.system
        return used

    def stop(self) -> None:
        """End it and remove what it left."""
        if self._control is not None:
            self._control.close()
        end(self._process)
        self._output.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Load:
    """Run the load client on the client's core.

    Args:
        server: What to connect to.
        protocol: ``sse``, ``poll`` or ``ws``.
        connections: How many.
        channels: Over how many channels they spread.
        opening: How many connections are opened at a time.
    """

    def __init__(
        self,
        server: Server,
        protocol: str,
        connections: int,
        *,
        channels: int = 1,
        opening: int = 100,
    ) -> None:
        folder = server.folder
        request = folder / f"request-{protocol}"
        request.write_bytes(request_of(protocol, server.name))
        subscription = folder / "subscription"
        subscription.write_bytes(subscription_of())
        words: list[object] = [load_client(), "--port", server.port, "--protocol", protocol]
        words += ["--connections", connections, "--channels", channels, "--opening", opening]
        words += [
            "--request",
            request,
            "--subscribe",
            subscription,
            "--control",
            server.control_path,
        ]
        self._process = subprocess.Popen(
            [str(word) for word in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        os.sched_setaffinity(self._process.pid, cores()[1])
        self.connections = connections
        self.channels = channels
        self._server = server

    def __enter__(self) -> Self:
        answer = self._read(60.0)
        if answer["ready"] != self.connections:
            end(self._process)
            printed = (self._server.folder / "output").read_text()[-2000:]
            raise BenchError(f"only {answer['ready']} of {self.connections} connected: {printed}")
        return self

    def __exit__(self, *_: object) -> None:
        end(self._process)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def ask(self, command: str, within: float = 60.0) -> Answer:
        """Send a command and return its answer, checked: nothing lost, doubled, cut off or late."""
        assert self._process.stdin is not None
        self._process.stdin.write(command.encode() + b"\n")
        self._process.stdin.flush()
        answer = self._read(within)
        for fault in ("lost", "repeated", "gaps", "ended", "malformed"):
            if answer[fault]:
                raise BenchError(f"{self._server.name}: {fault} {answer[fault]} in {answer}")
        if not answer["complete"]:
            raise BenchError(f"{self._server.name}: not all messages came: {answer}")
        return answer

    def _read(self, within: float) -> Answer:
        assert self._process.stdout is not None
        return read_line(self._process.stdout.fileno(), within, "the load client")


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end, and kill it if it does not."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def clean_environment() -> dict[str, str]:
    """Return the environment without settings of ours that somebody may have in the shell."""
    return {key: value for key, value in os.environ.items() if not key.startswith("TRUNKLINE_")}


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def trunkline(log: str = "sqlite", **settings: object) -> Iterator[Server]:
    """Run ``trunkline serve``.

    Args:
        log: ``sqlite`` (the default engine, on this disk) or ``memory``.
        settings: Settings of the line, as arguments of ``Trunkline``.
    """
    url = "sqlite:///{folder}/line.db" if log == "sqlite" else "memory://"
    given = {f"TRUNKLINE_{name.upper()}": str(value) for name, value in settings.items()}
    given |= {"TRUNKLINE_LOG": url, "TRUNKLINE_MAX_ACTIVE_CLIENTS": "100000"}
    start = [sys.executable, "-c", "from trunkline.cli import main; main()", "serve"]
    yield from _running("trunkline", [*start, "bench.servers.line:app", "--port", "{port}"], given)


@contextlib.contextmanager
def plain_uvicorn() -> Iterator[Server]:
    """Run the plain fan-out on uvicorn, with the settings under which it is fastest."""
    command = [sys.executable, "-m", "uvicorn", "bench.peers.plain_asgi:app", "--port", "{port}"]
    command += ["--no-access-log", "--log-level", "warning", "--backlog", "4096"]
    command += ["--loop", "uvloop", "--http", "httptools"]
    command += ["--ws-per-message-deflate", "false", "--timeout-graceful-shutdown", "1"]
    yield from _running("uvicorn", command, {})


def _running(name: str, command: list[str], environment: Mapping[str, str]) -> Iterator[Server]:
    BUILD.mkdir(parents=True, exist_ok=True)
    server = Server(name, command, environment)
    try:
        server.wait()
        yield server
    finally:
        server.stop()
