"""A hundred thousand real lines reach every kind of listener in order, over a crash."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from trunkline import Message, Trunkline
from trunkline.client import Client, MessageBusClient
from trunkline.client.settings import Transport
from trunkline.testing.servers import trunkline_serve

CHANNEL = "/files"
AT_LEAST, AT_MOST = 100_000, 150_000
TRANSPORTS: tuple[Transport, ...] = ("poll", "long-poll", "stream", "sse", "websocket")
CRASH_AFTER = 3_000
pytestmark = [pytest.mark.slow, pytest.mark.timeout(110)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """List the files of /usr with their sizes, made up to a hundred thousand lines if need be."""
    found = subprocess.run(
        ["find", "/usr", "-printf", "%p %s\\n"], stdout=subprocess.PIPE, check=False
    ).stdout.split(b"\n")[:-1]
    made = [b"/made/up/\xc3\xbc/%d.txt %d" % (n, n * n) for n in range(AT_LEAST - len(found))]
    place = tmp_path_factory.mktemp("files") / "files.txt"
    place.write_bytes(b"".join(line + b"\n" for line in [*found, *made][:AT_MOST]))
    return place


def bytes_of(files: Path) -> bytes:
    return files.read_bytes()


class Check:
    """Compare what a reader gets with the lines, one by one."""

    def __init__(self, name: str, lines: list[str]) -> None:
        self.name = name
        self.count = 0
        self._lines = lines

    def __call__(self, message_id: int, data: Any) -> None:
        assert message_id == self.count + 1, f"{self.name}: {message_id} after {self.count}"
        assert data == self._lines[self.count], f"{self.name}: message {message_id}"
        self.count += 1

    @property
    def is_done(self) -> bool:
        return self.count == len(self._lines)


async def read(messages: AsyncIterator[Message], check: Check) -> None:
    while not check.is_done:
        message = await anext(messages)
        check(message.message_id, message.data)


async def read_over(url: str, transport: Transport, check: Check) -> None:
    async with Client(
        url, transport=transport, poll_interval=0.05, first_delay=0.05, max_delay=0.5
    ) as client:
        await read(client.subscribe(CHANNEL, position=0), check)


async def read_as_ruby_does(url: str, check: Check) -> None:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_message(data: Any, message_id: int, global_id: int) -> None:
        if done.done():
            return
        try:
            check(message_id, data)
        except AssertionError as error:  # the client would only log it
            done.set_exception(error)
        if check.is_done:
            done.set_result(None)

    async with MessageBusClient(url, min_poll_interval=0.05, max_poll_interval=0.5) as client:
        client.subscribe(CHANNEL, on_message, 0)
        await done


async def publish(log: str, files: Path, go_on: asyncio.Event) -> str:
    """Pipe the lines into the command line; after the first half wait for *go_on*."""
    program = [sys.executable, "-m", "trunkline.cli", "publish", "--log", log]
    options = ["--errors", "replace", "--max-backlog-size", "1000000", CHANNEL, "-"]
    command = await asyncio.create_subprocess_exec(
        *program, *options,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert command.stdin is not None
    text = bytes_of(files)
    for half in (text[: len(text) // 2], text[len(text) // 2 :]):
        command.stdin.write(half)
        await command.stdin.drain()
        await go_on.wait()
    command.stdin.close()
    output, _ = await command.communicate()
    assert command.returncode == 0, output.decode()
    return output.decode()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


async def test_every_listener_gets_every_line_in_order_over_a_crash(
    files: Path, tmp_path: Path
) -> None:
    lines = bytes_of(files).decode("utf-8", "replace").split("\n")[:-1]
    log = f"sqlite:///{tmp_path / 'line.db'}"
    server = trunkline_serve("--log", log, directory=tmp_path)
    async with Trunkline(log) as line, server, asyncio.TaskGroup() as readers:
        remote = [Check(transport, lines) for transport in TRANSPORTS]
        for transport, check in zip(TRANSPORTS, remote, strict=True):
            readers.create_task(read_over(server.url, transport, check))
        remote.append(Check("message_bus", lines))
        readers.create_task(read_as_ruby_does(server.url, remote[-1]))
        inside = Check("in process", lines)
        readers.create_task(read(line.subscribe(CHANNEL, after=0), inside))
        go_on = asyncio.Event()
        publishing = readers.create_task(publish(log, files, go_on))
        await until(lambda: all(check.count >= CRASH_AFTER for check in remote))
        go_on.set()
        await server.kill9()
        assert not any(check.is_done for check in remote)
        await server.restart()
        assert f"published {len(lines)} messages" in await publishing
        checks = [*remote, inside]
        await until(lambda: all(check.is_done for check in checks))
        assert await line.last_id(CHANNEL) == len(lines)
    assert "Traceback" not in server.output()
