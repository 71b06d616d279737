"""The fault proxy harms as asked and heals; processes freeze, and files find no more room."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trunkline.testing.faults import FaultProxy, SteppedClock, freeze, kill9, limit_files, thaw
from trunkline.testing.servers import HOST

PATIENCE = 20


@pytest.fixture
async def proxy():
    """A proxy before a server that sends back what it gets."""

    async def echo(reader, writer):
        with contextlib.suppress(OSError):
            while chunk := await reader.read(1000):
                writer.write(chunk)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, HOST, 0)
    async with server, FaultProxy(server.sockets[0].getsockname()[1]) as proxy:
        yield proxy


@contextlib.asynccontextmanager
async def connected(proxy):
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def echoed(ends, data=b"hello"):
    reader, writer = ends
    writer.write(data)
    async with asyncio.timeout(PATIENCE):
        return await reader.readexactly(len(data))


async def until(holds):
    async with asyncio.timeout(PATIENCE):
        while not holds():
            await asyncio.sleep(0.005)


async def test_bytes_pass_both_ways(proxy):
    """Unharmed, a megabyte comes back as it went."""
    data = os.urandom(1_000_000)
    async with connected(proxy) as ends:
        assert await echoed(ends, data) == data
        assert proxy.connections == 1
    await until(lambda: proxy.connections == 0)
    assert proxy.accepted == 1


async def test_cut_resets_what_is_there_and_takes_what_comes(proxy):
    """A cut ends both halves with a reset; the next connection works."""
    async with connected(proxy) as ends:
        await echoed(ends)
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            async with asyncio.timeout(PATIENCE):
                await ends[0].readexactly(1)
    async with connected(proxy) as ends:
        assert await echoed(ends) == b"hello"


async def test_refusing_ends_new_connections_until_healed(proxy):
    """While it refuses nobody gets through; afterwards everybody does."""
    proxy.refuse()
    with pytest.raises((OSError, asyncio.IncompleteReadError)):
        async with connected(proxy) as ends:
            await echoed(ends)
    proxy.heal()
    async with connected(proxy) as ends:
        assert await echoed(ends) == b"hello"


@pytest.mark.parametrize("ways", [{"answers": False}, {"requests": False}, {}])
async def test_freeze_holds_and_heal_lets_go(proxy, ways):
    """Frozen, nothing comes back and the connection stays; healed, nothing is missing."""
    async with connected(proxy) as ends:
        await echoed(ends)
        proxy.freeze(**ways)
        ends[1].write(b"later")
        await until(lambda: proxy.held == 5)
        assert not ends[0]._buffer
        proxy.heal()
        async with asyncio.timeout(PATIENCE):
            assert await ends[0].readexactly(5) == b"later"
        assert proxy.held == 0


async def test_slow_takes_its_time(proxy):
    """A slowed link takes at least as long as its rate says."""
    proxy.slow(delay=0.05, rate=100_000)
    async with connected(proxy) as ends:
        started = time.monotonic()
        await echoed(ends, b"x" * 20_000)
        assert time.monotonic() - started >= 0.3


async def test_target_may_change(proxy):
    """New connections go to the new target; without one they are reset."""

    async def shout(reader, writer):
        writer.write((await reader.readexactly(5)).upper())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(shout, HOST, 0) as server:
        proxy.target = server.sockets[0].getsockname()[1]
        async with connected(proxy) as ends:
            assert await echoed(ends) == b"HELLO"
    with pytest.raises((OSError, asyncio.IncompleteReadError)):
        async with connected(proxy) as ends:
            await echoed(ends)


def test_clock_steps_and_monotonic_does_not_notice():
    """Set off, the wall clock jumps; what measures durations goes on."""
    clock = SteppedClock()
    before = clock.monotonic()
    clock.set_off(-3600)
    assert clock.now() < time.time() - 3500
    assert clock.monotonic() >= before
    clock.set_off(3600)
    assert clock.now() > time.time() + 3500


def wait_for_state(pid, wanted):
    deadline = time.monotonic() + PATIENCE
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != wanted:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_freeze_thaw_and_kill():
    """A frozen process is stopped, a thawed one runs; the dead are let be."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        freeze(process.pid)
        wait_for_state(process.pid, "T")
        thaw(process.pid)
        wait_for_state(process.pid, "R")
        kill9(process.pid)
        process.wait()
        for harm in (freeze, thaw, kill9):
            harm(process.pid)


WRITER = """
import sys
for line in sys.stdin:
    try:
        with open(sys.argv[1], "ab", buffering=0) as file:
            file.write(b"x" * 1000)
        print("stored", flush=True)
    except OSError as error:
        print(type(error).__name__, flush=True)
"""


def test_files_find_no_room_until_there_is(tmp_path):
    """A process under the limit fails to write beyond it, and writes again when it is lifted."""
    command = [sys.executable, "-c", WRITER, str(tmp_path / "file")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def answer():
            process.stdin.write("\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        assert answer() == "stored"
        limit_files(process.pid, 1000)
        assert answer() == "OSError"
        limit_files(process.pid, None)
        assert answer() == "stored"
        process.stdin.close()
