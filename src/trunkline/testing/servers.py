"""Real server processes on free loopback ports, for tests that must not be fooled by a mock.

One class runs any command; the functions below it know the command lines of ``trunkline serve``
and of the ASGI servers people mount us in. All that is needed to test a crash is here: `kill9`,
`restart` on the same port, and the output of every run for the failure message.

    async with uvicorn("myproject.web:app") as server:
        ...  # talk to server.url
        await server.kill9()
        await server.restart()
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

HOST = "127.0.0.1"
#: Below the range the system takes outgoing connections' ports from, so that none of them
#: occupies a server's port while it restarts.
PORTS = range(18_000, 32_000)
POLL = 0.01
SHOWN_OUTPUT = 8192
PR_SET_PDEATHSIG = 1
_MAIN = threading.main_thread()


def free_port() -> int:
    """Return a loopback port that nobody listens on.

    Raises:
        RuntimeError: A hundred ports in a row were taken.
    """
    for _ in range(100):
        port = random.SystemRandom().choice(PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"found no free port in {PORTS}: are leftover servers running?")


def end_with_parent() -> Callable[[], None] | None:
    """Return what a child calls before it runs, so that it ends when this process is killed.

    Linux alone can do it, by PR_SET_PDEATHSIG of prctl(2); and it looks at the thread that started
    the child, so that only the main thread's children are told.
    """
    if not sys.platform.startswith("linux") or threading.current_thread() is not _MAIN:
        return None
    tell, parent = ctypes.CDLL(None).prctl, os.getpid()

    def call() -> None:
        tell(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it was killed before
            os.kill(os.getpid(), signal.SIGTERM)

    return call


class Server:
    """Run a server command; an async context manager that starts and terminates it.

    Args:
        command: Program and arguments; ``{port}`` in them becomes the port.
        port: Where it will listen; None for a free port.
        environment: Variables on top of this process's.
        directory: Where it runs; None for the current directory. Import strings resolve there.
        start_within: Seconds it may take until it accepts connections.
        stop_within: Seconds it may take to end after SIGTERM; it is killed then.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        port: int | None = None,
        environment: Mapping[str, str] | None = None,
        directory: str | Path | None = None,
        start_within: float = 30.0,
        stop_within: float = 15.0,
    ) -> None:
        self.port = port or free_port()
        self._command = [word.replace("{port}", str(self.port)) for word in command]
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})}
        self._directory = directory
        self._start_within = start_within
        self._stop_within = stop_within
        self._process: subprocess.Popen[bytes] | None = None
        self._group: int | None = None
        self._output: IO[bytes] | None = None
        self._printed = b""

    def __repr__(self) -> str:
        state = f"pid {self.pid}" if self.is_running() else "stopped"
        return f"<Server {self.url} {state}: {' '.join(self._command[:4])}>"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        output = self.output() if error is not None else ""
        await self.terminate()
        if error is not None:
            error.add_note(f"{self!r} had printed:\n{output}")

    @property
    def url(self) -> str:
        """Return the address to talk to, without a slash at its end."""
        return f"http://{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """Return the id of the process last started, workers not counted; 0 if none was."""
        return self._process.pid if self._process else 0

    def is_running(self) -> bool:
        """Tell whether the process has not ended."""
        return self._process is not None and self._process.poll() is None

    def output(self) -> str:
        """Return the end of what all runs have printed, standard error included."""
        return (self._printed + self._tail())[-SHOWN_OUTPUT:].decode(errors="replace")

    async def start(self) -> None:
        """Start the process and wait until it accepts connections.

        Raises:
            RuntimeError: It runs already, ended at once or accepts none in time; the message
                has its output.
        """
        if self.is_running():
            raise RuntimeError(f"{self!r} runs already")
        self._spawn()
        deadline = time.monotonic() + self._start_within
        while not await self._accepts():
            if not self.is_running() or time.monotonic() > deadline:
                why = "did not accept connections in time" if self.is_running() else "ended"
                await self.kill9()
                raise RuntimeError(f"{' '.join(self._command)} {why}; it printed:\n{self.output()}")
            await asyncio.sleep(POLL)

    async def restart(self, *, down: float = 0.0) -> None:
        """Terminate it if it runs, and start it again on the same port.

        Args:
            down: Seconds between the two.
        """
        await self.terminate()
        await asyncio.sleep(down)
        await self.start()

    async def terminate(self) -> int | None:
        """Ask it to end (SIGTERM), wait, and kill what is left. Idempotent.

        Returns:
            The exit status, negative for the signal that ended it; None if it never ran.
        """
        if self._process is None:
            return None
        if self.is_running():
            self._process.send_signal(signal.SIGTERM)
            await self._ended(self._stop_within)
        return await self.kill9()

    async def kill9(self) -> int | None:
        """Kill the process and its workers at once (SIGKILL), as a crash would. Idempotent.

        Returns:
            The exit status, negative for the signal that ended it; None if it never ran.
        """
        if self._process is None:
            return None
        if self._group is not None:
            with contextlib.suppress(ProcessLookupError):  # all of it may have ended by itself
                os.killpg(self._group, signal.SIGKILL)
            await self._ended(self._stop_within)
            self._forget()
        return self._process.poll()

    def _spawn(self) -> None:
        """Start the process as the leader of a group, so that its workers can be ended too."""
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process ends
        self._process = subprocess.Popen(  # noqa: S603 - the test says what to run
            self._command,
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=end_with_parent(),  # noqa: PLW1509 - it takes no lock
        )
        self._group = self._process.pid

    def _forget(self) -> None:
        """Keep the end of a dead process's output, and nothing else of it."""
        self._group = None  # another process may get the number
        if self._output is not None:
            self._printed = (self._printed + self._tail())[-SHOWN_OUTPUT:]
            self._output.close()
            self._output = None

    def _tail(self) -> bytes:
        """Read the end of what the current run has printed, at an offset of our own."""
        if self._output is None:
            return b""
        descriptor = self._output.fileno()
        size = os.fstat(descriptor).st_size
        return os.pread(descriptor, SHOWN_OUTPUT, max(0, size - SHOWN_OUTPUT))

    async def _accepts(self) -> bool:
        """Tell whether our process, and not a stranger, takes connections on the port."""
        try:
            _, writer = await asyncio.open_connection(HOST, self.port)
        except OSError:
            return False
        writer.close()
        return self.is_running()

    async def _ended(self, within: float) -> bool:
        """Wait until the process has ended; tell whether it did in time."""
        deadline = time.monotonic() + within
        while self.is_running() and time.monotonic() < deadline:  # noqa: ASYNC110 - a process
            await asyncio.sleep(POLL)
        return not self.is_running()


