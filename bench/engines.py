"""The engines' real servers, set up as the promises demand: nothing is told before it is synced."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from bench.programs import folder
from trunkline.testing.nats_server import NatsCluster, NatsServer
from trunkline.testing.postgres_server import PostgresServer
from trunkline.testing.redis_server import DURABLE, RedisServer
from trunkline.testing.running import running

POSTGRES_SETTINGS = {"shared_buffers": "512MB", "max_connections": "300"}


@contextlib.contextmanager
def postgres() -> Iterator[PostgresServer]:
    """Run PostgreSQL with ``synchronous_commit`` on, as it is by default."""
    with PostgresServer(POSTGRES_SETTINGS) as server:
        yield server


@contextlib.contextmanager
def redis() -> Iterator[RedisServer]:
    """Run Redis with an append-only file that is synced before every answer."""
    with running(RedisServer(*DURABLE)) as server:
        yield server


@contextlib.contextmanager
def nats(replicas: int = 1) -> Iterator[str]:
    """Run JetStream on files, on one server or three, and give its URL."""
    server: NatsServer | NatsCluster = NatsServer() if replicas == 1 else NatsCluster()
    with running(server) as started:
        yield started.url


@contextlib.contextmanager
def line(engine: str) -> Iterator[str]:
    """Run an engine and give the URL of a line on it.

    Args:
        engine: ``sqlite``, ``postgres``, ``redis`` or ``nats``.
    """
    if engine == "sqlite":
        with folder() as path:
            yield f"sqlite:///{path}/line.db"
    elif engine == "postgres":
        with postgres() as server:
            yield server.url
    elif engine == "redis":
        with redis() as server_:
            yield server_.log_url
    else:
        with nats() as url:
            yield url
