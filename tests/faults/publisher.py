"""A publisher's process: publishes without end, and writes down what was acknowledged.

Its tasks differ: one publishes under idempotency keys and asks again until it has an answer, one
publishes groups of three, the others give up a message that was refused. SIGTERM ends it well,
SIGUSR1 sets its clock off by up to an hour.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from collections.abc import Awaitable, Callable

import msgspec

from tests.faults.journal import Journal
from tests.faults.roles import CHANNELS, RETRY, Part, line_at, opened, tell_when_asked
from trunkline import Trunkline
from trunkline.errors import LogError
from trunkline.model.message import Receipt
from trunkline.testing.faults import SteppedClock

GROUP = 3
HOUR = 3600.0


class Publisher:
    """Publish from several tasks until told to stop.

    Args:
        part: What this process is told.
    """

    def __init__(self, part: Part) -> None:
        self._part = part
        self._journal = Journal(part.journal)
        self._chance = random.Random(f"{part.who} {part.life}")
        self._clock = SteppedClock()
        self._stop = asyncio.Event()
        self._pad = "x" * part.pad

    async def run(self) -> None:
        """Publish until SIGTERM."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        loop.add_signal_handler(signal.SIGUSR1, self._step_clock)
        tell_when_asked()
        line = await opened(line_at(self._part.url, clock=self._clock))
        try:
            async with asyncio.TaskGroup() as tasks:
                for number in range(self._part.tasks):
                    tasks.create_task(self._publish_on(line, number))
        finally:
            await line.close()

    def _step_clock(self) -> None:
        self._clock.set_off(self._chance.uniform(-HOUR, HOUR))

    async def _publish_on(self, line: Trunkline, number: int) -> None:
        publish = {0: self._keyed, 1: self._grouped}.get(number, self._plain)
        task = f"{self._part.who}.{self._part.life}.{number}"
        turn = 0
        while not self._stop.is_set():
            await publish(line, task, turn)
            turn += 1
            await asyncio.sleep(self._chance.uniform(0, self._part.pause))

    async def _plain(self, line: Trunkline, task: str, turn: int) -> None:
        nonce, channel = f"{task}.{turn}", self._chance.choice(CHANNELS)
        data = {"n": nonce, "pad": self._pad}
        await self._ask(task, [nonce], lambda: _one(line.publish(channel, data)))

    async def _keyed(self, line: Trunkline, task: str, turn: int) -> None:
        nonce, channel = f"{task}.{turn}", self._chance.choice(CHANNELS)
        data = {"n": nonce, "pad": self._pad}
        while not self._stop.is_set():
            if await self._ask(task, [nonce], lambda: _one(line.publish(channel, data, key=nonce))):
                return

    async def _grouped(self, line: Trunkline, task: str, turn: int) -> None:
        nonces = [f"{task}.{turn}#{part}/{GROUP}" for part in range(GROUP)]
        messages = [
            (self._chance.choice(CHANNELS), {"n": nonce, "pad": self._pad}) for nonce in nonces
        ]
        await self._ask(task, nonces, lambda: line.publish_many(messages))

    async def _ask(
        self, task: str, nonces: list[str], publish: Callable[[], Awaitable[list[Receipt]]]
    ) -> bool:
        try:
            receipts = await publish()
        except LogError as error:
            for nonce in nonces:
                self._journal.write("refused", task, nonce, type(error).__name__, str(error)[:200])
            await asyncio.sleep(RETRY)
            return False
        for nonce, one in zip(nonces, receipts, strict=True):
            ids = (one.channel.name, one.message_id, one.global_id, one.epoch)
            self._journal.write("ack", task, nonce, *ids)
        return True


async def _one(publishing: Awaitable[Receipt | None]) -> list[Receipt]:
    receipt = await publishing
    assert receipt is not None
    return [receipt]


if __name__ == "__main__":
    asyncio.run(Publisher(msgspec.json.decode(sys.argv[1], type=Part)).run())