def trunkline_serve(*arguments: str, **options: Any) -> Server:
    """Return ``trunkline serve`` as a server, not yet started.

    Args:
        arguments: More of its command line: ``MODULE:OBJECT``, ``--log URL``, ``--workers N`` ….
        options: Keyword arguments of :class:`Server`.
    """
    start = "from trunkline.cli import main; main()"
    where = ("--host", HOST, "--port", "{port}")
    return Server([sys.executable, "-c", start, "serve", *arguments, *where], **options)


def uvicorn(app: str, *arguments: str, **options: Any) -> Server:
    """Return uvicorn serving an ASGI application, not yet started.

    Args:
        app: Import string, ``module:attribute``.
        arguments: More of its command line.
        options: Keyword arguments of :class:`Server`.
    """
    fixed = ("--host", HOST, "--port", "{port}", "--timeout-graceful-shutdown", "3")
    return Server([sys.executable, "-m", "uvicorn", app, *fixed, *arguments], **options)


def hypercorn(app: str, *arguments: str, **options: Any) -> Server:
    """Return hypercorn serving an ASGI application, not yet started.

    Args:
        app: Import string, ``module:attribute``.
        arguments: More of its command line.
        options: Keyword arguments of :class:`Server`.
    """
    fixed = ("--bind", HOST + ":{port}", "--graceful-timeout", "3", "--error-logfile", "-")
    return Server([sys.executable, "-m", "hypercorn", app, *fixed, *arguments], **options)


def granian(app: str, *arguments: str, **options: Any) -> Server:
    """Return granian serving an ASGI application, not yet started.

    Args:
        app: Import string, ``module:attribute``.
        arguments: More of its command line.
        options: Keyword arguments of :class:`Server`.
    """
    fixed = ("--interface", "asgi", "--host", HOST, "--port", "{port}")
    return Server([sys.executable, "-m", "granian", app, *fixed, *arguments], **options)


#: The servers any ASGI application can be put behind, by name: parametrize a test over them.
ASGI_SERVERS: Mapping[str, Callable[..., Server]] = {
    "uvicorn": uvicorn,
    "hypercorn": hypercorn,
    "granian": granian,
}
