"""Admission: deciding, before anything is written, which drafts go in, with which ids.

Engines that decide in their own process share this, so that they cannot differ in it. A turn
looks at what is stored through :class:`Books`, gathers what shall be stored, and changes
nothing itself: an engine that cannot commit drops the turn and nothing has happened.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple, Protocol

from trunkline.errors import (
    ChannelKindError,
    KeyReusedError,
    TrunklineError,
    VersionConflictError,
)
from trunkline.log.port import Group, Outcome
from trunkline.log.retention import Retention
from trunkline.model.channel import ChannelKey, Kind, is_stream_name
from trunkline.model.message import Draft, Receipt

_STREAM = re.compile(r"/stream/[^/]+/.+", re.DOTALL)

#: global_id, channel's ident, message_id, published_at, data, audience, headers
Row = tuple[int, int, int, float, bytes, bytes | None, bytes | None]


class ChannelEntry:
    """Be what a log knows of a channel besides its messages.

    Args:
        ident: The engine's own number for it.
        key: Name and site.
        kind: Plain or stream.
    """

    __slots__ = (
        "erased",
        "floor",
        "floor_global",
        "ident",
        "is_new",
        "key",
        "kind",
        "last_id",
        "oldest_at",
        "published_at",
    )

    def __init__(self, ident: int, key: ChannelKey, kind: Kind) -> None:
        self.ident = ident
        self.key = key
        self.kind = kind
        self.is_new = True
        self.last_id = 0
        self.floor = 0
        self.floor_global = 0
        #: The newest message id that is physically gone.
        self.erased = 0
        self.published_at = 0.0
        #: No kept message is older than this; it may be older than the oldest kept.
        self.oldest_at = 0.0


class KnownKey(NamedTuple):
    """Be what is remembered of an idempotency key."""

    fingerprint: bytes
    message_id: int
    global_id: int


class NewKey(NamedTuple):
    """Be an idempotency key that a turn shall remember."""

    ident: int
    key: str
    known: KnownKey


class Books(Protocol):
    """Look up what is stored."""

    def entry(self, key: ChannelKey, kind: Kind) -> ChannelEntry:
        """Return a channel's entry; one never written to gets a new one of *kind*."""

    def known(self, entry: ChannelEntry, key: str) -> KnownKey | None:
        """Return what is remembered of an idempotency key on a channel."""


class Touch:
    """Gather what a turn does to one channel."""

    __slots__ = ("age", "entry", "floor", "last_id", "limits", "own")

    def __init__(self, entry: ChannelEntry, retention: Retention) -> None:
        self.entry = entry
        self.own = retention.own_limits(entry.key)
        #: What holds for a draft that says nothing about limits.
        self.limits = self.own or retention.default
        self.last_id = entry.last_id
        self.floor = entry.floor
        self.age: float | None = None

    @property
    def grows(self) -> bool:
        """Tell whether the turn appends to the channel."""
        return self.last_id > self.entry.last_id


