"""One run: processes publish and listen on an engine while faults strike; then all is examined."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tests.faults.checker import Ack, Evidence, Gap, Heard, Listening, Stored
from tests.faults.journal import read_journal
from tests.faults.listener import BY_CHANNEL, books_of
from tests.faults.rigs import Rig
from tests.faults.roles import CHANNELS, KEEP_ALL, RETRY, RING_BYTES, Part, end_of, line_at
from tests.faults.tally import Effect, effects_of, make_tally
from trunkline.errors import LogError
from trunkline.log.port import Log
from trunkline.log.registry import engine_for
from trunkline.log.retention import Retention
from trunkline.model import codec
from trunkline.model.message import Limits
from trunkline.runtime.clock import SystemClock
from trunkline.testing import faults
from trunkline.testing.servers import Server, trunkline_serve

ROOT = Path(__file__).parents[2]
POLL = 0.02
#: Seconds after which something that should go on counts as stuck.
PATIENCE = 60.0
#: Messages read at once when the line is examined: what holds must hold over pages, too.
PAGE = 20
MODULES = {"publisher": "tests.faults.publisher", "consumer": "tests.faults.consumer"}
INSIDE = ("line", "handler")
OUTSIDE = ("sse", "websocket", "long-poll")


class StuckError(AssertionError):
    """Something did not go on though nothing hinders it any more."""


async def until(holds: Callable[[], bool], what: Callable[[], str], patience: float) -> None:
    """Wait until something holds, or say what does not.

    Raises:
        StuckError: It did not within *patience* seconds.
    """
    deadline = time.monotonic() + patience
    while not holds():
        if time.monotonic() > deadline:
            raise StuckError(what())
        await asyncio.sleep(POLL)


class Actor:
    """Run one publisher or listener, over several lives.

    Args:
        part: What it is told.
    """

    def __init__(self, part: Part) -> None:
        self.part = part
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False
        self._is_ending = False

    def __repr__(self) -> str:
        return f"{self.part.who} ({self.part.role}, life {self.part.life})"

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Begin a life."""
        module = MODULES.get(self.part.role, "tests.faults.listener")
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, self.part.words()],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        self._killed = False

    @property
    def _output(self) -> Path:
        return Path(self.part.journal + ".output")

    def kill9(self) -> None:
        """End this life at once."""
        self._killed = True
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        """Begin the next life."""
        self.part = msgspec.structs.replace(self.part, life=self.part.life + 1)
        self.start()

    def end(self) -> None:
        """Ask it to end well; in its first moments it cannot hear, and just ends."""
        self._is_ending = True
        self.signal(signal.SIGTERM)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self._process is not None:
            self._process.send_signal(number)

    async def explain(self) -> str:
        """Ask a life that is stuck what its tasks wait for, and return the end of its output."""
        self.signal(signal.SIGUSR2)
        await asyncio.sleep(1.0)
        return f"{self}:\n{self._output.read_text(errors='replace')[-8000:]}"

    def check(self) -> None:
        """Raise when it failed by itself."""
        code = 0 if self._process is None or self._killed else self._process.poll()
        if code and not (self._is_ending and code == -signal.SIGTERM):
            text = self._output.read_text(errors="replace")[-4000:]
            raise AssertionError(f"{self} ended with {code} by itself:\n{text}")

    def lines(self) -> Iterator[list[Any]]:
        """Yield what a publisher wrote."""
        return read_journal(self.part.journal)

    def size(self) -> int:
        """Count the bytes it wrote in its journals."""
        path = Path(self.part.journal)
        return sum(
            one.stat().st_size
            for one in path.parent.glob(path.name + "*")
            if one.suffix != ".output"
        )


