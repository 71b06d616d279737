"""What this process remembers of the file, kept true under the writer's turn."""

from __future__ import annotations

import sqlite3

from trunkline.errors import LogCorruptError
from trunkline.log.admission import ChannelEntry, KnownKey
from trunkline.log.sqlite import statements as sql
from trunkline.model.channel import ChannelKey, Kind

#: Channels remembered at most; one more, and all are looked up again as they come.
MAX_ENTRIES = 100_000

EntryRow = tuple[int, str, str, str, int, int, int, int, float, float]


def entry_of(row: EntryRow) -> ChannelEntry:
    """Return the entry that a channel's row holds."""
    entry = ChannelEntry(row[0], ChannelKey(row[2], row[1] or None), Kind(row[3]))
    entry.is_new = False
    entry.last_id, entry.floor, entry.floor_global, entry.erased = row[4:8]
    entry.published_at, entry.oldest_at = row[8:]
    return entry


class LineBooks:
    """Be the writer's memory: the line's counters and the channels it met.

    All methods are for the inside of a unit of work.

    Args:
        connection: The writing connection.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._entries: dict[ChannelKey, ChannelEntry] = {}
        self._data_version = -1
        self._revision = -1
        self._next_ident = 0
        self.epoch = ""
        self.head = 0
        self.published_at = 0.0

    def refresh(self) -> None:
        """Learn what other processes wrote since the last turn."""
        version = self._connection.execute(sql.DATA_VERSION).fetchone()[0]
        if version == self._data_version:
            return
        line = self._connection.execute(sql.READ_LINE).fetchone()
        if line is None:
            raise LogCorruptError("the line's own row is gone: restore a backup")
        epoch, head, published_at, revision = line
        if (epoch, head, revision) != (self.epoch, self.head, self._revision):
            self._entries.clear()
            self._next_ident = self._connection.execute(sql.LAST_CHANNEL).fetchone()[0] + 1
            self.epoch, self.head = epoch, head
            self.published_at, self._revision = published_at, revision
        self._data_version = version

    def distrust(self) -> None:
        """Forget everything, for a turn was undone or changed rows behind the books."""
        self._entries.clear()
        self._data_version = -1
        self._revision = -1

    def entry(self, key: ChannelKey, kind: Kind) -> ChannelEntry:
        """Return a channel's entry; one never written to gets a new one of *kind*."""
        entry = self._entries.get(key)
        if entry is not None:
            return entry
        row = self._connection.execute(sql.FIND_CHANNEL, (key.site_id or "", key.name)).fetchone()
        if row is not None:
            entry = entry_of(row)
        else:
            entry = ChannelEntry(self._next_ident, key, kind)
            self._next_ident += 1
        if len(self._entries) >= MAX_ENTRIES:
            self._entries.clear()
        self._entries[key] = entry
        return entry

    def drop(self, entry: ChannelEntry) -> None:
        """Forget a new channel that nothing was appended to after all."""
        self._entries.pop(entry.key, None)

    def known(self, entry: ChannelEntry, key: str) -> KnownKey | None:
        """Return what is remembered of an idempotency key on a channel."""
        if entry.is_new:
            return None
        row = self._connection.execute(sql.FIND_RECEIPT, (entry.ident, key)).fetchone()
        return None if row is None else KnownKey(*row)
