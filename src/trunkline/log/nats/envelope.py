"""How a message lies in the stream: one header line of ours, then data, audience and headers.

The line carries the channel's whole book-keeping as of this message, so that the last message
of a channel is all that a writer has to know::

    Tl: id prev at floor floor_global oldest keyed audience headers name heard

*id* is the message id; *prev* the global id of the channel's message before; *at* the time in
microseconds; *floor* and *floor_global* the newest trimmed message; *oldest* how much older than
*at* the oldest kept message may be, and *keyed* the newest message with a key (-1 for none), both
in microseconds; *audience* and *headers* their lengths at the end of the payload (-1 for none);
*name* that of the append, by which a doubtful answer is settled; *heard* the global id up to which
the writer knew all messages: *at* is no older than any of them. A global id written as ``-n`` is n
before the message's own, for inside a batch it is not known in advance.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from trunkline.model.channel import ChannelKey
from trunkline.model.message import Record

MICRO: Final = 1_000_000
PREAMBLE: Final = b"NATS/1.0\r\n"
CONDITION: Final = b"Nats-Expected-Last-Subject-Sequence: %d\r\n"
OURS: Final = b"Tl: %d %d %d %d %d %d %d %d %d %s %d\r\n"
#: What a message's headers may take beside its payload, bytes.
OVERHEAD: Final = 1024


class Sheet(NamedTuple):
    """Be what our header line says; global ids are absolute, times Unix seconds."""

    seq: int
    message_id: int
    prev: int
    at: float
    floor: int
    floor_global: int
    oldest_at: float
    keyed_at: float
    audience_size: int
    headers_size: int
    name: bytes
    heard: int


def sheet_of(seq: int, header: bytes) -> Sheet | None:
    """Read our line from a stored message's headers.

    Args:
        seq: The message's sequence in the stream, which is its global id.
        header: The raw headers.

    Returns:
        What it says, or None when the message is not ours.
    """
    start = header.find(b"\r\nTl: ")
    if start < 0:
        return None
    fields = header[start + 6 : header.index(b"\r\n", start + 6)].split(b" ")
    message_id, prev, at, floor, floor_global, oldest, keyed, audience, headers = map(
        int, fields[:9]
    )
    return Sheet(
        seq,
        message_id,
        prev if prev >= 0 else seq + prev,
        at / MICRO,
        floor,
        floor_global if floor_global >= 0 else seq + floor_global,
        (at - oldest) / MICRO,
        (at - keyed) / MICRO if keyed >= 0 else 0.0,
        audience,
        headers,
        fields[9],
        int(fields[10]),
    )


def record_of(key: ChannelKey, sheet: Sheet, payload: bytes, *, at: float) -> Record:
    """Return a stored message as the port's readers see it, with the time *at*."""
    audience = headers = None
    end = len(payload)
    if sheet.headers_size >= 0:
        start = end - sheet.headers_size
        headers, end = payload[start:end], start
    if sheet.audience_size >= 0:
        start = end - sheet.audience_size
        audience, end = payload[start:end], start
    data = payload if end == len(payload) else payload[:end]
    return Record(key, sheet.message_id, sheet.seq, at, data, audience, headers)


def value_of(header: bytes, name: bytes) -> bytes | None:
    """Return a header's value, of headers that the server wrote.

    Args:
        header: The raw headers.
        name: With the line end before it and the colon and blank after it.
    """
    start = header.rfind(name)
    if start < 0:
        return None
    start += len(name)
    return header[start : header.index(b"\r\n", start)]
