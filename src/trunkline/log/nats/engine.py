"""The NATS engine's face: the port's methods, handed to those who do the work."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Self

from trunkline.errors import LogError
from trunkline.log.finding import Finding
from trunkline.log.nats.address import Address, parse_address
from trunkline.log.nats.appends import Appends
from trunkline.log.nats.connection import GuestWire, Wire, connect
from trunkline.log.nats.courier import Courier
from trunkline.log.nats.examination import check_server, examine
from trunkline.log.nats.finding import Finder
from trunkline.log.nats.jetstream import JetStream
from trunkline.log.nats.line import Line
from trunkline.log.nats.marks import Marks
from trunkline.log.nats.news import News
from trunkline.log.nats.pages import Pages
from trunkline.log.nats.shipping import Shipper
from trunkline.log.nats.upkeep import Upkeep
from trunkline.log.paging import refuse_stream
from trunkline.log.port import (
    PAGE_SIZE,
    Cancel,
    ChannelState,
    Group,
    Heads,
    Log,
    Outcome,
    Page,
    Wake,
)
from trunkline.log.possession import Possession, possessed
from trunkline.log.retention import Retention
from trunkline.log.watchers import Watchers
from trunkline.model.channel import ChannelKey
from trunkline.model.interest import Interest
from trunkline.runtime.clock import Clock
from trunkline.runtime.crew import Crew


class _Forks:
    """Count how often the process was forked to become what it is; cheaper than asking its id."""

    def __init__(self) -> None:
        self.count = 0
        os.register_at_fork(after_in_child=self._add)

    def _add(self) -> None:
        self.count += 1


_forks = _Forks()


class _Parts(Possession):
    """Hold what exists only while the log is open."""

    def __init__(self, wire: Wire, courier: Courier, line: Line, crew: Crew) -> None:
        super().__init__()
        self._forks = _forks.count
        self.wire = wire
        self.courier = courier
        self.line = line
        self.crew = crew
        self.shipper: Shipper
        self.appends: Appends
        self.pages: Pages
        self.upkeep: Upkeep
        self.news: News

    @property
    def is_ours(self) -> bool:
        """Tell whether this process opened it, by what is quicker to ask than a process's id."""
        return self._forks == _forks.count

    def lose(self) -> None:
        """Settle what was under way when the connection broke."""
        self.line.lose()
        self.courier.lose()

    def found(self) -> None:
        """Let those go on who wait for the connection."""
        self.courier.found()


