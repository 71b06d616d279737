"""A turn: groups of drafts as one call of an append function, and its answer as their outcomes.

The server decides, under the tail's lock, what goes in; here is only what needs no look at what is
stored: which kind a name demands, which limits hold, where in a batch a draft stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

from trunkline.errors import KeyReusedError, TrunklineError, VersionConflictError
from trunkline.log.admission import check_kind, fingerprint
from trunkline.log.port import Group, Outcome
from trunkline.log.postgres import statements as sql
from trunkline.log.retention import Retention
from trunkline.model.channel import ChannelKey, Kind
from trunkline.model.message import Draft, Limits, Receipt

_UNLIMITED = Limits(None, None)
STORED, REPEAT, CONFLICT, REUSED = 1, 2, 3, 4


class Call(NamedTuple):
    """Be a statement with the arguments that follow those every append has."""

    statement: str
    arguments: tuple[Any, ...]


class Answer(NamedTuple):
    """Be what an append function returns: epoch, head from before, messages newly hidden, ids."""

    epoch: str
    head: int
    hidden: int
    ids: list[int]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text that an append function returns."""
        epoch, head, hidden, ids = text.split(" ")
        return cls(epoch, int(head), int(hidden), list(map(int, ids.split(","))))


class _Slot:
    """Gather what a turn does to one channel."""

    __slots__ = ("age", "count", "keep", "key", "limits", "number", "own")

    def __init__(self, number: int, key: ChannelKey, retention: Retention) -> None:
        self.number = number
        self.key = key
        self.own = retention.own_limits(key)
        #: What holds for a draft that says nothing about limits.
        self.limits = self.own or retention.default
        self.count = 0
        #: The newest offset that the limits by size hide, counted from the last id before.
        self.keep: int | None = None
        self.age: float | None = None


