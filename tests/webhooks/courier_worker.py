"""A process that delivers, and may kill itself at a step of a delivery."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import uvloop

from tests.webhooks.posting import Post
from trunkline.sql.opening import place_of

#: In their order. Of these, ``sent`` is when the receiver has a request and has not answered yet,
#: so that the receiver strikes; "claiming" and "recording" are before the commit.
STEPS = (
    "looked",
    "claiming",
    "claimed",
    "prepared",
    "sent",
    "answered",
    "recording",
    "recorded",
)
#: After these the receiver has the request, and nobody recorded that it has.
REPEATED = frozenset({"sent", "answered", "recording"})
#: After these nothing is held by anybody.
FREE = frozenset({"looked", "claiming", "recorded"})


def striking(post: Post, strike, **options):
    """Return a courier that awaits ``strike(step)`` at each step but ``sent``."""

    async def prepare(sent):
        await strike("claimed")
        return await post.prepare(sent)

    async def hook(call, send):
        await strike("prepared")
        answer = await send(call)
        await strike("answered")
        return answer

    courier = post.courier(prepare=prepare, hook=hook, lease=1.0, **options)
    table = courier._table
    claim, record, transact = table.claim, table.record, courier._transact

    async def claiming(tx, rooms, **when):
        await strike("looked")
        claims, found = await claim(tx, rooms, **when)
        if claims:
            await strike("claiming")
        return claims, found

    async def recording(tx, outcomes, now):
        done = await record(tx, outcomes, now)
        await strike("recording")
        return done

    async def transacting(outcomes, rooms, unix):
        claims = await transact(outcomes, rooms, unix)
        if outcomes:
            await strike("recorded")
        return claims

    table.claim, table.record, courier._transact = claiming, recording, transacting
    return courier


async def run(store: str, url: str, step: str) -> None:
    async def strike(now: str) -> None:
        if now == step:
            os.kill(os.getpid(), signal.SIGKILL)

    database = await place_of(store).open()
    post = Post(database)
    post.urls["e"] = url
    courier = striking(post, strike, owner=str(os.getpid()))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, courier.stop)
    await courier.run()
    await courier.close()
    await database.close()


if __name__ == "__main__":
    uvloop.run(run(*sys.argv[1:]))
