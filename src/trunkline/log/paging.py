"""What pages have in common on every engine: where they end, and in which order channels come."""

from __future__ import annotations

from collections.abc import Iterable

from trunkline.errors import ChannelKindError
from trunkline.log.port import PAGE_BYTES
from trunkline.model.channel import ChannelKey, is_stream_name
from trunkline.model.message import Record


def cut(found: Iterable[Record], limit: int) -> tuple[list[Record], bool]:
    """Take a page's worth of records.

    Args:
        found: Records in order.
        limit: Records at most.

    Returns:
        The records, and whether they are all that was found.
    """
    records: list[Record] = []
    size = 0
    for record in found:
        size += len(record.data) + len(record.audience or b"") + len(record.headers or b"")
        if records and (len(records) >= limit or size > PAGE_BYTES):
            return records, False
        records.append(record)
    return records, True


def refuse_stream(channel: ChannelKey) -> None:
    """Refuse to trim a stream, whether or not it was ever written to.

    Raises:
        ChannelKindError: The name is a stream's.
    """
    if is_stream_name(channel.name):
        raise ChannelKindError(f"{channel} is a stream: its events are kept for ever")


def site_order(key: ChannelKey) -> tuple[str, str]:
    """Return the sort key of (site, name), where no site comes first."""
    return (key.site_id or "", key.name)