class Turn:
    """Prepare groups for one append, and read its answer.

    Args:
        groups: Each stored whole or not at all.
        retention: Which limits hold.
    """

    def __init__(self, groups: Sequence[Group], retention: Retention) -> None:
        self._retention = retention
        self._slots: dict[ChannelKey, _Slot] = {}
        self._drafts: list[Draft] = []
        self._outcomes: list[Outcome | None] = []
        self._groups: list[Group] = []
        for group in groups:
            self._add(group)

    def _add(self, group: Group) -> None:
        try:
            for draft in group:
                if draft.channel not in self._slots or draft.kind is Kind.STREAM:
                    check_kind(draft)
        except TrunklineError as error:
            self._outcomes.append(error)
            return
        self._outcomes.append(None if group else ())
        if group:
            self._groups.append(group)
            self._drafts.extend(group)
            for draft in group:
                if draft.channel not in self._slots:
                    number = len(self._slots) + 1
                    self._slots[draft.channel] = _Slot(number, draft.channel, self._retention)

    def call(self) -> Call | None:
        """Return the call that stores the groups, or None when there is nothing to store."""
        if not self._drafts:
            return None
        self._is_conditional = False
        for draft in self._drafts:
            if (
                draft.key is not None
                or draft.expected_version is not None
                or self._limits(draft).clear_every != 1
            ):
                self._is_conditional = True
                break
        if len(self._drafts) == 1 and self._is_plain_one(self._drafts[0]):
            self._is_conditional = False
            return self._one(self._drafts[0])
        if len(self._drafts) == 1 and self._is_next(self._drafts[0]):
            return self._next(self._drafts[0])
        return self._conditional() if self._is_conditional else self._plain()

    def _is_plain_one(self, draft: Draft) -> bool:
        return draft.key is None and draft.expected_version is None

    def _is_next(self, draft: Draft) -> bool:
        return draft.kind is Kind.STREAM and draft.key is None and draft.audience is None

    def _next(self, draft: Draft) -> Call:
        return Call(
            sql.APPEND_NEXT,
            (
                draft.channel.site_id or "",
                draft.channel.name,
                draft.data,
                draft.headers,
                draft.expected_version,
            ),
        )

    def _limits(self, draft: Draft) -> Limits:
        if draft.kind is Kind.STREAM:
            return _UNLIMITED
        slot = self._slots[draft.channel]
        if draft.max_backlog_size is None and draft.max_backlog_age is None:
            return slot.limits
        return slot.own or self._retention.limits_at(draft)

    def _one(self, draft: Draft) -> Call:
        limits = self._limits(draft)
        self._offsets = [1]
        return Call(
            sql.APPEND_ONE,
            (
                draft.channel.site_id or "",
                draft.channel.name,
                draft.data,
                draft.audience,
                draft.headers,
                limits.max_backlog_size,
                limits.clear_every,
                limits.max_backlog_age,
            ),
        )

    def _plain(self) -> Call:
        numbers: list[int] = []
        self._offsets = []
        for draft in self._drafts:
            slot = self._slots[draft.channel]
            slot.count += 1
            numbers.append(slot.number)
            self._offsets.append(slot.count)
            limits = self._limits(draft)
            size, age = limits.max_backlog_size, limits.max_backlog_age
            # A later draft with the same size hides more, so the latest of each counts.
            if size is not None and (slot.keep is None or slot.count - size > slot.keep):
                slot.keep = slot.count - size
            if age is not None and (slot.age is None or age < slot.age):
                slot.age = age
        slots = self._slots.values()
        return Call(
            sql.APPEND,
            (
                *self._names(),
                [slot.count for slot in slots],
                [slot.keep for slot in slots],
                [slot.age for slot in slots],
                numbers,
                self._offsets,
                *self._bodies(),
            ),
        )

    def _conditional(self) -> Call:
        ends: list[int] = []
        for group in self._groups:
            ends.append((ends[-1] if ends else 0) + len(group))
        limits = [self._limits(draft) for draft in self._drafts]
        keys: dict[tuple[int, bytes], int] = {}
        numbers, key_of, prints = [], [], []
        for draft in self._drafts:
            number = self._slots[draft.channel].number
            numbers.append(number)
            if draft.key is None:
                key_of.append(0)
                prints.append(b"")
            else:
                key = (number, draft.key.encode("utf-8", "surrogatepass"))
                key_of.append(keys.setdefault(key, len(keys) + 1))
                prints.append(fingerprint(draft))
        kinds = {draft.channel: draft.kind.value for draft in self._drafts}
        return Call(
            sql.APPEND_IF,
            (
                *self._names(),
                [kinds[key] for key in self._slots],
                ends,
                numbers,
                *self._bodies(),
                [draft.expected_version for draft in self._drafts],
                [one.max_backlog_size for one in limits],
                [one.clear_every for one in limits],
                [one.max_backlog_age for one in limits],
                key_of,
                prints,
                [number for number, _ in keys],
                [key for _, key in keys],
            ),
        )

    def _names(self) -> tuple[list[str], list[str]]:
        return [key.site_id or "" for key in self._slots], [key.name for key in self._slots]

    def _bodies(self) -> tuple[Any, Any, Any]:
        audiences: list[bytes | None] = [draft.audience for draft in self._drafts]
        headers: list[bytes | None] = [draft.headers for draft in self._drafts]
        return (
            [draft.data for draft in self._drafts],
            audiences if any(audiences) else None,
            headers if any(headers) else None,
        )

    def stored(self, answer: Answer) -> int:
        """Count the messages that an answer says were stored."""
        count = len(self._drafts)
        return answer.ids[2 * count :].count(STORED) if self._is_conditional else count

    def outcomes(self, answer: Answer | None) -> list[Outcome]:
        """Return each group's receipts or refusal, in the order given.

        Args:
            answer: What the call returned; None when there was nothing to store.
        """
        if answer is None:
            settled: list[Outcome] = []
        elif self._is_conditional:
            settled = self._verdicts(answer)
        else:
            settled = self._receipts(answer)
        rest = iter(settled)
        return [next(rest) if one is None else one for one in self._outcomes]

    def _receipts(self, answer: Answer) -> list[Outcome]:
        epoch, head, _, lasts = answer
        found: list[Outcome] = []
        index = 0
        for group in self._groups:
            receipts = []
            for draft in group:
                before = lasts[self._slots[draft.channel].number - 1]
                message_id = before + self._offsets[index]
                index += 1
                receipts.append(Receipt(draft.channel, message_id, head + index, epoch))
            found.append(tuple(receipts))
        return found

    def _verdicts(self, answer: Answer) -> list[Outcome]:
        count = len(self._drafts)
        ids = answer.ids
        found: list[Outcome] = []
        index = 0
        for group in self._groups:
            receipts = []
            refusal: TrunklineError | None = None
            for draft in group:
                message_id, verdict = ids[index], ids[index + 2 * count]
                if verdict in {CONFLICT, REUSED}:
                    refusal = _refusal(draft, verdict, message_id)
                elif verdict:
                    receipts.append(
                        Receipt(
                            draft.channel,
                            message_id,
                            ids[index + count],
                            answer.epoch,
                            is_repeat=verdict == REPEAT,
                        )
                    )
                index += 1
            found.append(refusal or tuple(receipts))
        return found


def _refusal(draft: Draft, verdict: int, actual: int) -> TrunklineError:
    if verdict == REUSED:
        return KeyReusedError(str(draft.channel), draft.key or "")
    return VersionConflictError(str(draft.channel), draft.expected_version or 0, actual)
