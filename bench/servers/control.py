"""The control socket of a measured server: says when to publish, and measures the loop.

It listens on a Unix socket, so that it shares nothing with the connections that are measured but
the event loop. Commands are lines; whatever has an answer gets one line of JSON:

* ``one`` — publish one message. No answer: the load client sees the message.
* ``burst N`` — publish N messages at the same moment.
* ``pace RATE SECONDS CHANNELS`` — publish so many messages a second, over so many channels in
  turn, whether or not the ones before are stored; what falls due while too many are under way, or
  too long ago, is left out.
* ``probe`` / ``probed`` — begin to watch the loop; tell how long it was held.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

PAYLOAD = 200
TICK = 0.001
#: Publishes under way at the same time, and for how long ago one may have fallen due, seconds.
AT_ONCE = 8
CATCH_UP = 0.01

Publish = Callable[[int, str], Awaitable[object]]


def text() -> str:
    """Return a message's data: the time of publishing, filled up to 200 bytes."""
    return f"t={time.monotonic_ns()} ".ljust(PAYLOAD, "x")


class Probe:
    """Measure by how much a timer of one millisecond is late.

    What counts is the longest delay within each fan-out: a single sample is all that a loop gives
    while it is held, so a percentile over samples would hide the worst.
    """

    def __init__(self) -> None:
        self._handle: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._worst = 0.0
        self._samples: list[float] = []
        self._worsts: list[float] = []

    def start(self) -> None:
        """Begin anew."""
        self.stop()
        self._worst, self._samples, self._worsts = 0.0, [], []
        self._again()

    def stop(self) -> None:
        """End."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def mark(self) -> None:
        """End one fan-out and begin the next."""
        if self._handle is not None:
            # A timer that is overdue right now was held up by the fan-out that ends here.
            self._worsts.append(max(self._worst, time.perf_counter() - self._due))
            self._worst = 0.0

    def _again(self) -> None:
        self._due = time.perf_counter() + TICK
        self._handle = asyncio.get_running_loop().call_later(TICK, self._tick)

    def _tick(self) -> None:
        late = max(0.0, time.perf_counter() - self._due)
        self._samples.append(late)
        self._worst = max(self._worst, late)
        self._again()

    def told(self) -> dict[str, Any]:
        """Return percentiles in milliseconds."""
        return {"sample": percentiles(self._samples), "fanout": percentiles(self._worsts[1:])}


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Return the usual percentiles in milliseconds."""
    ordered = sorted(seconds) or [0.0]
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    last = len(ordered) - 1
    told = {name: ordered[round(share * last)] * 1000 for name, share in shares.items()}
    return {"count": len(seconds), **told}


class Control:
    """Obey the control socket.

    Args:
        publish: Publishes a text to the channel of a number.
    """

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._probe = Probe()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[object]] = set()

    async def start(self) -> None:
        """Listen where the environment says."""
        path = os.environ["BENCH_CONTROL"]
        self._server = await asyncio.start_unix_server(self._serve, path)

    async def stop(self) -> None:
        """Stop listening, and whatever is still being done."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            words = line.decode().split()
            if words == ["one"]:
                self._start_one()
                continue
            answer = await self._obey(words)
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()

    def _start_one(self) -> None:
        self._probe.mark()
        self._start(0)

    def _start(self, number: int) -> None:
        task = asyncio.ensure_future(self._publish(number, text()))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _obey(self, words: list[str]) -> dict[str, Any]:
        match words:
            case ["burst", count]:
                await asyncio.gather(*(self._publish(0, text()) for _ in range(int(count))))
                return {"published": int(count)}
            case ["pace", rate, seconds, channels]:
                return await self._pace(float(rate), float(seconds), int(channels))
            case ["probe"]:
                self._probe.start()
                return {}
            case ["probed"]:
                self._probe.stop()
                return self._probe.told()
            case _:
                return {"error": f"unknown command {words}"}

    async def _pace(self, rate: float, seconds: float, channels: int) -> dict[str, Any]:
        interval, count = 1 / rate, 0
        began = due = time.monotonic()
        while (now := time.monotonic()) < began + seconds:
            if now < due:
                await asyncio.sleep(due - now)
                continue
            if len(self._tasks) < AT_ONCE:
                self._start(count % channels)
                count += 1
            due = max(due + interval, now - CATCH_UP)
        elapsed = time.monotonic() - began
        await asyncio.gather(*self._tasks)
        return {"published": count, "seconds": elapsed}
