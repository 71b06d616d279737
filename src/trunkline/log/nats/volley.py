"""The short way: single drafts to channels that are known, decided together, sent one by one.

What most publishes are. A shot that does not simply succeed is settled like any other append, so
it can be asked whatever a :class:`~trunkline.log.nats.plan.Plan` can.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from trunkline.errors import TrunklineError
from trunkline.log.admission import Turn
from trunkline.log.nats.courier import Answer
from trunkline.log.nats.envelope import CONDITION, MICRO, OURS, PREAMBLE
from trunkline.log.nats.era import Entry, Era
from trunkline.log.nats.jetstream import ack_of
from trunkline.log.nats.plan import UNKNOWN, Command, KeyName, UnknownChannelError, View
from trunkline.log.port import Outcome
from trunkline.log.retention import Retention
from trunkline.model.message import Draft, Receipt

_HEADER: Final = PREAMBLE + CONDITION + OURS + b"\r\n"


class Shot:
    """Be a single draft on its way."""

    __slots__ = (
        "at",
        "cargo",
        "draft",
        "entry",
        "era",
        "expected",
        "floor",
        "floor_global",
        "heard",
        "hit",
        "id_before",
        "is_doubtful",
        "missed",
        "name",
        "oldest_at",
    )

    def __init__(self, draft: Draft, era: Era, entry: Entry, at: float) -> None:
        self.draft = draft
        self.era = era
        self.entry = entry
        self.at = at
        self.expected = entry.last_seq
        self.id_before = entry.last_id
        self.floor = entry.floor
        self.floor_global = entry.floor_global
        self.oldest_at = entry.oldest_at
        self.heard = era.heard
        self.name = b""
        #: Whether some copy of it may have been stored, or may yet be.
        self.is_doubtful = False
        #: What the sender knows it by.
        self.cargo: Any = None
        #: Called with this and the global id, when it is stored.
        self.hit: Callable[[Shot, int], None]
        #: Called with this and what came instead of an acknowledgement.
        self.missed: Callable[[Shot, Answer | None], None]

    @property
    def rows(self) -> Sequence[Draft]:
        """Return what it stores."""
        return (self.draft,)

    @property
    def keys(self) -> Sequence[KeyName]:
        """Return none: drafts with keys take the long way."""
        return ()

    @property
    def first(self) -> Shot:
        """Return the channel of the first message."""
        return self

    @property
    def parts(self) -> Mapping[int, Shot]:
        """Return the only channel."""
        return {self.entry.ident: self}

    def hear(self, answer: Answer | None) -> None:
        """Take the answer."""
        if answer is not None:
            ack = ack_of(answer)
            if ack is not None and ack.error is None:
                self.hit(self, ack.seq)
                return
        self.missed(self, answer)

    def commands(self, batch: bytes) -> Sequence[Command]:
        """Write the message down."""
        del batch
        entry, draft = self.entry, self.draft
        data, audience, headers = draft.data, draft.audience, draft.headers
        at = round(self.at * MICRO)
        header = _HEADER % (
            self.expected,
            self.id_before + 1,
            self.expected,
            at,
            self.floor,
            self.floor_global,
            max(0, at - round(self.oldest_at * MICRO)),
            max(0, at - round(entry.keyed_at * MICRO)) if entry.keyed_at else -1,
            -1 if audience is None else len(audience),
            -1 if headers is None else len(headers),
            self.name,
            self.heard,
        )
        if audience is not None:
            data += audience
        if headers is not None:
            data += headers
        return (Command(entry.subject, header, data),)

    def stored(self, base: int) -> None:
        """Note that it is stored under a global id."""
        entry, era = self.entry, self.era
        era.advance(base, self.at)
        message_id = self.id_before + 1
        if message_id > entry.last_id:
            entry.note(message_id, base)
            entry.last_id, entry.last_seq = message_id, base
            entry.published_at, entry.oldest_at = self.at, self.oldest_at
            entry.is_new = False
        if self.floor > entry.floor:
            era.mark(entry.key, self.floor, self.floor_global)

    def outcomes(self, base: int) -> list[Outcome]:
        """Return the receipt."""
        return [(Receipt(self.draft.channel, self.id_before + 1, base, self.era.epoch),)]


class Volley:
    """Decide single drafts to different channels, all at one moment.

    Args:
        era: The era.
        retention: Which limits hold.
        now: Unix seconds.
    """

    def __init__(self, era: Era, retention: Retention, now: float) -> None:
        self._era = era
        self._now = now
        self._at = era.at = max(now, era.at)
        self._turn = Turn(View(era, {}), retention, epoch=era.epoch, head=UNKNOWN, at=self._at)

    def load(self, draft: Draft) -> Shot | None:
        """Decide a draft without key or expected version.

        Args:
            draft: The draft; its channel has none in this volley yet.

        Returns:
            The shot; None when something must be looked up, or the draft is refused.
        """
        turn = self._turn
        try:
            outcome = turn.admit((draft,))
        except UnknownChannelError:
            return None
        if isinstance(outcome, TrunklineError):
            return None
        touch = turn.touches[draft.channel]
        entry = cast("Entry", touch.entry)
        shot = Shot(draft, self._era, entry, self._at)
        floor = touch.floor
        if floor > entry.floor:
            seq = entry.seq_of(floor)
            if seq is None:
                return None
            shot.floor, shot.floor_global = floor, seq
        if floor >= entry.last_id:
            shot.oldest_at = self._at
        elif touch.age is not None and entry.oldest_at < self._now - touch.age:
            return None
        return shot