class Arena:
    """Hold the processes of a run, and what faults need to reach them.

    Args:
        rig: The engine.
        seed: Decides what chance decides.
        listeners: The ways to listen, a process each.
        publishers: How many processes publish.
        consumers: How many share one durable consumer; the engine must be a SQL one.
    """

    def __init__(
        self,
        rig: Rig,
        *,
        seed: int,
        listeners: Sequence[str] = (*INSIDE, *OUTSIDE),
        publishers: int = 2,
        consumers: int = 0,
    ) -> None:
        self._rig = rig
        url = rig.url
        self.chance = random.Random(seed)
        self._folder = tempfile.TemporaryDirectory(prefix="trunkline-faults-")
        self.folder = Path(self._folder.name)
        self.gateway: Server | None = None
        if set(listeners) & {*OUTSIDE, "poll", "stream"}:
            keep_all = {f"TRUNKLINE_{name.upper()}": "none" for name in KEEP_ALL}
            ring = {"TRUNKLINE_RING_BYTES": str(RING_BYTES)}
            self.gateway = trunkline_serve(
                "--log", url, directory=self.folder, environment=keep_all | ring
            )
        self.publishers = [self._actor("publisher", url, n) for n in range(publishers)]
        place = self.gateway.url if self.gateway else ""
        self.listeners = [
            self._actor(way, url if way in INSIDE else place, n) for n, way in enumerate(listeners)
        ]
        self.consumers = [self._actor("consumer", url, n) for n in range(consumers)]

    def _actor(self, role: str, url: str, number: int) -> Actor:
        who = f"{role}-{number}"
        return Actor(Part(role=role, who=who, url=url, journal=str(self.folder / who)))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start everybody, and end whoever is left at the end."""
        try:
            if self.gateway is not None:
                await self.gateway.start()
            if self.consumers:
                await make_tally(self._rig.direct_url)
            for one in self.actors:
                one.start()
            await self.progress(1)
            yield
        finally:
            for one in self.actors:
                faults.thaw(one.pid)
                one.kill9()
            if self.gateway is not None:
                faults.thaw(self.gateway.pid)
                await self.gateway.kill9()
            self._folder.cleanup()

    @property
    def actors(self) -> list[Actor]:
        return [*self.publishers, *self.listeners, *self.consumers]

    def check(self) -> None:
        """Raise when a process failed by itself."""
        for one in self.actors:
            one.check()

    async def progress(self, size: int = 4000) -> None:
        """Wait until everybody wrote more: the next fault strikes a line that works.

        Args:
            size: Bytes that each publisher writes more; listeners write anything.
        """
        before = {id(one): one.size() for one in self.actors}
        wanted = {id(one): size for one in self.publishers}

        def lag(one: Actor) -> bool:
            return one.size() < before[id(one)] + wanted.get(id(one), 1)

        def behind() -> list[Actor]:
            self.check()
            found = [one for one in (*self.publishers, *self.listeners) if lag(one)]
            # One of them works, the others wait for its lease.
            return found + self.consumers * all(map(lag, self.consumers))

        try:
            await until(lambda: not behind(), lambda: f"no progress of {behind()}", PATIENCE)
        except StuckError as error:
            for one in behind():
                error.add_note(await one.explain())
            if self.gateway is not None:
                error.add_note(f"the gateway:\n{self.gateway.output()[-8000:]}")
            raise

    def refusals(self) -> int:
        """Count the publishes that were refused so far."""
        return sum(words[0] == "refused" for one in self.publishers for words in one.lines())

    async def finish(self) -> Evidence:
        """Let publishers end, mark the end of every channel, and gather what everybody wrote.

        Raises:
            StuckError: A publisher did not end, or a listener did not hear of the end.
        """
        for one in self.publishers:
            one.end()
        await until(
            lambda: not any(one.is_running for one in self.publishers),
            lambda: f"publishers do not end: {self.publishers}",
            PATIENCE,
        )
        self.check()
        await self._mark_end()
        with contextlib.suppress(StuckError):  # the checker says what they lack
            await until(
                lambda: not any(one.is_running for one in self.listeners),
                lambda: "a listener did not hear of the end",
                PATIENCE,
            )
        effects = await self._effects()
        self.check()
        return await self._gather(effects)

    async def _effects(self) -> Sequence[Effect] | None:
        """Wait until the consumers had the end of every channel, let them go, and read the tally.

        Whatever they did twice is then done as well.
        """
        if not self.consumers:
            return None
        ends = {(channel, end_of(channel)["n"]) for channel in CHANNELS}
        deadline = time.monotonic() + PATIENCE
        while not ends <= set(await effects_of(self._rig.direct_url)):
            if time.monotonic() > deadline:
                break  # the checker says what is missing
            await asyncio.sleep(POLL)
        for one in self.consumers:
            one.end()
        await until(
            lambda: not any(one.is_running for one in self.consumers),
            lambda: f"consumers do not end: {self.consumers}",
            PATIENCE,
        )
        return await effects_of(self._rig.direct_url)

    async def _mark_end(self) -> None:
        async with line_at(self._rig.direct_url) as line:
            for channel in CHANNELS:
                await _persist(lambda name=channel: line.publish(name, end_of(name), key="end"))

    async def _gather(self, effects: Sequence[Effect] | None) -> Evidence:
        lines = [words for one in self.publishers for words in one.lines()]
        epoch, stored = await read_line(self._rig.direct_url)
        return Evidence(
            acks=[Ack(*words[1:]) for words in lines if words[0] == "ack"],
            epoch=epoch,
            log=stored,
            listenings=[one for actor in self.listeners for one in _listenings(actor)],
            refused=_refusals(lines),
            effects=effects,
        )


def _refusals(lines: Iterable[list[Any]]) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for words in lines:
        if words[0] == "refused":
            _, _, nonce, error, _ = words
            found[nonce] = found.get(nonce, frozenset()) | {error}
    return found


async def _persist(ask: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return await ask()
        except LogError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(RETRY)


def _listenings(actor: Actor) -> Iterator[Listening]:
    for number, (channels, path) in enumerate(books_of(actor.part)):
        told = [
            Heard(*words[1:]) if words[0] == "message" else Gap(*words[1:])
            for words in read_journal(path)
        ]
        by_channel = actor.part.role in BY_CHANNEL
        who = f"{actor.part.who}/{number}"
        yield Listening(who, frozenset(channels), told, by_channel=by_channel)


async def read_line(url: str) -> tuple[str, list[Stored]]:
    """Read the whole line as it is kept, straight from the engine."""
    log: Log = engine_for(url).from_url(
        url, retention=Retention(Limits(None, None)), clock=SystemClock(), options={}
    )
    await log.open()
    try:
        stored: list[Stored] = []
        after = 0
        while True:
            page = await log.read_all(after, PAGE)
            stored += [
                Stored(
                    codec.decode(one.data)["n"], one.channel.name,
                    one.message_id, one.global_id, one.published_at,
                )
                for one in page.records
            ]  # fmt: skip
            after = page.upto
            if after >= page.head:
                return page.epoch, stored
    finally:
        await log.close()
