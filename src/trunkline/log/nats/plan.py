"""Deciding an append and writing it down: from groups of drafts to the messages to send.

A plan rests on what is known of its channels; each first message of a channel carries the
condition that this still holds, so a plan that rests on something old stores nothing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, cast

from trunkline.errors import TrunklineError, VersionConflictError
from trunkline.log.admission import ChannelEntry, KnownKey, Row, Touch, Turn
from trunkline.log.nats.envelope import CONDITION, MICRO, OURS, PREAMBLE
from trunkline.log.nats.era import Entry, Era
from trunkline.log.port import Group, Outcome
from trunkline.log.retention import Retention
from trunkline.model.channel import ChannelKey, Kind
from trunkline.model.message import Receipt

#: Global ids are not known before the server gives them. A turn counts from here, and whatever
#: it numbers is moved to the real ids by :meth:`Plan.outcomes`.
UNKNOWN: Final = -(1 << 60)

KeyName = tuple[ChannelKey, str]


class Lookups:
    """Gather what had to be looked up for an append, over all its attempts."""

    __slots__ = ("generations", "known")

    def __init__(self) -> None:
        #: Idempotency keys that were found in use.
        self.known: dict[KeyName, KnownKey] = {}
        #: What tells a key's id from that of its use long ago, which the server still remembers.
        self.generations: dict[KeyName, str] = {}


class UnknownChannelError(LookupError):
    """Say that a channel must be looked up first."""


class View:
    """Show a turn what is known.

    Args:
        era: The channels.
        known: The idempotency keys.
    """

    __slots__ = ("_era", "_known")

    def __init__(self, era: Era, known: Mapping[KeyName, KnownKey]) -> None:
        self._era = era
        self._known = known

    def entry(self, key: ChannelKey, kind: Kind) -> ChannelEntry:
        """Return a channel's entry."""
        del kind
        entry = self._era.entry(key)
        if entry is None:
            raise UnknownChannelError
        return entry

    def known(self, entry: ChannelEntry, key: str) -> KnownKey | None:
        """Return what was looked up of a key."""
        return self._known.get((entry.key, key))


class Part:
    """Be what a plan does to one channel."""

    __slots__ = (
        "entry", "expected", "floor", "floor_global", "floor_row", "id_before", "is_open",
        "keyed_at", "last_id", "last_row", "oldest_at",
    )  # fmt: skip

    def __init__(self, touch: Touch, entry: Entry, at: float) -> None:
        self.entry = entry
        #: The condition: the channel's last sequence.
        self.expected = entry.last_seq
        self.id_before = entry.last_id
        self.last_id = touch.last_id
        self.floor = touch.floor
        self.floor_global = entry.floor_global
        #: The row that is the floor, when it is one of the plan's own.
        self.floor_row = -1
        self.last_row = -1
        self.oldest_at = at if touch.floor >= entry.last_id else entry.oldest_at
        self.keyed_at = entry.keyed_at
        #: Whether the floor's global id must be looked up.
        self.is_open = False
        if touch.floor > entry.floor and touch.floor <= entry.last_id:
            found = entry.seq_of(touch.floor)
            self.is_open = found is None
            self.floor_global = found or 0


class Command(NamedTuple):
    """Be a message to send."""

    subject: str
    header: bytes
    payload: bytes


