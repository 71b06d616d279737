"""The layout of our own: global order, counters that never expire, epoch, receipts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from trunkline.log.paging import cut
from trunkline.log.port import PAGE_BYTES, ChannelState, Group, Heads, Page
from trunkline.log.redis.link import Link
from trunkline.log.redis.packing import (
    Fronts,
    Unpacker,
    channel_state,
    key_of,
    text_of,
    unpack_state,
)
from trunkline.log.redis.scripts import load_script
from trunkline.log.redis.turns import NativeTurn
from trunkline.log.retention import Retention
from trunkline.model.channel import ChannelKey
from trunkline.model.interest import Interest
from trunkline.runtime.clock import Clock


def _script(name: str, *more: str) -> Any:
    return load_script("native", name, "verify_line", "keep_channels", *more)


READ_CHANNEL: Final = _script("read_channel", "fetch_messages")
READ_LINE: Final = _script("read_line")
MERGE_CHANNELS: Final = _script("merge_channels", "fetch_messages")
READ_HEADS: Final = _script("read_heads")
LIST_CHANNELS: Final = _script("list_channels")
TRIM_CHANNEL: Final = _script("trim_channel")
SWEEP_CHANNELS: Final = _script("sweep_channels")
DROP_OLDEST: Final = _script("drop_oldest")
FORGET_RECEIPTS: Final = _script("forget_receipts")
RESET_LINE: Final = _script("reset_line")

#: Up to so many named channels are read by their indexes; more by a scan of the line.
MERGE_CHANNELS_UPTO: Final = 64
#: Messages that a scan for some channels looks at, at least and at most.
SCAN_LEAST, SCAN_MOST = 200, 1000
SCAN_FACTOR: Final = 20
#: Floors that are looked through in a first attempt, and how many more in each one after it.
FLOORS: Final = 64
FLOORS_FACTOR: Final = 16
SWEEP_CHANNELS_STEP: Final = 200
SWEEP_MESSAGES: Final = 2000
MAX_ID: Final = 2**53 - 1
NEVER: Final = -1


class NativeLayout:
    """Keep a line under a prefix.

    Args:
        link: The server.
        prefix: What every key begins with.
        retention: Which limits hold.
        clock: Tells the time.
    """

    def __init__(self, link: Link, prefix: str, *, retention: Retention, clock: Clock) -> None:
        self._link = link
        self._retention = retention
        self._clock = clock
        self._unpacker = Unpacker()
        self._fronts = Fronts()
        self.news_channel = f"{prefix}news"

    def encode(self, requests: Sequence[Sequence[Group]], token: str, number: int) -> NativeTurn:
        """Prepare a turn."""
        return NativeTurn(
            requests,
            token,
            number,
            now=self._clock.now(),
            retention=self._retention,
            fronts=self._fronts,
        )

    def news_head(self, payload: bytes) -> tuple[int, str] | None:
        """Read head and epoch from a notification."""
        head, _, epoch = payload.partition(b" ")
        return (int(head), epoch.decode()) if head.isdigit() else None

    async def channel_page(self, channel: ChannelKey, after: int, limit: int) -> Page:
        """Read a page of one channel."""
        after = min(max(after, 0), MAX_ID)
        reply = await self._link.read(READ_CHANNEL, text_of(channel), after, limit, PAGE_BYTES)
        floor, last_id, is_whole = reply[3:6]
        records = list(self._unpacker.records(reply[6:]))
        upto = last_id if is_whole else records[-1].message_id
        return Page(records, floor, last_id, upto, reply[0].decode())

    async def line_page(self, after: int, limit: int, interest: Interest | None) -> Page:
        """Read a page of all wanted channels."""
        after = min(max(after, 0), MAX_ID)
        if interest is None:
            return await self._scan(after, limit, limit, lambda _: True)
        if not interest.patterns and len(interest.keys) <= MERGE_CHANNELS_UPTO:
            return await self._merge(after, limit, interest.keys)
        scan = min(max(SCAN_LEAST, limit * SCAN_FACTOR), max(SCAN_MOST, limit))
        return await self._scan(after, limit, scan, interest.includes)

    async def _merge(self, after: int, limit: int, keys: Iterable[ChannelKey]) -> Page:
        texts = [text_of(key) for key in keys]
        reply = await self._link.read(MERGE_CHANNELS, after, limit, PAGE_BYTES, texts)
        records = list(self._unpacker.records(reply[5:]))
        return Page(records, reply[3], reply[1], reply[4], reply[0].decode())

    async def _scan(
        self, after: int, limit: int, scan: int, includes: Callable[[ChannelKey], bool]
    ) -> Page:
        count = FLOORS
        while True:
            reply = await self._link.read(READ_LINE, after, scan, PAGE_BYTES, count)
            found = reply[4]
            floors = reply[5 : 5 + 2 * found]
            floor = next(
                (floors[i] for i in range(0, 2 * found, 2) if includes(key_of(floors[i + 1]))), 0
            )
            if floor or found < count:
                break
            # The page and its floor must be of one moment.
            count *= FLOORS_FACTOR
        wanted: Iterator[Any] = (
            one for one in self._unpacker.records(reply[5 + 2 * found :]) if includes(one.channel)
        )
        records, is_whole = cut(wanted, limit)
        upto = reply[3] if is_whole else records[-1].global_id
        return Page(records, floor, reply[1], upto, reply[0].decode())

    async def heads(self, channels: Iterable[ChannelKey]) -> Heads:
        """Read the last ids of some channels and of the line."""
        keys = list(channels)
        reply = await self._link.read(READ_HEADS, [text_of(key) for key in keys])
        return Heads(dict(zip(keys, reply[3:], strict=True)), reply[1], reply[0].decode())

    async def states(self, after: ChannelKey | None, limit: int) -> Sequence[ChannelState]:
        """Describe channels in the order of (site, name)."""
        found = await self._list("" if after is None else text_of(after), limit)
        return [channel_state(text, state) for text, state in found]

    async def _list(self, after: str, limit: int) -> list[tuple[bytes, bytes]]:
        reply = await self._link.read(LIST_CHANNELS, after, limit)
        return list(zip(reply[3::2], reply[4::2], strict=True))

    async def trim(self, channel: ChannelKey, upto: int) -> int:
        """Hide a channel's messages up to a message id; return how many."""
        upto = min(max(upto, 0), MAX_ID)
        reply = await self._link.read(TRIM_CHANNEL, text_of(channel), upto)
        return int(reply[3])

    async def sweep(self) -> int:
        """Apply the limits that time and the line's size set; return how many were hidden."""
        gone = await self._sweep_channels()
        gone += await self._drop_oldest()
        oldest = self._clock.now() - self._retention.receipt_age
        while (await self._link.read(FORGET_RECEIPTS, oldest, SWEEP_MESSAGES))[3]:
            pass
        return gone

    async def _sweep_channels(self) -> int:
        gone, after = 0, ""
        while found := await self._list(after, SWEEP_CHANNELS_STEP):
            after = found[-1][0].decode()
            due = [one for text, state in found if (one := self._due(text, state))]
            gone += await self._sweep_some(due)
        return gone

    async def _sweep_some(self, due: list[tuple[str, float, float]]) -> int:
        gone = 0
        more = bool(due)
        while more:
            reply = await self._link.read(SWEEP_CHANNELS, due, SWEEP_MESSAGES)
            gone += reply[3]
            more = bool(reply[4])
        return gone

    def _due(self, text: bytes, state: bytes) -> tuple[str, float, float] | None:
        """Say what a sweep shall do to a channel, or None for nothing."""
        channel = unpack_state(state)
        limits = self._retention.limits(key_of(text))
        now = self._clock.now()
        age = limits.max_backlog_age
        idle = limits.max_idle
        too_old: float = NEVER if age is None else max(0.0, now - age)
        too_idle: float = NEVER if idle is None else max(0.0, now - idle)
        is_kept = channel.floor < channel.last_id
        is_due = is_kept and (channel.oldest_at < too_old or channel.published_at < too_idle)
        if not is_due and channel.erased == channel.floor:
            return None
        return (text.decode(), too_old, too_idle)

    async def _drop_oldest(self) -> int:
        gone = 0
        while (cap := self._retention.max_line_size) is not None:
            reply = await self._link.read(DROP_OLDEST, cap, SWEEP_MESSAGES)
            if not reply[3]:
                break
            gone += reply[3]
            await self._sweep_some([(text.decode(), NEVER, NEVER) for text in reply[4:]])
        return gone

    async def reset(self) -> str:
        """Erase everything and start a new epoch."""
        reply = await self._link.read(RESET_LINE)
        return str(reply[0].decode())
