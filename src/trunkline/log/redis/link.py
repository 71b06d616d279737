"""The link to one Redis: scripts sent by digest, and what this process last saw of the line."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from trunkline.errors import LogError
from trunkline.log.redis.faults import CUT, fault_of, is_passing
from trunkline.log.redis.location import Location
from trunkline.log.redis.pipe import Pipe
from trunkline.log.redis.scripts import Script
from trunkline.model.position import EPOCH_BYTES

OLDEST: Final = (6, 2)
#: What the driver is told unless the URL says otherwise: a server that is frozen, or a network
#: that swallows packets, must not hold a publisher for ever.
DRIVER: Final = {
    "protocol": 2,
    "socket_timeout": 5.0,
    "socket_connect_timeout": 5.0,
    "socket_keepalive": True,
}
#: Reads that may be under way at once.
READS: Final = 16
#: Seconds before a read that failed is tried once more.
SECOND_TRY: Final = 0.05

_pack = msgspec.msgpack.Encoder().encode


class Seen(NamedTuple):
    """Be what this process knows of the line: enough to notice that it became another."""

    epoch: str = ""
    head: int = 0
    mark: str = ""


class Link:
    """Talk to the server that keeps a line.

    Args:
        location: Where it is.
        keys: What the scripts get as their key: the line's prefix.
    """

    def __init__(self, location: Location, keys: str) -> None:
        self.place = location.shown
        self.seen = Seen()
        self._location = location
        self._keys = keys
        self._sentinel: Any = None
        self._client: Any = None
        self._pipe: Pipe | None = None
        self._reads = asyncio.Semaphore(READS)

    @property
    def client(self) -> Any:
        """Return the driver's client."""
        if self._client is None:
            raise LogError(f"the link to {self.place} is closed")
        return self._client

    async def open(self) -> None:
        """Connect and see that the server will do.

        Raises:
            LogError: It will not; the message names the fix.
        """
        self._client = self._location.client or self._make()
        try:
            found: dict[str, Any] = {}
            for section in ("server", "cluster", "replication"):
                found |= await self._client.info(section)
            check_server(found, self.place)
        except BaseException as error:
            await self.close()
            if isinstance(error, (RedisError, OSError)):
                raise fault_of(error, self.place) from error
            raise
        self._pipe = Pipe(self._client)

    def _make(self) -> Any:
        location = self._location
        # Whoever calls decides whether and when to try again, for it knows what is at stake.
        driver = {"retry": Retry(NoBackoff(), 0), **DRIVER, **location.driver}
        if not location.sentinels:
            return Redis(**driver)
        make: Any = Sentinel  # the driver says nothing of its types
        self._sentinel = make(
            list(location.sentinels), sentinel_kwargs=dict(location.sentinel_driver), **driver
        )
        return self._sentinel.master_for(location.service)

    async def close(self) -> None:
        """Close every connection of ours. Idempotent."""
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            with contextlib.suppress(*CUT):
                await pipe.rest()
        client, self._client = self._client, None
        if client is not None and client is not self._location.client:
            with contextlib.suppress(*CUT):
                await client.aclose()
        sentinel, self._sentinel = self._sentinel, None
        for one in sentinel.sentinels if sentinel else ():
            with contextlib.suppress(*CUT):
                await one.aclose()

    async def drop(self) -> None:
        """Close idle connections, so that the next one finds who is master now."""
        with contextlib.suppress(*CUT):
            await self.rest()
            await self.client.connection_pool.disconnect(inuse_connections=False)

    async def reach(self) -> None:
        """See that the server answers, so that what is sent next does not fail on its way there.

        Raises:
            RedisError: As the driver raises it.
        """
        await self.client.ping()

    async def rest(self) -> None:
        """Give back the connection of :meth:`store` if nothing is on its way there."""
        if self._pipe is not None:
            await self._pipe.rest()

    async def store(self, script: Script, *ask: Any, body: bytes) -> list[Any]:
        """Run a script after those that were sent so before, without waiting for their answers.

        Args:
            script: Which one.
            ask: As for :meth:`call`.
            body: One more argument, as it is.

        Returns:
            As :meth:`call`.

        Raises:
            RedisError: As the driver raises it.
        """
        if self._pipe is None:
            raise LogError(f"the link to {self.place} is closed")
        return await self._run(self._pipe.execute, script, ask, body)

    async def call(self, script: Script, *ask: Any) -> list[Any]:
        """Run a script, and note what it says about the line.

        Args:
            script: Which one.
            ask: Its own arguments, as MessagePack carries them; text only, no bytes.

        Returns:
            The reply, whose first three values are epoch, head and mark.

        Raises:
            RedisError: As the driver raises it.
        """
        return await self._run(self.client.execute_command, script, ask, b"")

    async def _run(
        self,
        execute: Callable[..., Awaitable[Any]],
        script: Script,
        ask: Sequence[Any],
        body: bytes,
    ) -> list[Any]:
        argument = _pack([*self.seen, secrets.token_hex(EPOCH_BYTES), *ask])
        rest = (1, self._keys, argument, body)
        try:
            reply: list[Any] = await execute("EVALSHA", script.digest, *rest)
        except NoScriptError:
            # Its cache was flushed, or this is another server.
            reply = await execute("EVAL", script.text, *rest)
        self._note(Seen(reply[0].decode(), reply[1], reply[2].decode()))
        return reply

    def _note(self, seen: Seen) -> None:
        # Answers may overtake each other on their connections.
        if seen.epoch != self.seen.epoch or seen.head >= self.seen.head:
            self.seen = seen

    async def scan(self, pattern: str) -> list[str]:
        """Return the keys that match a glob, each of them once, in no order.

        Raises:
            LogError: It failed; the message names the fix.
        """
        try:
            found = {key.decode() async for key in self.client.scan_iter(pattern, count=1000)}
        except (RedisError, OSError) as error:
            raise fault_of(error, self.place) from error
        return list(found)

    async def read(self, script: Script, *ask: Any) -> list[Any]:
        """Run a script that may be run twice, and try once more when the connection was cut.

        Raises:
            LogError: It failed; the message names the fix.
        """
        async with self._reads:
            try:
                return await self.call(script, *ask)
            except (RedisError, OSError) as error:
                if not is_passing(error):
                    raise fault_of(error, self.place) from error
            await self.drop()
            await asyncio.sleep(SECOND_TRY)
            try:
                return await self.call(script, *ask)
            except (RedisError, OSError) as error:
                raise fault_of(error, self.place) from error


def check_server(info: Mapping[str, Any], place: str) -> None:
    """See that a server can keep a line.

    Args:
        info: What it answers to INFO.
        place: The line's URL without secrets.

    Raises:
        LogError: It cannot; the message names the fix.
    """
    version = str(info.get("redis_version", "0"))
    numbers = tuple(int(part) if part.isdigit() else 0 for part in version.split(".")[:2])
    if numbers < OLDEST:
        raise LogError(f"the Redis at {place} is version {version}: 6.2 or newer is needed")
    if str(info.get("cluster_enabled", "0")) == "1":
        raise LogError(
            f"the Redis at {place} is a Redis Cluster, which is not supported: one line lives on "
            "one master; use a single server, with replicas and redis+sentinel:// for failover, "
            "or nats:// for a cluster"
        )
    if info.get("role") == "slave" and str(info.get("slave_read_only", "1")) == "1":
        raise LogError(
            f"the Redis at {place} is a read-only replica: name its master, "
            f"{info.get('master_host')}:{info.get('master_port')}, or write redis+sentinel://"
        )
