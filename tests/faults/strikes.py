"""The faults: each one strikes a run that works, does its harm, and heals.

A strike is a coroutine function of the arena and the rig; what it does in detail chance decides.
It returns when the harm is over; the run then has to go on by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Mapping

from tests.faults.arena import PATIENCE, Arena, until
from tests.faults.rigs import NatsClusterRig, NetworkRig, PostgresRig, RedisRig, Rig
from trunkline.store.lease import LASTS
from trunkline.testing import faults
from trunkline.testing.faults import FaultProxy

Strike = Callable[[Arena, Rig], Awaitable[None]]


async def kill_publisher(arena: Arena, rig: Rig) -> None:
    """Kill a publisher, and start it again a moment later."""
    one = arena.chance.choice(arena.publishers)
    one.kill9()
    await asyncio.sleep(arena.chance.uniform(0, 0.2))
    one.restart()


async def freeze_publisher(arena: Arena, rig: Rig) -> None:
    """Stop a publisher where it stands, whatever it holds, while another goes on."""
    frozen, other = arena.chance.sample(arena.publishers, 2)
    size = other.size()
    faults.freeze(frozen.pid)
    try:
        # Whoever holds a file's turn, or a lock, holds the other up: for a while, not for ever.
        with contextlib.suppress(AssertionError):
            await until(lambda: other.size() > size + 2000, lambda: "held up", 3.0)
    finally:
        faults.thaw(frozen.pid)


async def kill_listener(arena: Arena, rig: Rig) -> None:
    """Kill a listener; its next life goes on from the position in its journal."""
    one = arena.chance.choice(arena.listeners)
    one.kill9()
    await asyncio.sleep(arena.chance.uniform(0, 0.3))
    one.restart()


async def kill_consumer(arena: Arena, rig: Rig) -> None:
    """Kill a consumer, as often as not the one that has the lease; start it again."""
    one = arena.chance.choice(arena.consumers)
    one.kill9()
    await asyncio.sleep(arena.chance.uniform(0, 0.3))
    one.restart()


async def freeze_consumer(arena: Arena, rig: Rig) -> None:
    """Stop a consumer where it stands for longer than its lease lasts; then it finds out."""
    one, *others = arena.chance.sample(arena.consumers, len(arena.consumers))
    size = sum(other.size() for other in others)
    faults.freeze(one.pid)
    try:
        # In the midst of a transaction it holds a SQLite file: then nobody can take over.
        with contextlib.suppress(AssertionError):
            await until(
                lambda: sum(other.size() for other in others) > size, lambda: "held up", 2 * LASTS
            )
    finally:
        faults.thaw(one.pid)


async def kill_gateway(arena: Arena, rig: Rig) -> None:
    """Kill ``trunkline serve`` and start it again on its port."""
    assert arena.gateway is not None
    await arena.gateway.kill9()
    await asyncio.sleep(arena.chance.uniform(0, 0.2))
    await arena.gateway.start()


async def step_clock(arena: Arena, rig: Rig) -> None:
    """Set the publishers' clocks off by up to an hour, each by itself."""
    for one in arena.publishers:
        one.signal(signal.SIGUSR1)
    await asyncio.sleep(0)


async def slow_reader(arena: Arena, rig: Rig) -> None:
    """Freeze every listener while publishers go on: they fall out of memory, back to pages."""
    sizes = [one.size() for one in arena.publishers]
    for one in arena.listeners:
        faults.freeze(one.pid)
    try:
        await until(
            lambda: all(
                one.size() > size + 60_000
                for one, size in zip(arena.publishers, sizes, strict=True)
            ),
            lambda: "publishers are held up by slow readers",
            PATIENCE,
        )
    finally:
        for one in arena.listeners:
            faults.thaw(one.pid)


async def kill_engine(arena: Arena, rig: Rig) -> None:
    """Kill the engine and start it again on what it stored."""
    assert isinstance(rig, NetworkRig)
    await rig.kill9()
    await asyncio.sleep(arena.chance.uniform(0, 0.5))
    await rig.start()


async def restart_engine(arena: Arena, rig: Rig) -> None:
    """Restart PostgreSQL in the middle of commits: at once, or ending its sessions first."""
    assert isinstance(rig, PostgresRig)
    await rig.restart(arena.chance.choice([signal.SIGQUIT, signal.SIGINT]))


async def cut(arena: Arena, rig: Rig) -> None:
    """Reset all connections; half of the times answers are held first, so that they are lost."""
    proxy = _proxy(rig)
    if arena.chance.random() < 0.5:
        proxy.freeze(requests=False)
        await _held(proxy)
    proxy.refuse()
    await asyncio.sleep(arena.chance.uniform(0, 0.3))
    proxy.heal()


