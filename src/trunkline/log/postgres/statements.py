"""Every SQL statement of the PostgreSQL engine, each in this one place.

``{schema}`` becomes the schema's name; the functions called here come with the migrations.
"""

# ruff: noqa: S608 - statements are put together from constants of this module alone
from __future__ import annotations

from typing import Final

from trunkline.log.port import PAGE_BYTES

#: Each answers one text, see :class:`trunkline.log.postgres.turns.Answer`.
_ANSWER: Final = "SELECT {schema}."


def _call(function: str, count: int, after: int = 0) -> str:
    return f"{function}({', '.join(f'${after + number}' for number in range(1, count + 1))})"


APPEND_ONE: Final = _ANSWER + _call("append_one_v1", 14)
APPEND: Final = _ANSWER + _call("append_v1", 16)
APPEND_IF: Final = _ANSWER + _call("append_if_v1", 22)
APPEND_NEXT: Final = _ANSWER + _call("append_next_v1", 11)


#: $12 is the epoch that the line must be at, or empty.
APPEND_SURE: Final = _ANSWER + _call("append_sure_v1", 12)


def append_after(write: str, count: int) -> str:
    """Return a statement that runs a write with so many values, then APPEND_NEXT or nothing."""
    return (
        f"WITH trunkline_write AS ({write} RETURNING 1), trunkline_written AS MATERIALIZED "
        f"(SELECT count(*) FROM trunkline_write) {_ANSWER}{_call('append_sure_v1', 12, count)} "
        "FROM trunkline_written"
    )


SETTLE: Final = _ANSWER + _call("settle_v1", 4)
TRIM: Final = "SELECT {schema}." + _call("trim_v1", 5)
SWEEP: Final = "SELECT {schema}." + _call("sweep_v1", 5)
DROP_OLDEST: Final = "SELECT {schema}." + _call("drop_oldest_v1", 4)
ERASE: Final = "SELECT {schema}." + _call("erase_v1", 2)
FORGET: Final = "SELECT {schema}." + _call("forget_v1", 2)
RESET: Final = "SELECT {schema}." + _call("reset_v1", 4)
RENEW_EPOCH: Final = "SELECT {schema}." + _call("renew_epoch_v1", 7)

READ_NEWS: Final = "SELECT head, epoch, published_at FROM {schema}.line"
READ_SEEN: Final = (
    "SELECT l.epoch, l.head, m.published_at FROM {schema}.line l "
    "LEFT JOIN {schema}.message m ON m.global_id = $1"
)

TAKE_TAIL: Final = "SELECT {schema}." + _call("take_tail_v1", 2)
PICK: Final = (
    "SELECT c.name, c.site_id, m.message_id, m.global_id, m.published_at, m.data, m.audience, "
    "m.headers FROM {schema}.message m JOIN {schema}.channel c USING (channel_id) "
    "WHERE m.global_id = ANY($1::bigint[]) AND m.message_id > c.floor ORDER BY m.global_id"
)
_TIP: Final = (
    "c.last_id, m.global_id, m.message_id, m.published_at, m.data, m.audience, m.headers, "
    "(SELECT l.epoch FROM {schema}.line l)"
)
#: $1 site, $2 name, $3 after.
TIP: Final = (
    f"SELECT 1::bigint, {_TIP} FROM {{schema}}.channel c "
    "LEFT JOIN {schema}.message m ON m.channel_id = c.channel_id AND m.message_id > $3 "
    "WHERE c.site_id = $1 AND c.name = $2 ORDER BY m.message_id"
)
#: The same for arrays. OFFSET 0 keeps each stream's look by index from being merged away.
TIPS: Final = (
    f"SELECT w.n, {_TIP} FROM unnest($1::text[], $2::text[], $3::bigint[]) "
    "WITH ORDINALITY w (site, name, after, n) "
    "CROSS JOIN LATERAL (SELECT x.channel_id, x.last_id FROM {schema}.channel x "
    "WHERE x.site_id = w.site AND x.name = w.name OFFSET 0) c "
    "LEFT JOIN LATERAL (SELECT x.* FROM {schema}.message x WHERE x.channel_id = c.channel_id "
    "AND x.message_id > w.after OFFSET 0) m ON true ORDER BY w.n, m.message_id"
)

_SIZE: Final = (
    "octet_length(m.data) + coalesce(octet_length(m.audience), 0) "
    "+ coalesce(octet_length(m.headers), 0)"
)


def _page(columns: str, found: str, order: str) -> str:
    """Cut what is found where a page's bytes end, one row later, so that the cut is seen.

    The server must not send a thousand large messages for a page that takes four.
    """
    return (
        f"SELECT {columns}, m.data, m.audience, m.headers FROM ("
        f"SELECT m.*, sum(m.size) OVER (ORDER BY m.{order} ROWS UNBOUNDED PRECEDING) AS total "
        f"FROM (SELECT m.*, {_SIZE} AS size FROM ({found}) m) m"
        f") m WHERE m.total - m.size <= {PAGE_BYTES}"
    )


