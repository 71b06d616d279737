"""A publisher's worker, which may kill itself at a step on the way to a callback."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from tests.webhooks.services import PREFIX, make_line
from trunkline.webhooks.delivery_table import DeliveryTable

STEPS = ("published", "queueing", "prepared", "answered", "recording")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def run(url: str, step: str) -> None:
    line = make_line(url, prefix=PREFIX, delivery={"schedule": [0.05] * 20})
    siblings = line.siblings
    webhooks = line.webhooks

    @webhooks.delivery.around_calls
    async def around(call, send):
        if step == "prepared":
            die()
        answer = await send(call)
        if step == "answered":
            die()
        return answer

    queue = webhooks.callbacks.queue

    async def queueing(*given):
        await queue(*given)
        if step == "queueing":
            die()

    webhooks.callbacks.queue = queueing
    record = DeliveryTable.record

    async def recording(self, tx, outcomes, now):
        done = await record(self, tx, outcomes, now)
        if step == "recording":
            die()
        return done

    DeliveryTable.record = recording
    async with line:
        if step != "none":
            await siblings.publish("a", {"n": 1}, id="event-1")
        if step == "published":
            die()
        line.start_services()
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(run(*sys.argv[1:]))