async def freeze_link(arena: Arena, rig: Rig) -> None:
    """Hold all bytes, one way or both, while connections stay open; then let them go on."""
    proxy = _proxy(rig)
    requests, answers = arena.chance.choice([(True, True), (True, False), (False, True)])
    proxy.freeze(requests=requests, answers=answers)
    try:
        await _held(proxy)
        await asyncio.sleep(arena.chance.uniform(0.1, 2.0))
    finally:
        proxy.heal()


async def slow_link(arena: Arena, rig: Rig) -> None:
    """Delay every chunk and narrow every connection, until publishers have gone on all the same."""
    proxy = _proxy(rig)
    proxy.slow(delay=arena.chance.uniform(0.005, 0.05), rate=512 * 1024)
    try:
        await arena.progress(800)
    finally:
        proxy.heal()


async def fill_disk(arena: Arena, rig: Rig) -> None:
    """Leave the engine no room to store anything, until publishes were refused; then make room."""
    before = arena.refusals()
    async with rig.full_disk(arena):
        await until(
            lambda: arena.refusals() > before, lambda: "a full disk refuses nothing", PATIENCE
        )


async def flush(arena: Arena, rig: Rig) -> None:
    """Erase everything under the line, as somebody's FLUSHALL does."""
    assert isinstance(rig, RedisRig)
    await rig.server.flush()


async def fail_over(arena: Arena, rig: Rig) -> None:
    """Kill the master and let its replica, which may be behind, take its place and address."""
    assert isinstance(rig, RedisRig)
    await rig.have_replica()
    await arena.progress()
    if arena.chance.random() < 0.7:
        rig.hold_replication()
        await arena.progress(800)
    await rig.fail_over()


async def kill_one_of_three(arena: Arena, rig: Rig) -> None:
    """Kill one server of the cluster, let the others go on, and start it again."""
    assert isinstance(rig, NatsClusterRig)
    one = arena.chance.choice(rig.cluster.servers)
    await one.kill9()
    await arena.progress(1000)
    await one.start()


async def freeze_one_of_three(arena: Arena, rig: Rig) -> None:
    """Stop one server of the cluster where it stands until the others have gone on, then thaw."""
    assert isinstance(rig, NatsClusterRig)
    one = arena.chance.choice(rig.cluster.servers)
    faults.freeze(one.pid)
    try:
        await arena.progress(1000)
    finally:
        faults.thaw(one.pid)


def _proxy(rig: Rig) -> FaultProxy:
    assert isinstance(rig, NetworkRig)
    return rig.proxy


async def _held(proxy: FaultProxy) -> None:
    """Wait until the frozen direction holds something back, if anything moves at all."""
    with contextlib.suppress(AssertionError):
        await until(lambda: proxy.held > 0, lambda: "nothing moves", 3.0)


EVERYWHERE: Mapping[str, Strike] = {
    "publisher killed": kill_publisher,
    "publisher frozen": freeze_publisher,
    "listener killed": kill_listener,
    "gateway killed": kill_gateway,
    "slow reader": slow_reader,
    "clock stepped": step_clock,
    "disk full": fill_disk,
}
NETWORK: Mapping[str, Strike] = {
    "engine killed": kill_engine,
    "connection cut": cut,
    "connection frozen": freeze_link,
    "connection slowed": slow_link,
}
#: How many processes share a durable consumer, on engines that can keep its checkpoint.
CONSUMERS: Mapping[str, int] = {"sqlite": 2, "postgres": 2}
CONSUMING: Mapping[str, Strike] = {
    "consumer killed": kill_consumer,
    "consumer frozen": freeze_consumer,
}
#: By engine, in the order of the table.
STRIKES: Mapping[str, Mapping[str, Strike]] = {
    "sqlite": {**EVERYWHERE, **CONSUMING},
    "postgres": {**EVERYWHERE, **CONSUMING, **NETWORK, "engine restarted": restart_engine},
    "redis": {**EVERYWHERE, **NETWORK, "flushed": flush, "failed over": fail_over},
    "nats": {**EVERYWHERE, **NETWORK},
    "nats cluster": {
        "one of three killed": kill_one_of_three,
        "one of three frozen": freeze_one_of_three,
    },
}
#: Faults that take acknowledged messages away, which every listener must be told.
ANNOUNCED = frozenset({"flushed", "failed over"})
