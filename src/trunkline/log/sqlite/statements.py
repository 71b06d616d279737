"""Every SQL statement of the SQLite engine, each in this one place."""

from __future__ import annotations

from typing import Final

DATA_VERSION: Final = "PRAGMA data_version"

FOUND_LINE: Final = "INSERT OR IGNORE INTO trunkline_line VALUES (1, ?, 0, 0, 0)"
READ_LINE: Final = "SELECT epoch, head, published_at, revision FROM trunkline_line"
READ_NEWS: Final = "SELECT head, epoch FROM trunkline_line"
ADVANCE_LINE: Final = "UPDATE trunkline_line SET head = ?, published_at = ?"
REVISE_LINE: Final = "UPDATE trunkline_line SET revision = revision + 1"
RESET_LINE: Final = (
    "UPDATE trunkline_line SET epoch = ?, head = 0, published_at = 0, revision = revision + 1"
)
ERASE_EVERYTHING: Final = (
    "DELETE FROM trunkline_message",
    "DELETE FROM trunkline_receipt",
    "DELETE FROM trunkline_channel",
)

_ENTRY: Final = (
    "SELECT channel_id, site_id, name, kind, last_id, floor, floor_global, erased, published_at, "
    "oldest_at FROM trunkline_channel "
)
LAST_CHANNEL: Final = "SELECT coalesce(max(channel_id), 0) FROM trunkline_channel"
FIND_CHANNEL: Final = _ENTRY + "WHERE site_id = ? AND name = ?"
PLAIN_CHANNELS: Final = (
    _ENTRY + "WHERE kind = 'plain' AND channel_id > ? ORDER BY channel_id LIMIT ?"
)
LIST_CHANNELS: Final = _ENTRY + "WHERE (site_id, name) > (?, ?) ORDER BY site_id, name LIMIT ?"
LIST_ALL_CHANNELS: Final = _ENTRY + "ORDER BY site_id, name LIMIT ?"
ERASABLE_CHANNELS: Final = _ENTRY + "WHERE erased < floor LIMIT ?"
ADD_CHANNEL: Final = (
    "INSERT INTO trunkline_channel (last_id, floor, floor_global, erased, published_at, "
    "oldest_at, channel_id, site_id, name, kind) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
SAVE_CHANNEL: Final = (
    "UPDATE trunkline_channel SET last_id = ?, floor = ?, floor_global = ?, erased = ?, "
    "published_at = ?, oldest_at = ? WHERE channel_id = ?"
)

ADD_MESSAGE: Final = "INSERT INTO trunkline_message VALUES (?, ?, ?, ?, ?, ?, ?)"
GLOBAL_ID: Final = "SELECT global_id FROM trunkline_message WHERE channel_id = ? AND message_id = ?"
FIRST_SINCE: Final = (
    "SELECT message_id, published_at FROM trunkline_message WHERE channel_id = ? "
    "AND message_id > ? AND published_at >= ? ORDER BY message_id LIMIT 1"
)
ERASE_MESSAGES: Final = (
    "DELETE FROM trunkline_message WHERE channel_id = ? AND message_id > ? AND message_id <= ?"
)
COUNT_PLAIN: Final = (
    "SELECT coalesce(sum(last_id - floor), 0) FROM trunkline_channel WHERE kind = 'plain'"
)
OLDEST_PLAIN: Final = (
    "SELECT channel_id, max(message_id) FROM ("
    "SELECT m.channel_id, m.message_id FROM trunkline_message m "
    "CROSS JOIN trunkline_channel c USING (channel_id) "
    "WHERE c.kind = 'plain' AND m.message_id > c.floor ORDER BY m.global_id LIMIT ?"
    ") GROUP BY channel_id"
)
CHANNEL_BY_ID: Final = _ENTRY + "WHERE channel_id = ?"

FIND_RECEIPT: Final = (
    "SELECT fingerprint, message_id, global_id FROM trunkline_receipt "
    "WHERE channel_id = ? AND key = ?"
)
ADD_RECEIPT: Final = (
    "INSERT INTO trunkline_receipt "
    "(channel_id, key, fingerprint, message_id, global_id, published_at) VALUES (?, ?, ?, ?, ?, ?)"
)
FORGET_RECEIPTS: Final = (
    "DELETE FROM trunkline_receipt WHERE receipt_id IN ("
    "SELECT receipt_id FROM trunkline_receipt ORDER BY receipt_id LIMIT ?) AND published_at < ?"
)

READ_CHANNEL: Final = (
    "SELECT message_id, global_id, published_at, data, audience, headers FROM trunkline_message "
    "WHERE channel_id = ? AND message_id > ? ORDER BY message_id LIMIT ?"
)
READ_ALL: Final = (
    "SELECT c.channel_id, c.name, c.site_id, m.message_id, m.global_id, m.published_at, m.data, "
    "m.audience, m.headers FROM trunkline_message m CROSS JOIN trunkline_channel c "
    "USING (channel_id) WHERE m.global_id > ? AND m.global_id <= ? AND m.message_id > c.floor "
    "ORDER BY m.global_id LIMIT ?"
)
FIRST_GLOBAL: Final = (
    "SELECT global_id FROM trunkline_message WHERE global_id > ? ORDER BY global_id LIMIT 1"
)
NEWEST_FLOOR: Final = "SELECT coalesce(max(floor_global), 0) FROM trunkline_channel"
FLOORS: Final = (
    "SELECT channel_id, name, site_id, floor_global FROM trunkline_channel "
    "WHERE floor_global > 0 ORDER BY floor_global DESC"
)
