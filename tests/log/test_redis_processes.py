"""Several processes on one Redis: dense ids, and what a kill of one leaves behind."""

from __future__ import annotations

import asyncio
import sys

import pytest

from tests.log.test_redis_faults import check_line, opened
from trunkline.model import codec
from trunkline.testing.contracts.support import whole_line
from trunkline.testing.redis_server import RedisServer


@pytest.fixture
async def server():
    async with RedisServer() as server:
        yield server


PUBLISHER = """
import asyncio, itertools, json, sys
from trunkline.log.redis import RedisLog
from trunkline.log.retention import Retention
from trunkline.model.channel import ChannelKey
from trunkline.model.message import Draft
from trunkline.runtime.clock import SystemClock

async def publish(log, who):
    for number in itertools.count():
        value = [sys.argv[2], who, number]
        draft = Draft(channel=ChannelKey(f"/c/{who}"), data=json.dumps(value).encode())
        ((receipt,),) = await log.append([[draft]])
        print(json.dumps([receipt.global_id, value]), flush=True)

async def main():
    made = {"retention": Retention(), "clock": SystemClock(), "options": {}}
    log = RedisLog.from_url(sys.argv[1], **made)
    log._retention.max_backlog_size = None
    await log.open()
    await asyncio.gather(*(publish(log, who) for who in range(4)))

asyncio.run(main())
"""


async def test_killed_publishers_leave_every_acknowledged_message(server):
    """Three processes publish at once and die by kill -9: what they were told is stored, is."""
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", PUBLISHER, server.log_url, who, stdout=asyncio.subprocess.PIPE
        )
        for who in "abc"
    ]
    told = [[await process.stdout.readline() for _ in range(50)] for process in processes]
    acknowledged = {}
    for process, lines in zip(processes, told, strict=True):
        process.kill()
        rest = (await process.stdout.read()).splitlines(keepends=True)
        await process.wait()
        for line in [*lines, *rest]:
            if line.endswith(b"\n"):
                global_id, value = codec.decode(line)
                acknowledged[global_id] = value
    async with opened(server.log_url) as log:
        check_line(await whole_line(log), acknowledged)
    assert {value[0] for value in acknowledged.values()} == set("abc")
