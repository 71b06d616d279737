"""What this process knows of the line between two resets: channels, floors and the head."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Callable

from trunkline.log.admission import ChannelEntry
from trunkline.log.nats.envelope import Sheet
from trunkline.log.nats.subjects import tail
from trunkline.model.channel import ChannelKey, Kind
from trunkline.model.interest import Interest

#: Channels remembered at most; one more, and all are looked up again as they come.
MAX_ENTRIES = 100_000
#: Global ids remembered of one channel, so that trimming it need not look them up.
MAX_SEQS = 8192
#: Changes of floors remembered before the list is made anew from the floors themselves.
MAX_CHANGES = 200_000
#: Messages remembered beyond one that was not heard of.
MAX_AHEAD = 10_000
#: Interests whose newest floor is remembered.
MAX_INTERESTS = 256


class Entry(ChannelEntry):
    """Be what a writer knows of a channel.

    Args:
        ident: A number for it, in this process.
        key: Name and site.
        subject: Where its messages lie.
    """

    __slots__ = (
        "_base",
        "_seqs",
        "contested",
        "is_amid",
        "keyed_at",
        "last_seq",
        "moved",
        "subject",
    )

    def __init__(self, ident: int, key: ChannelKey, subject: str) -> None:
        super().__init__(ident, key, Kind.PLAIN)
        self.subject = subject
        self.last_seq = 0
        self.keyed_at = 0.0
        #: Until when other writers are expected here, in the clock's monotonic seconds.
        self.contested = 0.0
        #: Whether some of another writer's batch was heard of, and its end was not.
        self.is_amid = False
        #: Called once, when another writer's message is heard of, or the end of its batch.
        self.moved: Callable[[], None] | None = None
        self._base = 0
        self._seqs = array("Q")

    def learn(self, sheet: Sheet) -> bool:
        """Take what the channel's newest message says; tell whether it was new."""
        if sheet.message_id <= self.last_id:
            return False
        self.note(sheet.message_id, sheet.seq)
        self.last_id, self.last_seq = sheet.message_id, sheet.seq
        self.published_at, self.oldest_at = sheet.at, sheet.oldest_at
        self.keyed_at = max(self.keyed_at, sheet.keyed_at)
        self.is_new = False
        self.raise_floor(sheet.floor, sheet.floor_global)
        return True

    def stir(self) -> None:
        """Let who waits for other writers' messages go on."""
        self.is_amid = False
        if self.moved is not None:
            moved, self.moved = self.moved, None
            moved()

    def raise_floor(self, floor: int, floor_global: int) -> None:
        """Take a floor, if it is higher."""
        if floor > self.floor:
            self.floor, self.floor_global = floor, floor_global
            if self._base and floor > self._base + 256:
                del self._seqs[: floor - self._base]
                self._base = floor if self._seqs else 0

    def note(self, message_id: int, seq: int) -> None:
        """Remember a message's global id; they must come in order."""
        if not self._base or message_id != self._base + len(self._seqs):
            self._base, self._seqs = message_id, array("Q")
        elif len(self._seqs) >= MAX_SEQS:
            del self._seqs[: MAX_SEQS // 2]
            self._base += MAX_SEQS // 2
        self._seqs.append(seq)

    def seq_of(self, message_id: int) -> int | None:
        """Return a message's global id, if it is remembered."""
        index = message_id - self._base
        return self._seqs[index] if self._base and 0 <= index < len(self._seqs) else None


class Ledger:
    """Know the floors of all channels that have one.

    A floor never falls, so whatever is heard, in any order, may be taken.
    """

    def __init__(self) -> None:
        self._floors: dict[ChannelKey, tuple[int, int]] = {}
        self._changes: list[tuple[int, ChannelKey]] = []
        self._newest_of: OrderedDict[Interest, tuple[int, int]] = OrderedDict()
        self._newest = 0

    def raise_floor(self, key: ChannelKey, floor: int, floor_global: int) -> None:
        """Take a channel's floor, if it is higher than what is known."""
        if floor <= self.floor(key):
            return
        self._floors[key] = (floor, floor_global)
        self._newest = max(self._newest, floor_global)
        self._changes.append((floor_global, key))
        if len(self._changes) > MAX_CHANGES + 2 * len(self._floors):
            self._changes = [(one[1], key) for key, one in self._floors.items()]
            self._newest_of.clear()

    def floor(self, key: ChannelKey) -> int:
        """Return a channel's floor, 0 if none is known."""
        found = self._floors.get(key)
        return 0 if found is None else found[0]

    def floors(self, key: ChannelKey) -> tuple[int, int]:
        """Return a channel's floor as message id and as global id."""
        return self._floors.get(key, (0, 0))

    def newest(self, interest: Interest | None) -> int:
        """Return the newest floor, as a global id, among the wanted channels."""
        if interest is None or not self._newest:
            return self._newest
        newest, looked = self._newest_of.get(interest, (0, 0))
        for floor_global, key in self._changes[looked:]:
            if floor_global > newest and interest.includes(key):
                newest = floor_global
        self._newest_of[interest] = (newest, len(self._changes))
        self._newest_of.move_to_end(interest)
        if len(self._newest_of) > MAX_INTERESTS:
            self._newest_of.popitem(last=False)
        return newest


class Era:
    """Hold one epoch's names and what is known in it.

    Args:
        epoch: The line's epoch.
        token: What tells its stream from those of other epochs.
        stream: The stream of its messages.
        subjects: What the messages' subjects begin with.
    """

    def __init__(self, epoch: str, token: str, *, stream: str, subjects: str) -> None:
        self.epoch = epoch
        self.token = token
        self.stream = stream
        self.subjects = subjects
        self.ledger = Ledger()
        #: The newest global id that was heard of.
        self.head = 0
        #: The newest time of a message that was heard of.
        self.at = 0.0
        #: All messages up to here were heard of: none of them is newer than :attr:`at`.
        self.heard = 0
        #: Whether the line's last message was looked at once, for its time.
        self.is_timed = False
        #: Numbers that were heard of beyond one that was not.
        self._ahead: set[int] = set()
        #: Who moved since the last end of what came together.
        self._moved: list[Entry] = []
        #: The newest mark that was taken.
        self.marks_seq = 0
        #: Whether every channel's last message was looked at once.
        self.is_learned = False
        self._entries: dict[ChannelKey, Entry] = {}
        self._idents = 0

    @property
    def everything(self) -> str:
        """Return the subject of all messages."""
        return self.subjects + ">"

    def subject(self, key: ChannelKey) -> str:
        """Return a channel's subject."""
        found = self._entries.get(key)
        return self.subjects + tail(key) if found is None else found.subject

    def entry(self, key: ChannelKey) -> Entry | None:
        """Return what is known of a channel, or None when it must be looked up."""
        return self._entries.get(key)

    def admit(self, key: ChannelKey, sheet: Sheet | None) -> Entry:
        """Take what the leader said of a channel, None if it has no message."""
        entry = self._entries.get(key)
        if entry is None:
            if len(self._entries) >= MAX_ENTRIES:
                self._entries.clear()
            self._idents += 1
            entry = Entry(self._idents, key, self.subjects + tail(key))
            entry.raise_floor(*self.ledger.floors(key))
            self._entries[key] = entry
        if sheet is not None:
            self.hear(key, sheet)
            entry.learn(sheet)
        return entry

    def forget(self, key: ChannelKey) -> None:
        """Look a channel up again before anything is decided on it."""
        self._entries.pop(key, None)

    def hear(self, key: ChannelKey, sheet: Sheet, *, is_end: bool = True) -> None:
        """Take what any message says, in whichever order they come.

        Args:
            key: Its channel.
            sheet: What it says.
            is_end: Whether nothing more comes with it: False for a batch's but the last. Who goes
                on amid a batch is refused for what comes next.
        """
        self.advance(sheet.seq, sheet.at)
        if sheet.floor:
            self.ledger.raise_floor(key, sheet.floor, sheet.floor_global)
        entry = self._entries.get(key)
        if entry is not None and entry.learn(sheet):
            entry.is_amid = True
            self._moved.append(entry)
        if is_end and self._moved:
            moved, self._moved = self._moved, []
            for one in moved:
                one.stir()

    def advance(self, seq: int, at: float) -> None:
        """Note that a message of this number and time exists."""
        if seq > self.head:  # noqa: PLR1730 - max() costs a third more, for every message
            self.head = seq
        if at > self.at:  # noqa: PLR1730
            self.at = at
        if seq == self.heard + 1:
            self.heard = seq
            if self._ahead:
                self._close_holes()
        elif seq > self.heard:
            self._ahead.add(seq)
            if len(self._ahead) > MAX_AHEAD:
                self._ahead.clear()

    @property
    def has_holes(self) -> bool:
        """Tell whether somebody else stored what was not heard of yet."""
        return bool(self._ahead)

    def hear_all(self, seq: int, at: float) -> None:
        """Note that a message *seq* exists, or that none does, and how late it is there.

        Args:
            seq: Its global id.
            at: The latest time of all messages up to it. Others may have come while that was
                asked for, so neither the number nor the time ever falls.
        """
        self.at = max(self.at, at)
        self.head = max(self.head, seq)
        self.heard = max(self.heard, seq)
        self.is_timed = True
        self._ahead = {one for one in self._ahead if one > self.heard}
        self._close_holes()

    def _close_holes(self) -> None:
        while self.heard + 1 in self._ahead:
            self.heard += 1
            self._ahead.discard(self.heard)

    def mark(self, key: ChannelKey, floor: int, floor_global: int) -> None:
        """Take a floor that a mark says."""
        self.ledger.raise_floor(key, floor, floor_global)
        entry = self._entries.get(key)
        if entry is not None:
            entry.raise_floor(floor, floor_global)
