"""Looking at a Redis line from outside: what could lose messages, slow it down or keep it shut."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel

from trunkline.errors import LogError
from trunkline.log.finding import Finding
from trunkline.log.redis.faults import fault_of
from trunkline.log.redis.link import check_server
from trunkline.log.redis.location import Location

PINGS: Final = 20
SLOW_PING: Final = 0.005
LITTLE_ROOM: Final = 0.9
FAR_BEHIND: Final = 1024 * 1024
#: What only the asynchronous client takes, or what a look from outside does without.
_ASYNC_ONLY: Final = ("connection_pool", "retry", "auto_close_connection_pool", "event_dispatcher")


def examine(location: Location) -> list[Finding]:
    """Look at everything that guarantees or speed rest on; changes nothing.

    Args:
        location: Where the line is, or shall be.
    """
    try:
        with _client(location) as client:
            info: dict[str, Any] = client.info("everything")
            return list(_look(client, info, location))
    except (RedisError, OSError) as error:
        return [Finding("fail", "server", str(fault_of(error, location.shown)))]


def _client(location: Location) -> Any:
    given = location.client or location.driver.get("connection_pool")
    if given is not None:
        pool = getattr(given, "connection_pool", given)
        driver = dict(pool.connection_kwargs)
    else:
        driver = dict(location.driver)
    known = {name: value for name, value in driver.items() if name not in _ASYNC_ONLY}
    known |= {"retry": Retry(NoBackoff(), 0), "protocol": 2}
    if not location.sentinels:
        return redis.Redis(**known)
    make: Any = Sentinel
    sentinel = make(
        list(location.sentinels), sentinel_kwargs=dict(location.sentinel_driver), **known
    )
    return sentinel.master_for(location.service)


def _look(client: Any, info: Mapping[str, Any], location: Location) -> Iterator[Finding]:
    try:
        check_server(info, location.shown)
    except LogError as error:
        yield Finding("fail", "server", str(error))
        return
    yield Finding("ok", "server", f"Redis {info['redis_version']} at {location.shown}")
    settings = _Settings(client)
    yield _appendonly(info)
    yield _fsync(settings)
    yield _last_write(info)
    yield _eviction(info)
    yield _memory(info)
    yield _replicas(info)
    yield _output_limit(settings)
    yield _latency(client)


class _Settings:
    """Ask for settings, which hosted servers often hide."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def get(self, name: str) -> str | None:
        try:
            found = self._client.config_get(name)
        except RedisError:
            return None
        value = found.get(name, found.get(name.encode()))
        return value.decode() if isinstance(value, bytes) else value


def _appendonly(info: Mapping[str, Any]) -> Finding:
    if info.get("aof_enabled"):
        return Finding("ok", "appendonly", "yes")
    return Finding(
        "fail",
        "appendonly",
        "no: a crash of the server loses what came after its last snapshot",
        "CONFIG SET appendonly yes, and in its configuration file",
    )


def _fsync(settings: _Settings) -> Finding:
    found = settings.get("appendfsync")
    if found == "always":
        return Finding("ok", "appendfsync", "always")
    if found is None:
        return Finding(
            "warn", "appendfsync", "hidden by the server", "see that it is always, not everysec"
        )
    return Finding(
        "fail",
        "appendfsync",
        f"{found}: a crash of the machine loses acknowledged messages",
        "CONFIG SET appendfsync always, and in its configuration file",
    )


def _last_write(info: Mapping[str, Any]) -> Finding:
    if info.get("aof_last_write_status", "ok") == "ok":
        return Finding("ok", "last write", "reached the disk")
    return Finding("fail", "last write", "failed: Redis refuses writes", "make room on its disk")


def _eviction(info: Mapping[str, Any]) -> Finding:
    policy = info.get("maxmemory_policy", "noeviction")
    limit = int(info.get("maxmemory", 0))
    if policy == "noeviction":
        return Finding("ok", "maxmemory-policy", policy)
    if str(policy).startswith("volatile"):
        return Finding(
            "warn",
            "maxmemory-policy",
            f"{policy}: may drop what settles a publish in doubt",
            "CONFIG SET maxmemory-policy noeviction",
        )
    return Finding(
        "fail" if limit else "warn",
        "maxmemory-policy",
        f"{policy}: drops messages and counters when memory is full",
        "CONFIG SET maxmemory-policy noeviction",
    )


def _memory(info: Mapping[str, Any]) -> Finding:
    limit, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    detail = f"{used / 1024**2:.0f} MiB used, {'no limit' if not limit else f'limit {limit >> 20}'}"
    if limit and used > limit * LITTLE_ROOM:
        return Finding("warn", "memory", detail, "raise maxmemory, or keep fewer messages")
    return Finding("ok", "memory", detail)


def _replicas(info: Mapping[str, Any]) -> Finding:
    count = int(info.get("connected_slaves", 0))
    if count == 0:
        return Finding("ok", "replicas", "none: a lost machine is a lost line")
    behind = max(_lag(info, number) for number in range(count))
    detail = f"{count}, at most {behind} bytes behind; a failover may lose what they lack"
    if behind < FAR_BEHIND:
        return Finding("ok", "replicas", f"{detail}, and every listener is told")
    return Finding("warn", "replicas", detail, "see why they are slow")


def _lag(info: Mapping[str, Any], number: int) -> int:
    found = info.get(f"slave{number}")
    offset = found.get("offset", 0) if isinstance(found, dict) else 0
    return max(0, int(info.get("master_repl_offset", 0)) - int(offset))


def _output_limit(settings: _Settings) -> Finding:
    text = settings.get("client-output-buffer-limit")
    if text is None:
        return Finding("ok", "output limit", "hidden by the server")
    words = text.split()
    own = words[words.index("pubsub") + 1 :][:1] if "pubsub" in words else ["?"]
    return Finding("ok", "output limit", f"pubsub {own[0]} bytes; whoever is cut reads on")


def _latency(client: Any) -> Finding:
    latencies = []
    for _ in range(PINGS):
        started = time.perf_counter()
        client.ping()
        latencies.append(time.perf_counter() - started)
    middle = statistics.median(latencies)
    detail = f"answers in {middle * 1000:.2f} ms (median of {PINGS})"
    if middle > SLOW_PING:
        return Finding("warn", "latency", detail, "move closer: it bounds a lone publish")
    return Finding("ok", "latency", detail)
