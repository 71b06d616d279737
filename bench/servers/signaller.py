"""A line that fires signals now and then at an app on loopback, and tells how long they took."""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import random
import time

import uvloop

from bench.servers.control import percentiles
from trunkline import Trunkline
from trunkline.webhooks.signal import Signal

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
KEY = base64.b64encode(b"k" * 32).decode()


class Lesson:
    """Be what signals are about."""

    @classmethod
    def find(cls, ident: int) -> Lesson:
        """Find one."""
        del ident
        return cls()


class LessonSignal(Signal):
    """Tell of a lesson."""

    signal_name = "lesson"
    object_class = Lesson

    async def payload(self) -> dict[str, object]:
        """Return what an app gets."""
        return {"id": self.object_id}


async def fire(given: argparse.Namespace) -> None:
    """Fire, one at a time, and wait for each request."""
    arrived: asyncio.Queue[float] = asyncio.Queue()

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with_body = b"content-length: "
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                arrived.put_nowait(time.perf_counter())
                await reader.readexactly(int(head.split(with_body)[1].split(b"\r\n")[0]))
                writer.write(ANSWER)
        except (EOFError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(receive, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    delivery = {"http": True, "networks": ["127.0.0.0/8"]}
    line = Trunkline(given.log, webhooks={"secret_keys": [KEY], "delivery": delivery})
    line.webhooks.declare(LessonSignal)
    times: list[float] = []
    async with line:
        app = await line.apps.create("bench", signal_url=url, signals=["lesson"])
        await line.connections.connect(app.id, account_id=1)
        line.start_services()
        await asyncio.sleep(1.0)
        for number in range(given.count):
            await asyncio.sleep(0.05 + random.random() * 0.02)
            began = time.perf_counter()
            await line.signal(LessonSignal(number, account_id=1), "updated")
            times.append(await arrived.get() - began)
    server.close()
    print(json.dumps({"ms": percentiles(times)}))


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--log", required=True, help="the line's URL")
    parser.add_argument("--count", type=int, default=100)
    uvloop.run(fire(parser.parse_args()))


if __name__ == "__main__":
    main()
