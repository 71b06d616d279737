"""Faults on demand: a TCP proxy that cuts, freezes and slows, and what is done to processes.

Put the proxy between an application and its engine, and misbehave:

    async with FaultProxy(server.port) as proxy:
        line = Trunkline(f"redis://127.0.0.1:{proxy.port}/0")
        proxy.freeze(answers=True)  # requests arrive, answers don't
        proxy.cut()                 # and never will
        proxy.heal()
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import struct
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from trunkline.runtime.clock import SystemClock
from trunkline.testing.servers import HOST, free_port

CHUNK: Final = 64 * 1024
BUFFER: Final = 256 * 1024
#: Linger for 0 seconds: closing then sends a reset, as a dead machine's router would.
_RESET: Final = struct.pack("ii", 1, 0)

_Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Way:
    """Be one direction of all connections: open or frozen, and how fast.

    Args:
        delay: Seconds that each chunk waits.
        rate: Bytes per second, or None for no bound.
    """

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.delay = 0.0
        self.rate: float | None = None
        self.held = 0

    async def pass_through(self, size: int) -> None:
        """Wait for as long as *size* bytes take."""
        if self.rate is not None:
            await asyncio.sleep(self.delay + size / self.rate)
        if not self.open.is_set():
            self.held += size
            await self.open.wait()


class FaultProxy:
    """Forward TCP connections to a port, until told to misbehave; an async context manager.

    Args:
        target: The port on the loopback to forward to; may be changed, for new connections.
        port: Where to listen; None for a free port.

    Attributes:
        target: As given.
        port: Where it listens.
        accepted: How many connections came.
    """

    def __init__(self, target: int, *, port: int | None = None) -> None:
        self.target = target
        self.port = port or free_port()
        self.accepted = 0
        self._server: asyncio.Server | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._connections: set[_Connection] = set()
        self._requests = _Way()
        self._answers = _Way()
        self._refuses = False

    async def __aenter__(self) -> Self:
        tasks = self._tasks = asyncio.TaskGroup()
        await tasks.__aenter__()

        def accept(*ends: *_Ends) -> None:
            tasks.create_task(self._accept(*ends))

        self._server = await asyncio.start_server(accept, HOST, self.port, limit=BUFFER)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
        self.refuse()
        tasks, self._tasks = self._tasks, None
        if tasks is not None:
            await tasks.__aexit__(None, None, None)

    @property
    def connections(self) -> int:
        """Count the connections that are open now."""
        return len(self._connections)

    @property
    def held(self) -> int:
        """Count the bytes that have met a frozen direction since the last :meth:`heal`."""
        return self._requests.held + self._answers.held

    def cut(self) -> None:
        """Reset every connection there is; what was under way is lost. New ones are taken."""
        for connection in tuple(self._connections):
            connection.reset()

    def refuse(self) -> None:
        """Reset every connection there is and every new one, until healed."""
        self._refuses = True
        self.cut()

    def freeze(self, *, requests: bool = True, answers: bool = True) -> None:
        """Let nothing pass while connections stay open, until healed.

        Args:
            requests: Whether bytes towards the target are held.
            answers: Whether bytes from it are.
        """
        for way, is_frozen in ((self._requests, requests), (self._answers, answers)):
            if is_frozen:
                way.open.clear()

    def slow(self, *, delay: float = 0.05, rate: float = 256 * 1024) -> None:
        """Let everything pass late and slowly, until healed.

        Args:
            delay: Seconds that each chunk waits, in each direction.
            rate: Bytes per second, per connection and direction.
        """
        for way in (self._requests, self._answers):
            way.delay, way.rate = delay, rate

    def heal(self) -> None:
        """Behave again: what was held goes on its way, new connections are taken."""
        self._refuses = False
        for way in (self._requests, self._answers):
            way.delay, way.rate, way.held = 0.0, None, 0
            way.open.set()

    def _is_refusing(self) -> bool:
        return self._refuses

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self._is_refusing():
            _reset(writer)
            return
        try:
            target = await asyncio.open_connection(HOST, self.target, limit=BUFFER)
        except OSError:
            _reset(writer)
            return
        connection = _Connection((reader, writer), target)
        self._connections.add(connection)
        if self._is_refusing():  # since then
            connection.reset()
        try:
            await connection.run(self._requests, self._answers)
        finally:
            self._connections.discard(connection)


class _Connection:
    """Carry one connection's bytes both ways."""

    def __init__(self, client: _Ends, target: _Ends) -> None:
        self._client = client
        self._target = target
        self._is_cut = asyncio.Event()

    def reset(self) -> None:
        """End both halves at once."""
        self._is_cut.set()

    async def run(self, requests: _Way, answers: _Way) -> None:
        """Pump until one side ends or the connection is cut."""
        pumps = (
            _pump(self._client[0], self._target[1], requests),
            _pump(self._target[0], self._client[1], answers),
            self._is_cut.wait(),
        )
        tasks = [asyncio.ensure_future(one) for one in pumps]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for _, writer in (self._client, self._target):
                _reset(writer) if self._is_cut.is_set() else writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: _Way) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(CHUNK):
            await way.pass_through(len(chunk))
            writer.write(chunk)
            await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    found = writer.get_extra_info("socket")
    if found is not None:
        with contextlib.suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport = writer.transport
    transport.abort()


class SteppedClock(SystemClock):
    """Tell the machine's time, off by what an administrator has set it to."""

    def __init__(self) -> None:
        self._offset = 0.0

    def now(self) -> float:
        """Return Unix seconds."""
        return super().now() + self._offset

    def set_off(self, seconds: float) -> None:
        """Set the wall clock; the monotonic one does not notice.

        Args:
            seconds: How far from the machine's time, either way.
        """
        self._offset = seconds


def freeze(pid: int) -> None:
    """Stop a process where it stands, with all it holds (SIGSTOP). One that ended is let be."""
    _send(pid, signal.SIGSTOP)


def thaw(pid: int) -> None:
    """Let a frozen process go on (SIGCONT). One that ended is let be."""
    _send(pid, signal.SIGCONT)


def kill9(pid: int) -> None:
    """Kill a process at once (SIGKILL). One that ended is let be."""
    _send(pid, signal.SIGKILL)


def limit_files(pid: int, size: int | None) -> None:
    """Let no file of a process grow beyond a size, which is how a full disk looks to it.

    Writing further fails with EFBIG; a program that does not ignore SIGXFSZ dies, as one that
    gives up on a full disk would. Needs no root for one's own processes.

    Args:
        pid: The process.
        size: Bytes, or None to make room again.

    Raises:
        RuntimeError: It belongs to another user, whom this one may not act for.
        ProcessLookupError: It has ended.
    """
    try:
        _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (most if size is None else size, most))
    except PermissionError:
        _limit_as_its_user(pid, "unlimited" if size is None else str(size))


def _limit_as_its_user(pid: int, size: str) -> None:
    """Limit a process of another user: in a container not even root may, but that user may."""
    try:
        owner = Path(f"/proc/{pid}").stat()
    except FileNotFoundError:
        raise ProcessLookupError(f"process {pid} has ended") from None
    command = ["/usr/bin/prlimit", f"--pid={pid}", f"--fsize={size}:"]
    done = subprocess.run(  # noqa: S603 - our own command
        command, user=owner.st_uid, group=owner.st_gid, extra_groups=[], cwd="/", check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode and Path(f"/proc/{pid}").exists():
        raise RuntimeError(f"cannot limit the files of process {pid}: {done.stderr.strip()}")


def _send(pid: int, number: signal.Signals) -> None:
    if pid > 0:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
