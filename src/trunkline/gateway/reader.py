"""Pages of the log for connections that memory cannot feed: newcomers from afar, and slow ones.

Connections that stand at the same place and want the same share one page. A few tasks read, as
long as somebody waits; what they read is written in the pump's slices. A connection that refuses
a write leaves, and asks again when it can be written to.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from trunkline.channels.catchup import Arrival, Gap, arrive
from trunkline.errors import LogError
from trunkline.gateway.connection import Board, Connection, State
from trunkline.gateway.framing import Framing
from trunkline.gateway.stretch import Stretch, cut
from trunkline.log.port import Log
from trunkline.model.channel import ChannelKey
from trunkline.model.interest import Interest
from trunkline.model.position import Position
from trunkline.runtime.clock import jitter

logger = logging.getLogger("trunkline.gateway")

WORKERS: Final = 8
PAGE: Final = 500
RETRY_AFTER: Final = 0.5


class Need(NamedTuple):
    """Say what a connection must read; connections with equal needs share a page.

    Args:
        interest: What it reads now.
        position: From where.
        upto: The last place it may read in this go, None for no bound.
        framing: How it is written to.
        is_guarded: Whether access is asked per message.
        told: The floor of the last gap they were told of for this interest.
    """

    interest: Interest
    position: Position
    upto: int | None
    framing: Framing
    is_guarded: bool
    told: int


class Reader:
    """Read pages for connections that are catching up.

    Args:
        board: Where connections go that have caught up.
        log: The log.
    """

    def __init__(self, board: Board, log: Log) -> None:
        self._board = board
        self._log = log
        self._needs: dict[Need, list[Connection]] = {}
        self._busy = 0

    @property
    def waiting(self) -> int:
        """Count the connections that wait for a page."""
        return sum(map(len, self._needs.values()))

    def want(self, connection: Connection) -> None:
        """Read a page for *connection*, which must be in the state ``READING``."""
        need = need_of(connection)
        self._needs.setdefault(need, []).append(connection)
        if self._busy < WORKERS:
            self._busy += 1
            self._board.crew.start("reading for connections", self._work())

    async def _work(self) -> None:
        try:
            while self._needs:
                need = next(iter(self._needs))
                connections = self._needs.pop(need)
                try:
                    await self._serve(need, connections)
                except LogError as error:
                    logger.warning("cannot read for connections, trying again: %s", error)
                    await asyncio.sleep(jitter(RETRY_AFTER))
                    self._needs.setdefault(need, []).extend(connections)
        finally:
            self._busy -= 1

    async def _serve(self, need: Need, connections: Sequence[Connection]) -> None:
        page = await self._log.read_all(need.position.global_id, PAGE, need.interest)
        arrival = arrive(need.position, page, told=need.told)
        gap = arrival.gap
        floors = await self._floors(need, gap) if gap and need.framing.needs_floors else {}
        delivery = Delivery(self._board, need, connections, arrival, floors)
        self._board.pump.schedule(delivery)

    async def _floors(self, need: Need, gap: Gap) -> Mapping[str, int]:
        """Find the channels that lost something, each with its newest lost message id."""
        if gap.reason == "reset":
            return {}
        floors: dict[str, int] = {}
        for key in sorted(need.interest.keys, key=lambda key: key.name):
            only = Interest(frozenset({key}))
            lost = await self._log.read_all(need.position.global_id, 1, only)
            if lost.floor > need.position.global_id:
                floors[key.name] = await self._floor(key)
        return floors

    async def _floor(self, key: ChannelKey) -> int:
        return (await self._log.read(key, 0, 1)).floor


class Delivery:
    """Write a page to those who wait for it.

    Args:
        board: Where connections go from here.
        need: What they needed.
        connections: They.
        arrival: What the page means to them.
        floors: What a gap has lost, by channel.
    """

    def __init__(
        self,
        board: Board,
        need: Need,
        connections: Sequence[Connection],
        arrival: Arrival,
        floors: Mapping[str, int],
    ) -> None:
        self.is_queued = False
        self._board = board
        self._need = need
        self._left = deque(connections)
        self._gap = arrival.gap
        self._floors = floors
        upto = need.upto
        end, records = arrival.position, arrival.records
        if upto is not None and end.epoch == need.position.epoch and end.global_id >= upto:
            records = [record for record in records if record.global_id <= upto]
            end = Position(end.epoch, upto)
        entries = [board.hub.entry(record, end.epoch) for record in records]
        self._pieces = cut(entries, end, need.framing, is_guarded=need.is_guarded)

    def step(self, until: float) -> bool:
        """Serve connections, until none is left or the time is up."""
        while self._left:
            connection = self._left.popleft()
            # Between asking and now it may have ended, subscribed to more, or asked twice.
            if connection.state is State.READING and need_of(connection) == self._need:
                self._serve(connection)
            if self._board.pump.now() >= until:
                break
        return bool(self._left)

    def _serve(self, connection: Connection) -> None:
        if not connection.sink.is_writable:
            return  # it asks again when it is
        if self._gap is not None:
            self._announce(connection, self._gap)
            if connection.state is not State.READING or not connection.sink.is_writable:
                return
        for piece in self._pieces:
            if not self._tell(connection, piece):
                return
        self._board.advance(connection)

    def _announce(self, connection: Connection, gap: Gap) -> None:
        connection.write([connection.gap_frame(gap, self._floors)])
        if gap.reason == "reset":
            connection.start_over()
        else:
            # What is left before the floor follows; without this it would be told again and again.
            connection.told = (connection.active, gap.floor)
        connection.move_to(gap.position)

    def _tell(self, connection: Connection, piece: Stretch) -> bool:
        unsure = piece.tell(connection)
        if connection.state is not State.READING:  # a held poll has got its answer
            return False
        if unsure is not None:
            self._board.ask(connection, unsure)
            return False
        # Not writable any more, even at the end of the page: who resumes looks what is next.
        return connection.sink.is_writable


def need_of(connection: Connection) -> Need:
    """Return what a connection must read now."""
    position = connection.position
    assert position is not None  # noqa: S101 - a connection reads only after it has a place
    upto = connection.parts[0].after if connection.parts else None
    about, floor = connection.told
    told = floor if about == connection.active else 0
    return Need(connection.active, position, upto, connection.framing, connection.is_guarded, told)
