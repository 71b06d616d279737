"""Every engine loses nothing silently while it is struck; ``make test-faults`` is the long form."""

from __future__ import annotations

import pytest

from tests.faults.runs import run_cell

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]


async def strike(engine, *faults, listeners, seed=7):
    """Strike once with each fault, in one run, and let the checker judge."""
    cell = await run_cell(engine, faults, seed=seed, strikes=len(faults), listeners=listeners)
    assert cell.is_clean, str(cell)
    return cell.verdict


async def test_sqlite_loses_nothing():
    """Processes on one file die, freeze and find the disk full."""
    faults = ("publisher killed", "gateway killed", "disk full", "consumer killed")
    verdict = await strike("sqlite", *faults, listeners=["line", "websocket"])
    assert verdict.effects >= verdict.messages > 100


async def test_redis_loses_nothing():
    """Redis dies and restarts, its connections break, listeners die."""
    faults = ("engine killed", "connection cut", "listener killed")
    verdict = await strike("redis", *faults, listeners=["handler", "sse"])
    assert verdict.messages > 100


async def test_redis_tells_what_it_loses():
    """After a flush and a failover every listener is told."""
    verdict = await strike("redis", "flushed", "failed over", listeners=["line", "websocket"])
    assert verdict.lost_announced
    assert {who for who, _ in verdict.resets} == {"line-0/0", "websocket-1/0", "websocket-1/1"}


async def test_postgres_loses_nothing():
    """PostgreSQL dies, is restarted mid-commit, and its connections break."""
    faults = ("engine killed", "connection cut", "engine restarted", "consumer frozen")
    verdict = await strike("postgres", *faults, listeners=["handler", "websocket"])
    assert verdict.effects >= verdict.messages > 100


async def test_nats_loses_nothing():
    """A NATS server dies and restarts, and its connections break."""
    verdict = await strike("nats", "engine killed", "connection cut", listeners=["handler", "sse"])
    assert verdict.messages > 100


async def test_nats_cluster_loses_nothing():
    """One of three servers dies while the others go on."""
    verdict = await strike("nats cluster", "one of three killed", listeners=["line"])
    assert verdict.messages > 100
