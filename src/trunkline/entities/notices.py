"""Change notices: a channel of Trunkline's own per kind of entity, and what they told lately."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Final
from urllib.parse import quote

from trunkline.channels.drafting import draft_of
from trunkline.channels.hub import Hub
from trunkline.channels.ring import Track
from trunkline.errors import ConfigError, GrammarError
from trunkline.log.port import Log
from trunkline.model.channel import INTERNAL_PREFIX, ChannelKey, check_name
from trunkline.model.entity import EntityKey
from trunkline.model.interest import Interest
from trunkline.model.message import Draft, Record
from trunkline.model.position import Position
from trunkline.wire.entity_sync import encode_notice, parse_notice

MAX_REMEMBERED: Final = 50_000
MAX_PAGES: Final = 10
_SLICE: Final = 1000


def notice_channel(prefix: str, entity: str) -> str:
    """Name the channel that carries the notices of a kind of entity.

    Args:
        prefix: The setting ``entity_prefix``.
        entity: The kind.

    Raises:
        ConfigError: The prefix makes no channel name.
    """
    name = f"{INTERNAL_PREFIX}entities/{prefix}/{quote(entity, safe='')}"
    try:
        return check_name(name, internal=True)
    except GrammarError as error:
        raise ConfigError(f"entity_prefix={prefix!r} makes no channel: {error}") from error


def notice_draft(prefix: str, key: EntityKey) -> Draft:
    """Make the notice that an entity changed; it carries the key and nothing else."""
    channel = notice_channel(prefix, key.entity)
    return draft_of(channel, encode_notice(key), {}, site_id=None, internal=True)


class Recollection:
    """Know which entities of a kind changed after a place of the line, as far back as it goes.

    Args:
        epoch: The line's epoch.
        since: It knows of everything after this global id.
    """

    def __init__(self, epoch: str, since: int) -> None:
        self.epoch = epoch
        self.since = since
        self._last: OrderedDict[str, int] = OrderedDict()

    def note(self, key_id: str, global_id: int) -> None:
        """Remember a change; the oldest are forgotten when there are too many."""
        self._last[key_id] = global_id
        self._last.move_to_end(key_id)
        self._forget()

    def _forget(self) -> None:
        while len(self._last) > MAX_REMEMBERED:
            _, forgotten = self._last.popitem(last=False)
            self.since = max(self.since, forgotten)

    def is_unchanged(self, key_id: str, position: Position) -> bool:
        """Tell whether an entity is known not to have changed after a position."""
        if position.epoch != self.epoch or position.global_id < self.since:
            return False
        return self._last.get(key_id, 0) <= position.global_id

    def extend(self, since: int, older: Sequence[tuple[str, int]]) -> None:
        """Know further back.

        Args:
            since: From where on.
            older: Ids and places of what changed between there and :attr:`since`, ascending.
        """
        merged: OrderedDict[str, int] = OrderedDict()
        for key_id, global_id in older:
            merged[key_id] = global_id
            merged.move_to_end(key_id)
        for key_id, global_id in self._last.items():
            merged[key_id] = global_id
            merged.move_to_end(key_id)
        self._last = merged
        self.since = since
        self._forget()


class NoticeBoard:
    """Hear the notices of one kind of entity, as the hub dispatches them.

    It reads its track where the hub wakes it, so that nothing lies between "the hub's position
    has moved" and "the change is known"; what memory cannot tell counts as a change of everything.

    Args:
        entity: The kind.
        channel: Their channel.
        log: The log.
        hub: This process's hub on it.
        on_change: Called with key and global id of each notice.
        on_loss: Called when some may have been missed.
    """

    def __init__(
        self,
        channel: str,
        log: Log,
        hub: Hub,
        *,
        on_change: Callable[[EntityKey, int], None],
        on_loss: Callable[[], None],
    ) -> None:
        self._interest = Interest(frozenset({ChannelKey(channel)}))
        self._log = log
        self._hub = hub
        self._on_change = on_change
        self._on_loss = on_loss
        self._track: Track | None = None
        self._at = Position("", 0)
        self._opening = asyncio.Lock()
        self._reaching = asyncio.Lock()
        self.recollection = Recollection("", 0)

    async def open(self) -> None:
        """Hear every notice from now on. Idempotent.

        Raises:
            LogError: The log cannot be read.
            LineClosedError: The line is closed.
        """
        if self._track is not None:
            return
        async with self._opening:
            if self._track is None:
                self._track = track = await self._hub.join(self._interest, self._wake)
                self._begin(track)

    def close(self) -> None:
        """Hear no more. Idempotent."""
        track, self._track = self._track, None
        if track is not None:
            self._hub.leave(track, self._wake)

    def _begin(self, track: Track) -> None:
        self._at = Position(track.epoch, track.head)
        self.recollection = Recollection(track.epoch, track.head)

    def _wake(self) -> None:
        track = self._track
        if track is None or self._hub.is_closed:
            return
        at = self._at
        if track.epoch != at.epoch or track.since > at.global_id or track.head < at.global_id:
            self._begin(track)
            self._on_loss()
            return
        while entries := track.after(self._at.global_id, _SLICE):
            for entry in entries:
                self._at = Position(entry.epoch, entry.global_id)
                key = parse_notice(bytes(entry.record.data))
                if key is not None:
                    self.recollection.note(key.id, entry.global_id)
                    self._on_change(key, entry.global_id)
        self._at = Position(track.epoch, max(self._at.global_id, track.head))

    async def reach_back(self, position: Position) -> None:
        """Learn from the log what changed after a position, if it can still be told.

        Raises:
            LogError: The log cannot be read.
        """
        async with self._reaching:
            known = self.recollection
            if position.epoch != known.epoch or position.global_id >= known.since:
                return
            upto, since = known.since, position.global_id
            older: list[tuple[str, int]] = []
            after = since
            for _ in range(MAX_PAGES):
                page = await self._log.read_all(after, interest=self._interest)
                if page.epoch != known.epoch or self.recollection is not known:
                    return
                if known.since != upto:  # it forgot meanwhile: a hole would lie in between
                    return
                since = max(since, page.floor)
                older += _changes(page.records, upto)
                after = page.upto
                if after >= upto or after >= page.head:
                    known.extend(since, older)
                    return


def _changes(records: Iterable[Record], upto: int) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    for record in records:
        key = parse_notice(bytes(record.data))
        if key is not None and record.global_id <= upto:
            found.append((key.id, record.global_id))
    return found
