"""What a process keeps in memory of the newest messages: decoded once, framed once, shared by all.

Entries hang in tracks, one for each distinct interest, so that a thousand readers with the same
interest walk one list. Readers hold a position, never a queue.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable

from trunkline.channels.catchup import Window
from trunkline.channels.filters import MessageFilter
from trunkline.model.audience import Audience
from trunkline.model.channel import ChannelKey
from trunkline.model.identity import Viewer
from trunkline.model.interest import Interest
from trunkline.model.message import Message, Record, decode_audience, message_of

ENTRY_OVERHEAD = 512
_COMPACT_AT = 256

Wake = Callable[[], None]


class Entry:
    """Be one message on its way through this process.

    Args:
        record: As the log keeps it.
        epoch: The epoch it was read under.
        filters: The message filters that apply to its channel.

    Attributes:
        frames: Its encoded forms, by transport, filled by whoever needs one first.
        is_public: Whether every viewer of the channel may see it, so that bytes can be shared.
    """

    __slots__ = (
        "_filters",
        "_message",
        "audience",
        "epoch",
        "frames",
        "global_id",
        "is_public",
        "record",
        "tracks",
    )

    def __init__(self, record: Record, epoch: str, filters: tuple[MessageFilter, ...] = ()) -> None:
        self.record = record
        self.epoch = epoch
        self.global_id = record.global_id
        self.audience: Audience | None = decode_audience(record.audience)
        self.is_public = self.audience is None and not filters
        self.frames: dict[str, bytes] = {}
        self.tracks: tuple[Track, ...] = ()
        self._filters = filters
        self._message: Message | None = None

    @property
    def key(self) -> ChannelKey:
        """Return the channel."""
        return self.record.channel

    @property
    def message(self) -> Message:
        """Return the decoded message, decoding it at the first call."""
        if self._message is None:
            self._message = message_of(self.record, self.epoch)
        return self._message

    @property
    def size(self) -> int:
        """Count the bytes this entry is taken to occupy."""
        record = self.record
        return len(record.data) + len(record.audience or b"") + ENTRY_OVERHEAD

    def is_visible_to(self, viewer: Viewer) -> bool:
        """Tell whether *viewer* may receive the message: audience first, then the filters."""
        if self.is_public:
            return True
        if self.audience is not None and not self.audience.admits(viewer):
            return False
        return all(one.admits(self.message, viewer) for one in self._filters)


class Track:
    """Hold what the ring has for one interest.

    Args:
        interest: What its readers want.
        epoch: The line's epoch.
        since: The global id after which every message of the interest is (or will be) here.
        head: The global id up to which the hub has dispatched.
    """

    __slots__ = ("_entries", "_ids", "_start", "epoch", "head", "interest", "readers", "since")

    def __init__(self, interest: Interest, epoch: str, since: int, head: int) -> None:
        self.interest = interest
        self.readers: dict[Wake, int] = {}
        self.restart(epoch, since, head)

    def restart(self, epoch: str, since: int, head: int) -> None:
        """Forget everything, and hold messages after *since* from now on."""
        self.epoch = epoch
        self.since = since
        self.head = head
        self._entries: list[Entry] = []
        self._ids: list[int] = []
        self._start = 0

    @property
    def window(self) -> Window:
        """Return what the track holds, for :func:`trunkline.channels.catchup.next_step`."""
        return Window(self.epoch, self.since, self.head)

    def __len__(self) -> int:
        return len(self._entries) - self._start

    def append(self, entry: Entry) -> None:
        """Add the newest message."""
        self._entries.append(entry)
        self._ids.append(entry.global_id)

    def drop_first(self, entry: Entry) -> None:
        """Forget the oldest message, which *entry* must be unless the track never held it."""
        if len(self) and self._entries[self._start] is entry:
            self._start += 1
            if self._start >= _COMPACT_AT and self._start * 2 >= len(self._entries):
                del self._entries[: self._start]
                del self._ids[: self._start]
                self._start = 0
        self.since = max(self.since, entry.global_id)

    def after(self, global_id: int, limit: int = 1000) -> list[Entry]:
        """Return at most *limit* messages after *global_id*, oldest first."""
        first = bisect_right(self._ids, global_id, self._start)
        return self._entries[first : first + limit]

    def wake(self) -> None:
        """Tell every reader that the track moved."""
        for wake in tuple(self.readers):
            wake()

    def __repr__(self) -> str:
        return f"<Track {len(self)} in ({self.since}, {self.head}] readers={len(self.readers)}>"


class Ring:
    """Bound the bytes that all tracks together hold; the oldest message goes first.

    Args:
        max_bytes: How much to keep.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.size = 0
        self._entries: deque[Entry] = deque()

    def append(self, entry: Entry) -> None:
        """Keep *entry* in its tracks, and evict what no longer fits."""
        self._entries.append(entry)
        self.size += entry.size
        for track in entry.tracks:
            track.append(entry)
        while self.size > self.max_bytes and len(self._entries) > 1:
            oldest = self._entries.popleft()
            self.size -= oldest.size
            for track in oldest.tracks:
                track.drop_first(oldest)

    def clear(self) -> None:
        """Forget everything; the tracks are restarted by their owner."""
        self._entries.clear()
        self.size = 0

    def __len__(self) -> int:
        return len(self._entries)
