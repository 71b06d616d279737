"""Every SQL statement of the SQLite engine, each in this one place."""

# ruff: noqa: S608 - statements are put together from constants of this module alone
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

_ROW: Final = (
    "SELECT m.global_id, m.channel_id, m.message_id, m.published_at, m.data, m.audience, m.headers "
    "FROM trunkline_message m "
)

PICKED_ROWS: Final = (
    _ROW.replace("m.headers ", "m.headers, c.name, c.site_id ")
    + "JOIN trunkline_channel c USING (channel_id) WHERE m.global_id IN "
    "(SELECT value FROM json_each(?)) AND m.message_id > c.floor ORDER BY m.global_id"
)
CHANNEL_ROWS: Final = (
    _ROW + "WHERE m.channel_id = ? AND m.message_id > ? ORDER BY m.message_id LIMIT ?"
)
LINE_ROWS: Final = (
    _ROW + "CROSS JOIN trunkline_channel c USING (channel_id) WHERE m.global_id > ? "
    "AND m.global_id <= ? AND m.message_id > c.floor ORDER BY m.global_id LIMIT ?"
)
WANTED_ROWS: Final = (
    _ROW + "CROSS JOIN trunkline_channel c USING (channel_id) WHERE m.global_id > ? "
    "AND m.global_id <= ? AND m.message_id > c.floor "
    "AND m.channel_id IN (SELECT value FROM json_each(?)) ORDER BY m.global_id LIMIT ?"
)
# The ids come from the index alone, which holds both; only what the page needs is looked up.
MERGED_ROWS: Final = (
    "WITH page (global_id) AS (SELECT i.global_id FROM json_each(?) w "
    "CROSS JOIN trunkline_message i WHERE i.channel_id = json_extract(w.value, '$[0]') "
    "AND i.message_id > json_extract(w.value, '$[1]') AND i.global_id > ? "
    "ORDER BY i.global_id LIMIT ?) "
    "SELECT m.global_id, m.channel_id, m.message_id, m.published_at, m.data, m.audience, m.headers "
    "FROM page CROSS JOIN trunkline_message m USING (global_id) ORDER BY m.global_id"
)
FIRST_GLOBAL: Final = (
    "SELECT global_id FROM trunkline_message WHERE global_id > ? ORDER BY global_id LIMIT 1"
)
NEWEST_FLOOR: Final = "SELECT coalesce(max(floor_global), 0) FROM trunkline_channel"

# Each of these returns one row with a JSON array: cheaper to fetch than many short rows.
FLOORS: Final = (
    "SELECT json_group_array(json_array(floor_global, name, site_id)) FROM ("
    "SELECT floor_global, name, site_id FROM trunkline_channel "
    "WHERE floor_global > 0 AND floor_global < ? ORDER BY floor_global DESC LIMIT ?)"
)
CHANNELS_IN: Final = (
    "SELECT json_group_array(channel_id) FROM (SELECT DISTINCT channel_id "
    "FROM trunkline_message WHERE global_id > ? AND global_id <= ?)"
)
NAMES: Final = (
    "SELECT json_group_array(json_array(channel_id, name, site_id)) FROM trunkline_channel "
    "WHERE channel_id IN (SELECT value FROM json_each(?))"
)
NAMED: Final = (
    "SELECT json_group_array(json_array(c.channel_id, c.floor, c.floor_global, c.last_id, c.name, "
    "c.site_id)) FROM json_each(?) w CROSS JOIN trunkline_channel c "
    "WHERE c.site_id = json_extract(w.value, '$[1]') AND c.name = json_extract(w.value, '$[0]')"
)
