"""The layout of Ruby's message_bus: one bus for both, on one Redis, in both directions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from trunkline.errors import ProtocolError
from trunkline.log.paging import site_order
from trunkline.log.port import PAGE_BYTES, ChannelState, Group, Heads, Page
from trunkline.log.redis.bus_turns import BusTurn
from trunkline.log.redis.envelope import NO_TIME, decode_name, decode_text, encode_name
from trunkline.log.redis.link import Link
from trunkline.log.redis.native import MERGE_CHANNELS_UPTO, SCAN_FACTOR, SCAN_LEAST, SCAN_MOST
from trunkline.log.redis.scripts import Script, load_script
from trunkline.log.retention import Retention
from trunkline.model.channel import ChannelKey, Kind
from trunkline.model.interest import Interest
from trunkline.model.message import Record

logger = logging.getLogger(__name__)


def _script(name: str, *more: str) -> Script:
    return load_script("shared_bus", name, "verify_line", *more)


READ_CHANNEL: Final = _script("read_channel", "find_floors")
READ_LINE: Final = _script("read_line", "find_floors")
MERGE_CHANNELS: Final = _script("merge_channels", "find_floors")
READ_HEADS: Final = _script("read_heads")
READ_STATES: Final = _script("read_states", "find_floors")
TRIM_CHANNEL: Final = _script("trim_channel")
RESET_LINE: Final = _script("reset_line")

COUNTERS: Final = "__mb_backlog_id_n_"
MAX_ID: Final = 2**53 - 1


class MessageBusLayout:
    """Keep a line where Ruby's message_bus keeps its own.

    Args:
        link: The server.
        retention: Which limits hold; ages are those of whole channels without a publish.
        firehose: The ``db`` option, which names the pub/sub channel, as in Ruby.
        max_global_backlog_size: Pointers kept in the global backlog.
    """

    def __init__(
        self, link: Link, *, retention: Retention, firehose: int, max_global_backlog_size: int
    ) -> None:
        self._link = link
        self._retention = retention
        self.news_channel = f"_message_bus_{firehose}"
        self._fixed = (max_global_backlog_size, self.news_channel)

    def encode(self, requests: Sequence[Sequence[Group]], token: str, number: int) -> BusTurn:
        """Prepare a turn."""
        return BusTurn(requests, token, number, retention=self._retention, fixed=self._fixed)

    def news_head(self, payload: bytes) -> tuple[int, str] | None:
        """Read the global id that a published message begins with."""
        head = payload.partition(b"|")[0]
        return (int(head), "") if head.isdigit() else None

    async def channel_page(self, channel: ChannelKey, after: int, limit: int) -> Page:
        """Read a page of one channel."""
        after = min(max(after, 0), MAX_ID)
        reply = await self._link.read(READ_CHANNEL, encode_name(channel), after, limit, PAGE_BYTES)
        floor, last_id, is_whole = reply[3:6]
        upto = last_id if is_whole else int(reply[-1].split(b"|", 2)[1])
        return Page(_records(reply[6:]), floor, last_id, upto, reply[0].decode())

    async def line_page(self, after: int, limit: int, interest: Interest | None) -> Page:
        """Read a page of all wanted channels."""
        after = min(max(after, 0), MAX_ID)
        if interest is None:
            return await self._scan(after, limit, limit, lambda _: True)
        if not interest.patterns and len(interest.keys) <= MERGE_CHANNELS_UPTO:
            names = [encode_name(key) for key in interest.keys]
            reply = await self._link.read(MERGE_CHANNELS, after, limit, PAGE_BYTES, names)
            floor, upto = reply[3:5]
            return Page(_records(reply[5:]), floor, reply[1], upto, reply[0].decode())
        scan = min(max(SCAN_LEAST, limit * SCAN_FACTOR), max(SCAN_MOST, limit))
        return await self._scan(after, limit, scan, interest.includes)

    async def _scan(
        self, after: int, limit: int, scan: int, includes: Callable[[ChannelKey], bool]
    ) -> Page:
        reply = await self._link.read(READ_LINE, after, scan, PAGE_BYTES)
        upto, floor, count = reply[3:6]
        for i in range(6, 6 + 2 * count, 2):
            if reply[i] > floor and includes(decode_name(reply[i + 1].decode())):
                floor = reply[i]
        wanted = [one for one in _records(reply[6 + 2 * count :]) if includes(one.channel)]
        if len(wanted) > limit:
            wanted = wanted[:limit]
            upto = wanted[-1].global_id
        return Page(wanted, floor, reply[1], upto, reply[0].decode())

    async def heads(self, channels: Iterable[ChannelKey]) -> Heads:
        """Read the last ids of some channels and of the line."""
        keys = list(channels)
        reply = await self._link.read(READ_HEADS, [encode_name(key) for key in keys])
        return Heads(dict(zip(keys, reply[3:], strict=True)), reply[1], reply[0].decode())

    async def states(self, after: ChannelKey | None, limit: int) -> Sequence[ChannelState]:
        """Describe channels in the order of (site, name)."""
        names = await self._link.scan(f"{COUNTERS}*")
        keys = sorted({decode_name(name.removeprefix(COUNTERS)) for name in names}, key=site_order)
        start = None if after is None else site_order(after)
        keys = [key for key in keys if start is None or site_order(key) > start][:limit]
        reply = await self._link.read(READ_STATES, [encode_name(key) for key in keys])
        return [
            ChannelState(key, Kind.PLAIN, last_id, floor, NO_TIME)
            for key, last_id, floor in zip(keys, reply[3::2], reply[4::2], strict=True)
        ]

    async def trim(self, channel: ChannelKey, upto: int) -> int:
        """Delete a channel's messages up to a message id; return how many."""
        upto = min(max(upto, 0), MAX_ID)
        reply = await self._link.read(TRIM_CHANNEL, encode_name(channel), upto)
        return int(reply[3])

    async def sweep(self) -> int:
        """Do nothing: in this layout Redis lets whole channels expire by itself."""
        return 0

    async def reset(self) -> str:
        """Erase everything and start a new epoch."""
        reply = await self._link.read(RESET_LINE)
        return str(reply[0].decode())


def _records(texts: Iterable[Any]) -> list[Record]:
    """Decode messages; what nobody could deliver is passed over and told."""
    records: list[Record] = []
    for text in texts:
        try:
            records.append(decode_text(text))
        except ProtocolError as error:
            logger.warning("a stored message is passed over: %s", error)
    return records
