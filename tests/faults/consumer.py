"""A consumer's process: has a message's effect, a row, commit together with its checkpoint.

Several processes share the one consumer. SIGTERM ends it well.
"""

from __future__ import annotations

import asyncio
import signal
import sys

import msgspec

from tests.faults.journal import Journal
from tests.faults.roles import PATTERN, RETRY, Part, line_at, tell_when_asked
from tests.faults.tally import INSERT
from trunkline.channels.consumer import Retry
from trunkline.channels.transaction import LineTransaction
from trunkline.errors import LogError
from trunkline.model.message import Message

#: Whoever is killed over a message again and again shall not park it: that is the suite's doing.
PATIENT = Retry(attempts=10_000, first=0.05, limit=0.2)


async def run(part: Part) -> None:
    """Consume until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    tell_when_asked()
    journal = Journal(part.journal)
    line = line_at(part.url)

    async def handle(message: Message, tx: LineTransaction) -> None:
        nonce = message.data["n"]
        await tx.execute(INSERT[tx.dialect], message.channel, nonce)
        journal.write("handled", nonce)

    line.consumer("tally", PATTERN, handler=handle, retry=PATIENT)
    while not stop.is_set():
        try:
            await line.open(run_consumers=True)
        except LogError:
            await asyncio.sleep(RETRY)
        else:
            break
    try:
        await stop.wait()
    finally:
        await line.close()


if __name__ == "__main__":
    asyncio.run(run(msgspec.json.decode(sys.argv[1], type=Part)))
