"""What a poll is answered at once: the backlogs of its channels, the status, and what is gone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from trunkline.channels.hub import Hub
from trunkline.gateway.connection import Part
from trunkline.gateway.starting import merge
from trunkline.log.port import PAGE_SIZE, Heads, Log
from trunkline.model.channel import ChannelKey
from trunkline.model.identity import Viewer
from trunkline.model.interest import Interest
from trunkline.wire.poll import resolve
from trunkline.wire.poll_reply import encode_gap, encode_poll_message, encode_status

#: Bytes of messages after which an answer is cut; the client asks for the rest with its next poll.
MAX_BYTES: Final = 1024 * 1024


class PollBacklog:
    """Collect the immediate answer to a poll.

    It ends at one moment of the line, whose heads were read after the hub was told to keep what
    comes later. A long answer is cut, and knows from where each channel goes on.

    Args:
        log: The log.
        hub: Knows the filters.
        viewer: Who asks.
        tells_gaps: Whether the client asked to be told of gaps.
        max_bytes: Where to cut.

    Attributes:
        elements: The messages, encoded, in the order of the answer.
        parts: From where on each channel is still to be told.
    """

    def __init__(
        self,
        log: Log,
        hub: Hub,
        viewer: Viewer,
        *,
        tells_gaps: bool,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.elements: list[bytes] = []
        self._log = log
        self._hub = hub
        self._viewer = viewer
        self._tells_gaps = tells_gaps
        self._room = max_bytes
        self._heads = Heads({}, 0, "")
        self._parts: list[Part] = []
        self._status: dict[str, int] = {}
        self._trimmed: dict[str, int] = {}
        self._reset: dict[str, int] = {}

    @property
    def parts(self) -> list[Part]:
        """Return from where on each channel is still to be told, ascending."""
        return merge(self._parts)

    @property
    def epoch(self) -> str:
        """Return the epoch of the parts."""
        return self._heads.epoch

    async def collect(
        self, wanted: Mapping[str, int | None], keys: Mapping[str, ChannelKey]
    ) -> None:
        """Read what there is.

        Args:
            wanted: Channel to the position the client gave, in request order.
            keys: The keys of those it may read; the others look empty.

        Raises:
            LogError: The log cannot be read.
        """
        self._heads = await self._log.last_ids(keys.values())
        for name, position in wanted.items():
            key = keys.get(name)
            if key is None:
                if resolve(position, 0).wants_status:
                    self._status[name] = 0
            else:
                await self._collect_channel(name, key, position)
        gaps = [encode_gap(self._trimmed)] if self._trimmed else []
        if self._reset:
            gaps.append(encode_gap(self._reset, "reset"))
        if self._tells_gaps:
            self.elements[:0] = gaps
        if self._status:
            self.elements.append(encode_status(self._status))

    async def _collect_channel(self, name: str, key: ChannelKey, position: int | None) -> None:
        last = self._heads.ids[key]
        resolution = resolve(position, last)
        if resolution.wants_status:
            self._status[name] = last
            if position is not None and position > last:
                self._reset[name] = last
        after = resolution.after
        is_exact = position is not None and position > 0
        withheld = False
        while after < last and self._room > 0:
            page = await self._log.read(key, after, PAGE_SIZE)
            if is_exact and after < page.floor:
                self._trimmed[name] = page.floor
            after = max(page.upto, page.floor)
            for record in page.records:
                if record.global_id > self._heads.head or self._room <= 0:
                    after = record.message_id - 1
                    break
                self._room -= len(record.data)
                if self._hub.entry(record, page.epoch).is_visible_to(self._viewer):
                    self.elements.append(encode_poll_message(record))
                else:
                    withheld = True
            if page.records and page.records[0].global_id > self._heads.head:
                break
        if withheld:
            self._status[name] = min(after, last)
        self._parts.append(Part(await self._place(key, after, last), Interest(frozenset({key}))))

    async def _place(self, key: ChannelKey, after: int, last: int) -> int:
        """Find the place of the line from which a channel goes on."""
        if after >= last:
            return self._heads.head
        page = await self._log.read(key, after, 1)
        if not page.records:
            return self._heads.head
        return min(page.records[0].global_id - 1, self._heads.head)