class Turn:
    """Decide one batch of groups, one after another, each seeing those before it.

    Args:
        books: What is stored.
        retention: Which limits hold.
        epoch: The line's epoch.
        head: The line's last global id.
        at: ``published_at`` for everything in this turn.
    """

    def __init__(
        self, books: Books, retention: Retention, *, epoch: str, head: int, at: float
    ) -> None:
        self._books = books
        self._retention = retention
        self._epoch = epoch
        self._new_keys: dict[tuple[ChannelKey, str], KnownKey] = {}
        self.head = head
        self.at = at
        self.rows: list[Row] = []
        self.touches: dict[ChannelKey, Touch] = {}

    @property
    def new_keys(self) -> list[NewKey]:
        """Return the idempotency keys to remember."""
        return [
            NewKey(self.touches[channel].entry.ident, key, known)
            for (channel, key), known in self._new_keys.items()
        ]

    def admit(self, group: Group) -> Outcome:
        """Decide one group and gather what it stores.

        Args:
            group: Its drafts.

        Returns:
            The receipts that hold once the turn is committed, or why nothing of it goes in.
        """
        try:
            if len(group) == 1 and group[0].key is None:
                draft = group[0]
                touch = self._touch(draft)
                if draft.expected_version is not None:
                    _check_version(draft, touch.last_id)
                return (self._accept(draft, touch),)
            if all(draft.key is None for draft in group):
                return self._admit_keyless(group)
            return self._admit_many(group)
        except TrunklineError as error:
            return error

    def _admit_keyless(self, group: Group) -> tuple[Receipt, ...]:
        """Check all drafts of a group, then take them: as many as a batch of events has."""
        ahead: dict[ChannelKey, int] = {}
        touches: list[Touch] = []
        for draft in group:
            channel = draft.channel
            touch = self._touch(draft)
            count = ahead.get(channel, 0)
            if draft.expected_version is not None:
                _check_version(draft, touch.last_id + count)
            ahead[channel] = count + 1
            touches.append(touch)
        return tuple(map(self._accept, group, touches))

    def _admit_many(self, group: Group) -> tuple[Receipt, ...]:
        repeats = self._check(group)
        receipts: list[Receipt] = []
        for draft, repeat in zip(group, repeats, strict=True):
            known = repeat or self._known(draft)
            if known is not None:
                receipts.append(self._repeat(draft, known))
                continue
            receipt = self._accept(draft, self._touch(draft))
            if draft.key is not None:
                self._new_keys[draft.channel, draft.key] = KnownKey(
                    fingerprint(draft), receipt.message_id, receipt.global_id
                )
            receipts.append(receipt)
        return tuple(receipts)

    def _check(self, group: Group) -> list[KnownKey | None]:
        """Check all drafts of a group, so that none goes in when one may not."""
        ahead: dict[ChannelKey, int] = {}
        fresh: dict[tuple[ChannelKey, str], bytes] = {}
        repeats: list[KnownKey | None] = []
        for draft in group:
            touch = self._touch(draft)
            known = self._known(draft)
            repeats.append(known)
            if known is not None or _repeats(draft, fresh):
                continue
            last_id = touch.last_id + ahead.get(draft.channel, 0)
            if draft.expected_version is not None:
                _check_version(draft, last_id)
            ahead[draft.channel] = ahead.get(draft.channel, 0) + 1
        return repeats

    def _known(self, draft: Draft) -> KnownKey | None:
        if draft.key is None:
            return None
        known = self._new_keys.get((draft.channel, draft.key))
        if known is None:
            known = self._books.known(self._touch(draft).entry, draft.key)
        if known is not None and known.fingerprint != fingerprint(draft):
            raise KeyReusedError(str(draft.channel), draft.key)
        return known

    def _touch(self, draft: Draft) -> Touch:
        touch = self.touches.get(draft.channel)
        if touch is None:
            check_kind(draft)
            entry = self._books.entry(draft.channel, draft.kind)
            touch = self.touches[draft.channel] = Touch(entry, self._retention)
        elif draft.kind is Kind.STREAM and draft.expected_version is None:
            check_kind(draft)
        if touch.entry.kind is not draft.kind:
            check_kind(draft)
            if touch.entry.kind is not draft.kind:
                raise ChannelKindError(
                    f"{draft.channel} is a {touch.entry.kind} channel and takes no "
                    f"{draft.kind} append"
                )
        return touch

    def _repeat(self, draft: Draft, known: KnownKey) -> Receipt:
        return Receipt(
            draft.channel, known.message_id, known.global_id, self._epoch, is_repeat=True
        )

    def _accept(self, draft: Draft, touch: Touch) -> Receipt:
        self.head = global_id = self.head + 1
        touch.last_id = message_id = touch.last_id + 1
        self.rows.append(
            (
                global_id,
                touch.entry.ident,
                message_id,
                self.at,
                draft.data,
                draft.audience,
                draft.headers,
            )
        )
        if draft.kind is Kind.PLAIN:
            limits = touch.limits
            if draft.max_backlog_size is not None or draft.max_backlog_age is not None:
                limits = touch.own or self._retention.limits_at(draft)
            size = limits.max_backlog_size
            if size is not None and message_id > size and message_id % limits.clear_every == 0:
                touch.floor = max(touch.floor, message_id - size)
            age = limits.max_backlog_age
            if age is not None and (touch.age is None or age < touch.age):
                touch.age = age
        return Receipt(draft.channel, message_id, global_id, self._epoch)


def fingerprint(draft: Draft) -> bytes:
    """Return a digest of what must be equal when an idempotency key returns."""
    digest = hashlib.blake2b(digest_size=16)
    site = draft.channel.site_id
    for part in (
        draft.channel.name.encode(),
        None if site is None else site.encode(),
        draft.data,
        draft.audience,
        draft.headers,
    ):
        # The length keeps two neighbouring parts from being cut at another place.
        digest.update(b"-" if part is None else b"%d:" % len(part))
        digest.update(part or b"")
    return digest.digest()


def check_kind(draft: Draft) -> None:
    """Check that a draft's kind, channel name and expected version go together.

    Args:
        draft: The draft.

    Raises:
        ChannelKindError: They do not; the message says which rule is broken.
    """
    name = draft.channel.name
    if draft.kind is Kind.PLAIN:
        if is_stream_name(name):
            raise ChannelKindError(
                f"{draft.channel} is a stream: append to it as a stream, with an expected version"
            )
        return
    if _STREAM.fullmatch(name) is None:
        raise ChannelKindError(f"{draft.channel} cannot be a stream: name it /stream/<type>/<id>")
    if draft.expected_version is None:
        raise ChannelKindError(f"an append to the stream {draft.channel} needs expected_version")


def _check_version(draft: Draft, last_id: int) -> None:
    expected = draft.expected_version
    if expected is not None and expected != last_id:
        raise VersionConflictError(str(draft.channel), expected, last_id)


def _repeats(draft: Draft, fresh: dict[tuple[ChannelKey, str], bytes]) -> bool:
    """Tell whether an earlier draft of the same group has this key, and note the key."""
    if draft.key is None:
        return False
    print_ = fingerprint(draft)
    first = fresh.setdefault((draft.channel, draft.key), print_)
    if first is print_:
        return False
    if first != print_:
        raise KeyReusedError(str(draft.channel), draft.key)
    return True
