"""Requests and their answers, over one inbox: who asked, and who waits too long.

A request whose answer does not come, because the connection broke or nobody is there, is answered
with ``None``: what became of it is then not known here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

from trunkline.log.nats.connection import Wire
from trunkline.runtime.clock import Clock

T = TypeVar("T")

logger = logging.getLogger(__name__)

#: Seconds without an answer after which another replica is asked; the next time twice as many.
AGAIN: Final = 0.2
#: Seconds between two looks at who waits too long.
TICK: Final = 0.25


class Answer(NamedTuple):
    """Be a message that answers a request."""

    header: bytes
    data: bytes

    @property
    def status(self) -> int:
        """Return the status that the server put in the first header line, 0 for none."""
        text = self.header[9:12]
        return int(text) if text.isdigit() else 0


#: What a request that could not be sent is answered with: as if nobody were there.
NOT_SENT: Final = Answer(b"NATS/1.0 503\r\n\r\n", b"")

Hear = Callable[[Answer | None], None]


class _Awaited:
    """Be a request whose answer has not come."""

    __slots__ = ("deadline", "hear", "is_many")

    def __init__(self, hear: Hear, deadline: float, *, is_many: bool) -> None:
        self.hear = hear
        self.deadline = deadline
        self.is_many = is_many


class _Inquiry:
    """Ask, and ask again whenever nothing was heard for a while.

    Args:
        loop: The event loop.
        send: Sends one copy of the question.
        is_many: Whether an answer has many parts, of which the last has a status.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, send: Callable[[Hear], None], *, is_many: bool
    ) -> None:
        self._loop = loop
        self._send = send
        self._is_many = is_many
        self._done: asyncio.Future[list[Answer] | None] = loop.create_future()
        self._heard = self._heard_before = 0
        self._pause = AGAIN

    async def run(self) -> list[Answer] | None:
        """Return what the first copy that was answered whole was answered, or None."""
        self._send(self._copy())
        self._timer = self._loop.call_later(self._pause, self._look)
        try:
            return await self._done
        finally:
            self._timer.cancel()

    def _copy(self) -> Hear:
        found: list[Answer] = []

        def hear(answer: Answer | None) -> None:
            if answer is None:
                _give(self._done, None)
                return
            self._heard += 1
            found.append(answer)
            if answer.status or not self._is_many:
                _give(self._done, found)

        return hear

    def _look(self) -> None:
        if self._done.done():
            return
        if self._heard == self._heard_before:
            self._send(self._copy())
            self._pause *= 2
        self._heard_before = self._heard
        self._timer = self._loop.call_later(self._pause, self._look)


class Courier:
    """Send requests and bring the answers.

    Args:
        wire: The connection.
        clock: Tells how long somebody has waited.
    """

    def __init__(self, wire: Wire, clock: Clock) -> None:
        self._wire = wire
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._inbox = wire.client.new_inbox() + "."
        self._cut = len(self._inbox)
        self._awaited: dict[int, _Awaited] = {}
        self._number = 0
        #: The time of the last look, which is exact enough for time-outs.
        self._now = clock.monotonic()
        self._timer: asyncio.TimerHandle | None = None
        self._back = asyncio.Event()

    @property
    def is_up(self) -> bool:
        """Tell whether requests can be sent."""
        return self._wire.is_up

    async def open(self) -> None:
        """Begin to hear answers."""
        await self._wire.listen(self._inbox + "*", self._hear)
        self._timer = self._loop.call_later(TICK, self._tick)

    def close(self) -> None:
        """Answer everybody who still waits with None, and stop."""
        if self._timer is not None:
            self._timer.cancel()
        self.lose()
        self._back.set()

    def post(self, subject: str, header: bytes, payload: bytes) -> None:
        """Send a message that nobody answers."""
        self._wire.send(subject, "", header, payload)

    def ask(
        self, subject: str, header: bytes, payload: bytes, hear: Hear, *, within: float
    ) -> None:
        """Send a request; *hear* is called once, with the answer or None, never from here."""
        if not self._wire.is_up:
            self._loop.call_soon(self._tell, hear, NOT_SENT)
            return
        self._wire.send(subject, self._await(hear, within, is_many=False), header, payload)

    def ask_many(self, subject: str, payload: bytes, hear: Hear, *, within: float) -> None:
        """Send a request with many answers, of which the last has a status, or None ends them."""
        if not self._wire.is_up:
            self._loop.call_soon(self._tell, hear, NOT_SENT)
            return
        self._wire.send(subject, self._await(hear, within, is_many=True), b"", payload)

    async def call(
        self, subject: str, payload: bytes, *, within: float, header: bytes = b""
    ) -> Answer | None:
        """Send a request and wait for its answer."""
        done: asyncio.Future[Answer | None] = self._loop.create_future()
        self.ask(subject, header, payload, lambda answer: _give(done, answer), within=within)
        return await done

    async def look(self, subject: str, payload: bytes, *, within: float) -> Answer | None:
        """Send a request that changes nothing and wait for its answer, as :meth:`collect` does."""
        answers = await self._ask_around(subject, payload, within, is_many=False)
        return None if answers is None else answers[0]

    async def collect(self, subject: str, payload: bytes, *, within: float) -> list[Answer] | None:
        """Send a request and wait for all its answers, the one with a status included.

        Whoever is given it may hang, and another one be there or take its place. So it is sent
        again while no answers come, and whoever is done first is heard.
        """
        return await self._ask_around(subject, payload, within, is_many=True)

    async def _ask_around(
        self, subject: str, payload: bytes, within: float, *, is_many: bool
    ) -> list[Answer] | None:
        deadline = self._loop.time() + within

        def send(hear: Hear) -> None:
            left = max(0.0, deadline - self._loop.time())
            if is_many:
                self.ask_many(subject, payload, hear, within=left)
            else:
                self.ask(subject, b"", payload, hear, within=left)

        return await _Inquiry(self._loop, send, is_many=is_many).run()

    async def wait_up(self, seconds: float) -> None:
        """Wait until the connection is there, but not for longer than some seconds."""
        if self._wire.is_up:
            return
        self._back.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._back.wait()
        except TimeoutError:
            return

    def lose(self) -> None:
        """Answer everybody with None: the connection broke, and with it our inbox."""
        awaited, self._awaited = self._awaited, {}
        for one in awaited.values():
            self._tell(one.hear, None)

    def found(self) -> None:
        """Let those go on who wait for the connection."""
        self._back.set()

    def _await(self, hear: Hear, within: float, *, is_many: bool) -> str:
        self._number += 1
        self._awaited[self._number] = _Awaited(hear, self._now + within, is_many=is_many)
        return f"{self._inbox}{self._number}"

    def _hear(self, subject: bytes, header: bytes, data: bytes) -> None:
        number = int(subject[self._cut :])
        answer = Answer(header, data)
        awaited = self._awaited.get(number)
        if awaited is None:
            return
        if not awaited.is_many or answer.status:
            del self._awaited[number]
        self._tell(awaited.hear, answer)

    def _tell(self, hear: Hear, answer: Answer | None) -> None:
        try:
            hear(answer)
        except Exception:  # the driver's reading task must go on
            logger.exception("an answer could not be taken")

    def _tick(self) -> None:
        now = self._now = self._clock.monotonic()
        late = [number for number, one in self._awaited.items() if one.deadline <= now - TICK]
        for number in late:
            self._tell(self._awaited.pop(number).hear, None)
        self._timer = self._loop.call_later(TICK, self._tick)


def _give(done: asyncio.Future[T], result: T) -> None:
    if not done.done():
        done.set_result(result)