class NatsLog(Log):
    """Keep the line in NATS JetStream, which several processes and machines share.

    Args:
        address: Where it is.
        retention: Asked at every trim.
        clock: Tells the time.
    """

    schemes: ClassVar[tuple[str, ...]] = ("nats", "tls")
    keeps_streams: ClassVar[bool] = False

    def __init__(self, address: Address, *, retention: Retention, clock: Clock) -> None:
        self._address = address
        self._retention = retention
        self._clock = clock
        self._watchers = Watchers()
        self._parts: _Parts | None = None

    @classmethod
    def from_url(
        cls, url: str, *, retention: Retention, clock: Clock, options: Mapping[str, Any]
    ) -> Self:
        """Make a log from ``nats://a:4222,b:4222,c:4222`` or ``tls://…``."""
        return cls(parse_address(url, options), retention=retention, clock=clock)

    @classmethod
    def examine(cls, url: str, options: Mapping[str, Any]) -> Sequence[Finding]:
        """Look at the servers and the line's streams, and change nothing."""
        return examine(parse_address(url, options))

    async def open(self) -> None:
        """Connect, and make what is missing."""
        if self._parts is not None:
            return
        address = self._address
        parts: list[_Parts] = []
        wire = await self._connect(parts)
        crew = Crew("nats line")
        try:
            await crew.open()
            if isinstance(wire, GuestWire):
                crew.start("sending", wire.run)
            check_server(address, wire.client)
            courier = Courier(wire, self._clock)
            await courier.open()
            jet = JetStream(courier, address.api_prefix)
            line = Line(
                address,
                courier=courier,
                jet=jet,
                retention=self._retention,
                clock=self._clock,
            )
            await line.open()
        except BaseException:
            await crew.close()
            await wire.close()
            raise
        self._watchers.bind(asyncio.get_running_loop())
        line.told = self._watchers.wake
        made = _Parts(wire, courier, line, crew)
        parts.append(made)
        self._start(made, jet)
        self._parts = made

    async def _connect(self, parts: list[_Parts]) -> Wire:
        client = self._address.client
        if client is None:
            return await connect(
                self._address,
                lost=lambda: _each(parts, _Parts.lose),
                found=lambda: _each(parts, _Parts.found),
            )
        if not client.is_connected:
            raise LogError("the NATS client that was given is not connected: connect it first")
        return GuestWire(client)

    def _start(self, parts: _Parts, jet: JetStream) -> None:
        address, line = self._address, parts.line
        finder = Finder(jet)
        marks = Marks(line, jet, finder)
        parts.pages = Pages(line, jet, marks, finder)
        parts.upkeep = Upkeep(
            jet,
            parts.pages,
            marks=marks,
            retention=self._retention,
            clock=self._clock,
            doubt=address.timeout,
        )
        parts.news = News(
            parts.wire, line, marks=marks, pages=parts.pages, wake=self._watchers.wake
        )
        parts.shipper = Shipper(
            line,
            jet,
            parts.courier,
            retention=self._retention,
            clock=self._clock,
            timeout=address.timeout,
        )
        parts.shipper.judge.contested = parts.news.want
        parts.shipper.judge.hears = lambda: parts.news.is_hearing
        parts.appends = Appends(
            line,
            parts.shipper,
            clock=self._clock,
            max_payload=parts.wire.client.max_payload,
            told=partial(self._tell, parts),
        )
        parts.crew.start("news", parts.news.run)
        if self._watchers:
            parts.news.want()

    def _tell(self, parts: _Parts) -> None:
        """Take it that something was appended; when others append too, hear of what they do."""
        self._watchers.wake()
        if parts.line.era.has_holes:
            parts.news.want()

    async def close(self) -> None:
        """Finish accepted appends, then release the connection."""
        parts, self._parts = self._parts, None
        if parts is None or not parts.is_ours:
            return
        await parts.appends.drain()
        self._watchers.clear()
        await parts.crew.close()
        parts.courier.close()
        await parts.wire.close()

    def append(self, groups: Sequence[Group]) -> Coroutine[Any, Any, Sequence[Outcome]]:
        """Store groups of drafts, each whole or not at all."""
        # Handing the coroutine on, rather than awaiting it, costs no frame per call.
        return self._open_parts().appends.put(groups)

    async def read(self, channel: ChannelKey, after: int, limit: int = PAGE_SIZE) -> Page:
        """Return messages of one channel with ids above *after*."""
        parts = self._open_parts()
        call = partial(parts.pages.channel, key=channel, after=after, limit=limit)
        return await parts.line.persist(call)

    async def read_all(
        self, after: int, limit: int = PAGE_SIZE, interest: Interest | None = None
    ) -> Page:
        """Return messages of all wanted channels with global ids above *after*."""
        parts = self._open_parts()
        call = partial(parts.pages.line, after=after, limit=limit, interest=interest)
        return await parts.line.persist(call)

    async def last_ids(self, channels: Iterable[ChannelKey]) -> Heads:
        """Return the last ids of *channels* and of the line."""
        parts = self._open_parts()
        return await parts.line.persist(partial(parts.pages.heads, keys=list(channels)))

    async def trim(self, channel: ChannelKey, upto: int) -> int:
        """Make a plain channel's messages with ids ≤ *upto* unreadable."""
        refuse_stream(channel)
        parts = self._open_parts()
        return await parts.line.persist(partial(parts.upkeep.trim, key=channel, upto=upto))

    async def sweep(self) -> int:
        """Apply the limits by age, idleness and line size, and delete what trimming hid."""
        parts = self._open_parts()
        return await parts.line.persist(parts.upkeep.sweep)

    async def reset(self) -> str:
        """Erase everything and start a new epoch."""
        parts = self._open_parts()
        return await parts.line.persist(lambda _: parts.line.reset())

    async def channels(
        self, after: ChannelKey | None = None, limit: int = PAGE_SIZE
    ) -> Sequence[ChannelState]:
        """Describe channels in the order of (site, name)."""
        parts = self._open_parts()
        return await parts.line.persist(partial(parts.upkeep.channels, after=after, limit=limit))

    def watch(self, wake: Wake) -> Cancel:
        """Call *wake* when the servers tell of something new."""
        remove = self._watchers.add(wake)
        if self._parts is not None:
            self._parts.news.want()
        return remove

    def _open_parts(self) -> _Parts:
        return possessed(self._parts)


def _each(parts: Sequence[_Parts], tell: Callable[[_Parts], None]) -> None:
    """Tell the log's parts, once there are any."""
    for one in parts:
        tell(one)
