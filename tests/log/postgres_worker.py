"""What the tests' subprocesses do with a PostgreSQL line; run as a module."""

from __future__ import annotations

import asyncio
import json
import sys

from tests.log.postgres import log_at
from trunkline.testing.contracts.support import append, plain


async def publish(url, schema, who, publishers, count) -> None:
    """Publish from several tasks, and say each message once it is acknowledged."""
    log = log_at(url, schema)
    await log.open()

    async def one(number):
        for turn in range(int(count)):
            (receipt,) = await append(log, [plain(f"/c/{number % 3}", [who, number, turn])])
            sys.stdout.write(json.dumps([number, turn, receipt.global_id]) + "\n")
            sys.stdout.flush()

    async with asyncio.TaskGroup() as group:
        for number in range(int(publishers)):
            group.create_task(one(number))
    await log.close()


if __name__ == "__main__":
    asyncio.run({"publish": publish}[sys.argv[1]](*sys.argv[2:]))