class Plan:
    """Be a decided append.

    Args:
        groups: What to append.
        era: In which.
        lookups: What was looked up.
        retention: Which limits hold.
        now: Unix seconds.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        era: Era,
        lookups: Lookups,
        *,
        retention: Retention,
        now: float,
    ) -> None:
        self.era = era
        #: By this name the messages are known as this append's.
        self.name = b""
        #: Whether some copy of it may have been stored, or may yet be.
        self.is_doubtful = False
        self._lookups = lookups
        at = era.at = max(now, era.at)
        self._heard = era.heard
        turn = self._turn = Turn(
            View(era, lookups.known), retention, epoch=era.epoch, head=UNKNOWN, at=at
        )
        self._outcomes = [turn.admit(group) for group in groups]
        self.rows = turn.rows
        self.parts: dict[int, Part] = {}
        if turn.rows:
            self._settle_parts(now)

    def _settle_parts(self, now: float) -> None:
        turn = self._turn
        for touch in turn.touches.values():
            if not touch.grows:
                continue
            entry = cast("Entry", touch.entry)
            part = self.parts[entry.ident] = Part(touch, entry, turn.at)
            age = touch.age
            if age is not None and part.oldest_at < now - age and touch.floor < entry.last_id:
                part.is_open = True
        for new in turn.new_keys:
            self.parts[new.ident].keyed_at = turn.at
        for index, row in enumerate(turn.rows):
            part = self.parts[row[1]]
            if row[2] == part.floor:
                part.floor_row = index

    @property
    def refused(self) -> list[int]:
        """Return which groups were refused for what is stored, and not for what they are."""
        return [
            index
            for index, one in enumerate(self._outcomes)
            if isinstance(one, VersionConflictError)
        ]

    @property
    def is_ready(self) -> bool:
        """Tell whether every floor's global id is known."""
        return not any(part.is_open for part in self.parts.values())

    @property
    def open_parts(self) -> list[tuple[Part, float | None]]:
        """Return the channels whose floor must be looked up, with the age to keep, seconds."""
        ages = {touch.entry.ident: touch.age for touch in self._turn.touches.values()}
        return [(part, ages[ident]) for ident, part in self.parts.items() if part.is_open]

    @property
    def keys(self) -> list[KeyName]:
        """Return the idempotency keys that the plan stores."""
        entries = {ident: part.entry.key for ident, part in self.parts.items()}
        return [(entries[new.ident], new.key) for new in self._turn.new_keys]

    @property
    def first(self) -> Part:
        """Return the channel of the first message."""
        return self.parts[self.rows[0][1]]

    def commands(self, batch: bytes) -> list[Command]:
        """Write the messages down.

        Args:
            batch: The atomic batch's id, new for every attempt; a single message needs none.
        """
        rows = self.rows
        ids = self._msg_ids()
        single = len(rows) == 1
        last = len(rows) - 1
        found: list[Command] = []
        for index, row in enumerate(rows):
            _, ident, message_id, _, data, audience, headers = row
            part = self.parts[ident]
            header = PREAMBLE
            if part.last_row < 0 or message_id == part.id_before + 1:
                header += CONDITION % part.expected
                before = part.expected
            else:
                before = part.last_row - index
            part.last_row = index
            if not single:
                header += b"Nats-Batch-Id: %b\r\nNats-Batch-Sequence: %d\r\n" % (batch, index + 1)
                if index == last:
                    header += b"Nats-Batch-Commit: 1\r\n"
            if ids and (msg_id := ids.get((ident, message_id))):
                header += b"Nats-Msg-Id: %b\r\n" % msg_id
            header += self._line(part, row, index, before)
            payload = data if audience is None else data + audience
            if headers is not None:
                payload += headers
            found.append(Command(part.entry.subject, header, payload))
        return found

    def _line(self, part: Part, row: Row, index: int, before: int) -> bytes:
        _, _, message_id, _, _, audience, headers = row
        at = round(self._turn.at * MICRO)
        floor, floor_global = part.floor, part.floor_global
        if floor >= message_id - 1 and floor:
            floor, floor_global = message_id - 1, before
        elif part.floor_row >= 0:
            floor_global = part.floor_row - index
        return (
            OURS
            % (
                message_id,
                before,
                at,
                floor,
                floor_global,
                max(0, at - round(part.oldest_at * MICRO)),
                max(0, at - round(part.keyed_at * MICRO)) if part.keyed_at else -1,
                -1 if audience is None else len(audience),
                -1 if headers is None else len(headers),
                self.name,
                self._heard,
            )
            + b"\r\n"
        )

    def _msg_ids(self) -> dict[tuple[int, int], bytes]:
        return {
            (new.ident, new.known.message_id): msg_id(
                self.parts[new.ident].entry.key, new.key, self._lookups
            )
            for new in self._turn.new_keys
        }

    def stored(self, base: int) -> None:
        """Note that the plan was carried out; its first message has the global id *base*."""
        era, at = self.era, self._turn.at
        for index, row in enumerate(self.rows):
            part = self.parts[row[1]]
            if row[2] > part.entry.last_id:
                part.entry.note(row[2], base + index)
            part.last_row = index
            era.advance(base + index, at)
        for part in self.parts.values():
            entry = part.entry
            floor_global = base + part.floor_row if part.floor_row >= 0 else part.floor_global
            if part.last_id > entry.last_id:
                entry.last_id, entry.last_seq = part.last_id, base + part.last_row
                entry.published_at, entry.oldest_at = at, part.oldest_at
                entry.is_new = False
            entry.keyed_at = max(entry.keyed_at, part.keyed_at)
            if part.floor:
                era.mark(entry.key, part.floor, floor_global)

    def outcomes(self, base: int) -> list[Outcome]:
        """Return every group's outcome; the plan's first message has the global id *base*."""
        return [
            one if isinstance(one, TrunklineError) else tuple(_moved(r, base) for r in one)
            for one in self._outcomes
        ]


def _moved(receipt: Receipt, base: int) -> Receipt:
    if receipt.global_id > 0:
        return receipt
    return Receipt(
        receipt.channel,
        receipt.message_id,
        receipt.global_id - UNKNOWN - 1 + base,
        receipt.epoch,
        receipt.is_repeat,
    )


def msg_id(channel: ChannelKey, key: str, lookups: Lookups) -> bytes:
    """Return the id under which the server remembers an idempotency key of a channel."""
    digest = hashlib.blake2b(digest_size=15)
    for part in (channel.site_id or "", channel.name, key):
        text = part.encode()
        digest.update(b"%d:" % len(text))
        digest.update(text)
    name = base64.urlsafe_b64encode(digest.digest())
    return name + lookups.generations.get((channel, key), "").encode()
