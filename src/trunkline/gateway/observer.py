"""What operators may know: how every process of the line is doing, and what it holds.

Nothing is written while nobody looks. A look asks all processes over a channel of Trunkline's own;
each answers with a row about itself, and rows are forgotten when they grow old.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections import Counter
from typing import Any, Final

import msgspec

from trunkline.gateway.connection import Connection, State
from trunkline.gateway.context import Context
from trunkline.gateway.intercom import ASK, TELL
from trunkline.gateway.switchboard import Switchboard
from trunkline.log.port import ChannelState
from trunkline.model.channel import ChannelKey
from trunkline.model.release import VERSION

MAX_CONNECTIONS: Final = 100
MAX_CHANNELS: Final = 20
CHANNELS_PER_PAGE: Final = 200
ROW_AGE: Final = 15.0
ASK_EVERY: Final = 0.5
ANSWER_WITHIN: Final = 0.4


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """Describe one process.

    Args:
        process: Tells it from others, also of the same pid.
        pid: Its process id.
        host: Its machine's name.
        version: Of Trunkline.
        started_at: When its gateway was made, Unix seconds.
        connections_total: Streams, sockets and held polls.
        by_transport: The same, by transport.
        hub: Its position, how many messages of the line it has not dispatched yet, its tracks,
            and the bytes it holds in memory.
        connections: Some of the connections.
    """

    process: str
    pid: int
    host: str
    version: str
    started_at: float
    connections_total: int
    by_transport: dict[str, int]
    hub: dict[str, Any]
    connections: list[dict[str, Any]]


class Observer:
    """Describe this process, and hear how the others are.

    Args:
        context: What the gateway's endpoints share.
        board: Holds this process's connections.

    Attributes:
        spoken: How many of the line's messages were about diagnostics, since it began to hear.
    """

    def __init__(self, context: Context, board: Switchboard) -> None:
        self._context = context
        self._board = board
        self._intercom = context.intercom
        self._process = secrets.token_hex(6)
        self._started_at = context.clock.now()
        self._rows: dict[str, tuple[Row, float]] = {}
        self._asked_at = float("-inf")
        self._told_at = float("-inf")
        self._news = asyncio.Event()
        self.spoken = 0
        self._intercom.on(ASK, self._hear_ask)
        self._intercom.on(TELL, self._hear_tell)

    async def look(self) -> list[dict[str, Any]]:
        """Ask every process how it is.

        Returns:
            Their rows, this process's own first.

        Raises:
            LogError: The log cannot be read or written.
        """
        clock = self._context.clock
        await self._intercom.open()
        if clock.monotonic() - self._asked_at >= ASK_EVERY:
            self._asked_at = clock.monotonic()
            await self._intercom.say(ASK, {"process": self._process})
            await self._await_answers()
        now = clock.monotonic()
        own = await self.describe()
        others = (row for row, at in self._rows.values() if now - at <= ROW_AGE)
        rows = [own, *(row for row in others if row.process != self._process)]
        return [{**msgspec.to_builtins(row), "is_self": row is own} for row in rows]

    async def _await_answers(self) -> None:
        """Wait until all that answered lately have answered again, but not for long."""
        asked = self._asked_at
        known = {name for name, (_, at) in self._rows.items() if asked - at <= ROW_AGE}
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                while not known or any(
                    name in self._rows and self._rows[name][1] < asked for name in known
                ):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return

    def _hear_ask(self, data: Any) -> None:  # noqa: ARG002 - it does not matter who asks
        self.spoken += 1
        now = self._context.clock.monotonic()
        if self._context.options.diagnostics and now - self._told_at >= ASK_EVERY / 2:
            self._told_at = now
            self._board.crew.start("diagnostics", self._tell())

    async def _tell(self) -> None:
        row = await self.describe()
        await self._intercom.say(TELL, msgspec.to_builtins(row))

    def _hear_tell(self, data: Any) -> None:
        self.spoken += 1
        row = msgspec.convert(data, Row)
        now = self._context.clock.monotonic()
        self._rows[row.process] = (row, now)
        for name in [name for name, (_, at) in self._rows.items() if now - at > ROW_AGE]:
            del self._rows[name]
        self._news.set()

    async def describe(self) -> Row:
        """Describe this process as it is now."""
        head = (await self._context.log.last_ids(())).head
        hub, held = self._context.hub, self._board.connections
        shown = sorted(held, key=lambda one: one.transport)[:MAX_CONNECTIONS]
        return Row(
            process=self._process,
            pid=os.getpid(),
            host=socket.gethostname(),
            version=VERSION,
            started_at=self._started_at,
            connections_total=len(held),
            by_transport=dict(Counter(one.transport for one in held)),
            hub={
                "position": str(hub.position),
                "lag": max(0, head - hub.head),
                "tracks": len(tuple(hub.tracks)),
                "ring_bytes": hub.ring_size,
            },
            connections=[self._describe_connection(one, head) for one in shown],
        )

    def _describe_connection(self, connection: Connection, head: int) -> dict[str, Any]:
        names = connection.names
        identity = connection.viewer.identity
        return {
            "transport": connection.transport,
            "client_id": connection.viewer.client_id,
            "user_id": identity.user_id,
            "site_id": identity.site_id,
            "channels": names[:MAX_CHANNELS],
            "channels_total": len(names),
            "position": None if connection.position is None else str(connection.position),
            "lag": lag_of(connection, head),
            "since": connection.since,
        }

    async def channels(self, after: ChannelKey | None) -> dict[str, Any]:
        """Describe a page of the line's channels, without Trunkline's own.

        Args:
            after: The last of the page before, or None.
        """
        page = await self._context.log.channels(after, CHANNELS_PER_PAGE)
        last = page[-1].key if len(page) == CHANNELS_PER_PAGE else None
        return {
            "shown": [_channel(one) for one in page if not one.key.is_internal],
            "next": None if last is None else {"name": last.name, "site_id": last.site_id},
        }


def lag_of(connection: Connection, head: int) -> int:
    """Count what a connection has not been told yet: messages, or ids while it reads the log."""
    if connection.position is None:
        return 0
    after = connection.position.global_id
    track = connection.cohort.track if connection.cohort else None
    if connection.state is State.READING or track is None:
        return max(0, head - after) if connection.interest else 0
    return len(track.after(after))


def _channel(state: ChannelState) -> dict[str, Any]:
    return {
        "name": state.key.name,
        "site_id": state.key.site_id,
        "kind": str(state.kind),
        "last_id": state.last_id,
        "floor": state.floor,
        "backlog": state.backlog,
        "published_at": state.published_at,
    }
