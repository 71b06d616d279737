"""Keeping: what message_bus's suite asks of each backend (21 to 39) and the contract leaves out.

The rest is in :mod:`trunkline.testing.contracts`, which every engine of ours passes.
"""

from __future__ import annotations

import inspect

from tests.interop.conftest import take
from trunkline import Trunkline
from trunkline.log.memory import MemoryLog
from trunkline.log.port import Log
from trunkline.log.sqlite import SQLiteLog


def test_engines_offer_the_port_and_nothing_else() -> None:
    port = {name for name, _ in inspect.getmembers(Log) if not name.startswith("_")}
    for engine in (MemoryLog, SQLiteLog):
        offered = {name for name, _ in inspect.getmembers(engine) if not name.startswith("_")}
        assert offered >= port
        assert not engine.__abstractmethods__


async def test_a_message_is_found_by_its_id(line: Trunkline) -> None:
    for number in range(1, 4):
        await line.publish("/a", f"m{number}")
    found = await line.message("/a", 2)
    assert found is not None
    assert (found.message_id, found.data) == (2, "m2")
    assert await line.message("/a", 4) is None
    assert await line.message("/b", 1) is None


async def test_bars_are_nothing_special(line: Trunkline) -> None:
    await line.publish("/||", "||")
    [message] = await line.backlog("/||")
    assert (message.channel, message.data) == ("/||", "||")


async def test_the_global_backlog_has_global_order_and_no_trimmed_message(line: Trunkline) -> None:
    for channel in ("/foo", "/hello", "/foo", "/hello"):
        await line.publish(channel, channel, max_backlog_size=10)
    ids = [(one.global_id, one.message_id) for one in await line.global_backlog()]
    assert ids == [(1, 1), (2, 1), (3, 2), (4, 2)]
    await line.trim("/foo", 1)
    kept = await line.global_backlog()
    assert [(one.global_id, one.message_id) for one in kept] == [(2, 1), (3, 2), (4, 2)]
    assert [one.global_id for one in await line.global_backlog(3)] == [4]


async def test_subscribing_to_all_from_zero_gives_backlog_then_live(line: Trunkline) -> None:
    await line.publish("/a", 1)
    await line.publish("/b", 2)
    async with line.subscribe("/**", position=0) as messages:
        assert [one.data for one in await take(messages, 2)] == [1, 2]
        await line.publish("/c", 3)
        assert (await anext(messages)).data == 3
