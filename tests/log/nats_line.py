"""What the tests of the NATS engine share: publishers, and a checker of what they were told."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sys

from trunkline.errors import LogError, TrunklineError
from trunkline.log.nats import NatsLog
from trunkline.log.retention import Retention
from trunkline.model import codec
from trunkline.model.channel import ChannelKey
from trunkline.model.message import Draft, Limits
from trunkline.runtime.clock import SystemClock

KEEP_ALL = Limits(None, None)


@contextlib.asynccontextmanager
async def opened(url, *, retention=None, clock=None, **options):
    log = NatsLog.from_url(
        url,
        retention=retention or Retention(KEEP_ALL),
        clock=clock or SystemClock(),
        options=options,
    )
    await log.open()
    try:
        yield log
    finally:
        await log.close()


def draft(name, data, **options) -> Draft:
    return Draft(channel=ChannelKey(name), data=codec.encode(data), **options)


class Ledger:
    """Write down what publishers were told, and hold the line to it."""

    def __init__(self):
        self.told = {}
        self.failed = []
        self.stop = asyncio.Event()

    async def publish(self, log, who, *, channels=3, pairs=False):
        """Publish until told to stop; an error is written down, and the publisher goes on."""
        for number in itertools.count():
            if self.stop.is_set():
                return
            name = f"/c/{(who + number) % channels}"
            group = [draft(name, [who, number, 0])]
            if pairs:
                group.append(draft(f"/p/{who % channels}", [who, number, 1]))
            try:
                (outcome,) = await log.append([group])
            except LogError as error:
                self.failed.append(((who, number), str(error)))
                continue
            if isinstance(outcome, TrunklineError):
                raise outcome
            for part, receipt in enumerate(outcome):
                self.told[receipt.global_id] = ([who, number, part], receipt.message_id)

    def check(self, records):
        """Hold the line to it: nothing acknowledged lost, doubled or moved, and all ids dense."""
        assert [one.global_id for one in records] == list(range(1, len(records) + 1))
        counts = {}
        for one in records:
            counts[one.channel] = counts.get(one.channel, 0) + 1
            assert one.message_id == counts[one.channel]
        stored = {one.global_id: (codec.decode(one.data), one.message_id) for one in records}
        assert {id_: stored.get(id_) for id_ in self.told} == self.told
        texts = [str(value) for value, _ in stored.values()]
        assert len(set(texts)) == len(texts), "a message is doubled"


async def publish(url, line, who, publishers, count) -> None:
    """Be a process with some publishers on one hot channel; say what was acknowledged."""
    async with opened(url, line=line) as log:

        async def one(number):
            for turn in range(int(count)):
                (receipts,) = await log.append([[draft("/hot", [who, number, turn])]])
                if isinstance(receipts, TrunklineError):
                    raise receipts
                sys.stdout.write(json.dumps([receipts[0].global_id, [who, number, turn]]) + "\n")

        async with asyncio.TaskGroup() as group:
            for number in range(int(publishers)):
                group.create_task(one(number))


if __name__ == "__main__":
    asyncio.run(publish(*sys.argv[1:]))
