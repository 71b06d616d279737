"""A connection on which the next command is sent before the last one is answered.

The driver lends a connection to one command at a time. Commands on one connection are carried out
in the order in which they were sent, and answered in it, so whoever sends takes their place among
those who read before the next one may send.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from redis.exceptions import ConnectionError as CutError
from redis.exceptions import ResponseError

from trunkline.log.redis.faults import CUT


class _Stretch:
    """Be one connection while it is borrowed from the driver."""

    __slots__ = ("connection", "is_cut", "reading", "users")

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.is_cut = False
        self.reading = asyncio.Lock()
        self.users = 0


class Pipe:
    """Send commands one behind the other.

    Args:
        client: The driver's client, from whose pool a connection is borrowed while needed.
    """

    def __init__(self, client: Any) -> None:
        self._pool = client.connection_pool
        self._stretch: _Stretch | None = None
        self._sending = asyncio.Lock()

    async def execute(self, *words: Any) -> Any:
        """Carry out a command after those that were sent before it.

        Raises:
            RedisError: As the driver raises it; where the connection is cut, all that are on
                their way fail.
        """
        async with self._sending:
            stretch = await self._borrow()
            stretch.users += 1
            try:
                # A health check would read somebody else's answer.
                await stretch.connection.send_command(*words, check_health=False)
            except BaseException:
                await self._leave(stretch, is_cut=True)
                raise
        is_cut = True
        try:
            # The lock serves in order of arrival, and nobody sent since: see above.
            async with stretch.reading:
                if stretch.is_cut:
                    raise CutError("the connection was cut before this was answered")
                reply = await stretch.connection.read_response()
                is_cut = False
                return reply
        except ResponseError:
            is_cut = False
            raise
        finally:
            await self._leave(stretch, is_cut=is_cut)

    async def rest(self) -> None:
        """Give the connection back if nothing is on its way."""
        stretch = self._stretch
        if stretch is not None and not stretch.users and not self._sending.locked():
            self._stretch = None
            await self._pool.release(stretch.connection)

    async def _borrow(self) -> _Stretch:
        if self._stretch is None:
            self._stretch = _Stretch(await self._pool.get_connection())
        return self._stretch

    async def _leave(self, stretch: _Stretch, *, is_cut: bool) -> None:
        stretch.users -= 1
        if not is_cut and not stretch.is_cut:
            return
        stretch.is_cut = True
        if stretch is self._stretch:
            self._stretch = None
        if not stretch.users:
            with contextlib.suppress(*CUT):
                await stretch.connection.disconnect()
            await self._pool.release(stretch.connection)
