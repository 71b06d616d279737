"""The Redis engine's face: the port's methods, handed to those who do the work."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

from trunkline.log.finding import Finding
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
from trunkline.log.redis.appends import Appends
from trunkline.log.redis.examination import examine
from trunkline.log.redis.layout import Layout
from trunkline.log.redis.link import Link
from trunkline.log.redis.location import MESSAGE_BUS, SCHEMES, Location, parse_location
from trunkline.log.redis.message_bus import MessageBusLayout
from trunkline.log.redis.native import NativeLayout
from trunkline.log.redis.news import News
from trunkline.log.retention import Retention
from trunkline.log.watchers import Watchers
from trunkline.model.channel import ChannelKey
from trunkline.model.interest import Interest
from trunkline.runtime.clock import Clock
from trunkline.runtime.crew import Crew


class _Parts(Possession):
    """Hold what exists only while the log is open."""

    def __init__(self, link: Link, layout: Layout, appends: Appends) -> None:
        super().__init__()
        self.link = link
        self.layout = layout
        self.appends = appends
        self.crew = Crew("redis log")
        self.news: News | None = None


class RedisLog(Log):
    """Keep the line on a Redis server, which many processes share.

    Args:
        location: The server and how to use it.
        retention: Asked at every trim.
        clock: Tells the time.
    """

    schemes: ClassVar[tuple[str, ...]] = SCHEMES
    keeps_streams: ClassVar[bool] = False

    def __init__(self, location: Location, *, retention: Retention, clock: Clock) -> None:
        self._location = location
        self._retention = retention
        self._clock = clock
        self._watchers = Watchers()
        self._parts: _Parts | None = None
        self._heard = (-1, "")

    @classmethod
    def from_url(
        cls, url: str, *, retention: Retention, clock: Clock, options: Mapping[str, Any]
    ) -> Self:
        """Make a log from ``redis://``, ``rediss://`` or ``redis+sentinel://``."""
        return cls(parse_location(url, options), retention=retention, clock=clock)

    @classmethod
    def examine(cls, url: str, options: Mapping[str, Any]) -> Sequence[Finding]:
        """Look at the server and its settings, and change nothing."""
        return examine(parse_location(url, options))

    async def open(self) -> None:
        """Connect, see that the server will do, and found the line if there is none."""
        if self._parts is not None:
            return
        location, tuning = self._location, self._location.tuning
        link = Link(location, tuning.prefix)
        await link.open()
        layout = self._make_layout(link)
        appends = Appends(
            link,
            layout,
            tuning=tuning,
            clock=self._clock,
            told=lambda: self._hear(link.seen.head, link.seen.epoch),
        )
        try:
            await layout.heads(())
        except BaseException:
            await link.close()
            raise
        parts = _Parts(link, layout, appends)
        await parts.crew.open()
        parts.crew.start("appends", appends.run, finishes=True)
        self._watchers.bind(asyncio.get_running_loop())
        self._parts = parts
        if self._watchers:
            self._listen(parts)

    def _make_layout(self, link: Link) -> Layout:
        location, tuning = self._location, self._location.tuning
        if tuning.layout == MESSAGE_BUS:
            return MessageBusLayout(
                link,
                retention=self._retention,
                firehose=location.firehose,
                max_global_backlog_size=tuning.max_global_backlog_size,
            )
        return NativeLayout(link, tuning.prefix, retention=self._retention, clock=self._clock)

    async def close(self) -> None:
        """Finish accepted appends, then release the connections."""
        parts, self._parts = self._parts, None
        if parts is None or not parts.is_ours:
            return
        self._watchers.clear()
        parts.appends.close()
        if parts.news is not None:
            parts.news.stop()
        await parts.crew.close(grace=self._location.tuning.queue_timeout)
        parts.appends.abandon()
        await parts.link.close()

    async def append(self, groups: Sequence[Group]) -> Sequence[Outcome]:
        """Store groups of drafts, each whole or not at all."""
        return await self._open_parts().appends.put(groups)

    async def read(self, channel: ChannelKey, after: int, limit: int = PAGE_SIZE) -> Page:
        """Return messages of one channel with ids above *after*."""
        return await self._layout().channel_page(channel, after, limit)

    async def read_all(
        self, after: int, limit: int = PAGE_SIZE, interest: Interest | None = None
    ) -> Page:
        """Return messages of all wanted channels with global ids above *after*."""
        return await self._layout().line_page(after, limit, interest)

    async def last_ids(self, channels: Iterable[ChannelKey]) -> Heads:
        """Return the last ids of *channels* and of the line."""
        return await self._layout().heads(channels)

    async def channels(
        self, after: ChannelKey | None = None, limit: int = PAGE_SIZE
    ) -> Sequence[ChannelState]:
        """Describe channels in the order of (site, name)."""
        return await self._layout().states(after, limit)

    async def trim(self, channel: ChannelKey, upto: int) -> int:
        """Make a plain channel's messages with ids ≤ *upto* unreadable."""
        refuse_stream(channel)
        return await self._layout().trim(channel, upto)

    async def sweep(self) -> int:
        """Apply the limits by age, idleness and line size, and delete what trimming hid."""
        return await self._layout().sweep()

    async def reset(self) -> str:
        """Erase everything and start a new epoch."""
        epoch = await self._layout().reset()
        self._hear(0, epoch)
        return epoch

    def watch(self, wake: Wake) -> Cancel:
        """Call *wake* after every turn of this process, and when others tell of theirs."""
        remove = self._watchers.add(wake)
        if self._parts is not None:
            self._listen(self._parts)
        return remove

    def _listen(self, parts: _Parts) -> None:
        if parts.news is not None:
            return
        parts.news = News(
            parts.link,
            parts.layout,
            poll_interval=self._location.tuning.poll_interval,
            hear=self._hear,
            stir=self._watchers.wake_now,
        )
        parts.crew.start("news", parts.news.run)

    def _hear(self, head: int, epoch: str) -> bool:
        """Wake the watchers for news, unless they were woken for it already."""
        heard_head, heard_epoch = self._heard
        epoch = epoch or heard_epoch
        if epoch == heard_epoch and head <= heard_head:
            return False
        self._heard = (head, epoch)
        self._watchers.wake_now()
        return True

    def _layout(self) -> Layout:
        return self._open_parts().layout

    def _open_parts(self) -> _Parts:
        return possessed(self._parts)
