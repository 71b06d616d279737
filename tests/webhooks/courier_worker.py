"""A process that delivers, and may kill itself at a step of a delivery."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import uvloop

from tests.webhooks.posting import Post
from trunkline.sql.opening import place_of

STEPS = ("claimed", "prepared", "answered", "recording", "recorded")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def run(store: str, url: str, step: str) -> None:
    database = await place_of(store).open()
    post = Post(database)
    post.urls["e"] = url

    async def prepare(sent):
        if step == "claimed":
            die()
        return await post.prepare(sent)

    async def hook(call, send):
        if step == "prepared":
            die()
        answer = await send(call)
        if step == "answered":
            die()
        return answer

    courier = post.courier(prepare=prepare, hook=hook, lease=1.0, owner=str(os.getpid()))
    table = courier._table
    record = table.record

    async def recording(tx, outcomes, now):
        done = await record(tx, outcomes, now)
        if step == "recording":
            die()
        if step == "recorded":
            asyncio.get_running_loop().call_later(0.2, die)
        return done

    table.record = recording
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, courier.stop)
    await courier.run()
    await courier.close()
    await database.close()


if __name__ == "__main__":
    uvloop.run(run(*sys.argv[1:]))