CHANNEL_PAGE: Final = (
    "SELECT l.epoch, c.floor, c.last_id, m.* FROM {schema}.line l "
    "LEFT JOIN {schema}.channel c ON c.site_id = $1 AND c.name = $2 "
    "LEFT JOIN LATERAL ("
    + _page(
        "m.message_id, m.global_id, m.published_at",
        "SELECT x.* FROM {schema}.message x WHERE x.channel_id = c.channel_id "
        "AND x.message_id > greatest($3, c.floor) ORDER BY x.message_id LIMIT $4",
        "message_id",
    )
    + ") m ON true ORDER BY m.message_id"
)

_COLUMNS: Final = "m.global_id, m.channel_id, m.name, m.site_id, m.message_id, m.published_at"
_LINE: Final = "SELECT l.epoch, l.head, l.floor, e.upto, m.* FROM {schema}.line l "
_STRETCH: Final = (
    "CROSS JOIN LATERAL (SELECT least(l.head, coalesce(("
    "SELECT x.global_id FROM {schema}.message x WHERE x.global_id > $1 ORDER BY x.global_id LIMIT 1"
    ") - 1 + $3, l.head)) AS upto) e "
)
_KEPT: Final = (
    "SELECT x.*, c.name, c.site_id FROM {schema}.message x "
    "JOIN {schema}.channel c USING (channel_id) "
    "WHERE x.global_id > $1 AND x.global_id <= e.upto AND x.message_id > c.floor "
)
_IN_ORDER: Final = "ORDER BY x.global_id LIMIT $2"

#: $1 after, $2 messages at most, $3 ids looked at.
LINE_PAGE: Final = (
    _LINE
    + _STRETCH
    + "LEFT JOIN LATERAL ("
    + _page(_COLUMNS, _KEPT + _IN_ORDER, "global_id")
    + ") m ON true ORDER BY m.global_id"
)
#: The same, $4 being the wanted channels.
WANTED_PAGE: Final = (
    _LINE
    + _STRETCH
    + "LEFT JOIN LATERAL ("
    + _page(_COLUMNS, _KEPT + "AND x.channel_id = ANY($4::bigint[]) " + _IN_ORDER, "global_id")
    + ") m ON true ORDER BY m.global_id"
)
#: $1 after, $2 messages at most, $3 and $4 sites and names. The ids come from the index alone,
#: which holds both; only what the page needs is looked up.
MERGED_PAGE: Final = (
    "WITH w AS MATERIALIZED (SELECT c.* FROM unnest($3::text[], $4::text[]) n (site, name) "
    "JOIN {schema}.channel c ON c.site_id = n.site AND c.name = n.name) "
    "SELECT l.epoch, l.head, (SELECT coalesce(max(floor_global), 0) FROM w) AS floor, "
    "l.head AS upto, m.* FROM {schema}.line l LEFT JOIN LATERAL ("
    + _page(
        _COLUMNS,
        "SELECT x.*, w.name, w.site_id FROM ("
        "SELECT i.global_id FROM w CROSS JOIN LATERAL ("
        "SELECT y.global_id FROM {schema}.message y WHERE y.channel_id = w.channel_id "
        "AND y.message_id > {schema}.id_after_v1(w.channel_id, w.floor, w.last_id, $1) "
        "ORDER BY y.message_id LIMIT $2) i ORDER BY i.global_id LIMIT $2"
        ") i JOIN {schema}.message x USING (global_id) JOIN w USING (channel_id) " + _IN_ORDER,
        "global_id",
    )
    + ") m ON true ORDER BY m.global_id"
)

#: $1 after, $2 upto.
CHANNELS_IN: Final = (
    "SELECT c.channel_id, c.name, c.site_id FROM ("
    "SELECT DISTINCT channel_id FROM {schema}.message WHERE global_id > $1 AND global_id <= $2"
    ") m JOIN {schema}.channel c USING (channel_id)"
)
STRETCH: Final = "SELECT l.epoch, l.head, l.floor, e.upto FROM {schema}.line l " + _STRETCH.replace(
    "$3", "$2"
)
FLOORS: Final = (
    "SELECT floor_global, name, site_id FROM {schema}.channel "
    "WHERE floor_global > 0 AND floor_global < $1 ORDER BY floor_global DESC LIMIT $2"
)
HEADS: Final = (
    "SELECT l.head, l.epoch, ("
    "SELECT array_agg(coalesce(c.last_id, 0) ORDER BY n.n) "
    "FROM unnest($1::text[], $2::text[]) WITH ORDINALITY n (site, name, n) "
    "LEFT JOIN {schema}.channel c ON c.site_id = n.site AND c.name = n.name"
    ") FROM {schema}.line l"
)
_STATE: Final = "SELECT site_id, name, kind, last_id, floor, published_at FROM {schema}.channel "
LIST_CHANNELS: Final = _STATE + "WHERE (site_id, name) > ($1, $2) ORDER BY site_id, name LIMIT $3"
LIST_ALL_CHANNELS: Final = _STATE + "ORDER BY site_id, name LIMIT $1"
SWEPT_CHANNELS: Final = (
    "SELECT channel_id, site_id, name, floor < last_id AS keeps FROM {schema}.channel "
    "WHERE kind = 'plain' AND channel_id > $1 ORDER BY channel_id LIMIT $2"
)
