"""Turns of the native layout: what queued, as one script's arguments, and its reply as receipts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, count
from typing import Any, Final

from trunkline.errors import (
    ChannelKindError,
    KeyReusedError,
    TrunklineError,
    VersionConflictError,
)
from trunkline.log.admission import check_kind, fingerprint
from trunkline.log.port import Group, Outcome
from trunkline.log.redis.packing import SALTS, Fronts, pack_front, text_of
from trunkline.log.redis.scripts import Script, load_script
from trunkline.log.retention import Retention
from trunkline.model.channel import ChannelKey, Kind
from trunkline.model.message import Draft, Limits, Receipt

APPEND: Final = load_script("native", "append_batch", "verify_line", "keep_channels")

#: A lone plain draft is one number: its channel times this, plus its limits.
LIMITS: Final = 256
_VERSION: Final = 1
_UNLIMITED: Final = -1


def check_keepable(draft: Draft) -> None:
    """Refuse what this engine does not keep.

    Raises:
        ChannelKindError: It is a stream, or a plain draft with a stream's name.
    """
    check_kind(draft)
    if draft.kind is Kind.STREAM:
        raise ChannelKindError(
            f"{draft.channel} is a stream, and Redis keeps none: streams live on the SQL engines "
            "(sqlite://, postgresql://) and in memory"
        )


Refusal = tuple[int, int, int]


class Answers:
    """Match a reply with the groups that were sent, and those with their callers.

    Args:
        requests: The groups of each caller.
        encode: Says what is sent for a group, or raises why it is not.
    """

    def __init__(self, requests: Sequence[Sequence[Group]], encode: Callable[[Group], Any]) -> None:
        self._requests = requests
        self._refused: dict[int, TrunklineError] = {}
        self._sent: list[Group] = []
        self.codes: list[Any] = []
        for place, group in enumerate(chain.from_iterable(requests)):
            try:
                self.codes.append(encode(group))
                self._sent.append(group)
            except TrunklineError as error:
                self._refused[place] = error

    def outcomes(
        self, reply: Sequence[Any], refuse: Callable[[Group, Refusal], TrunklineError]
    ) -> list[list[Outcome]]:
        """Say what a reply means for each caller.

        Args:
            reply: Epoch, head, mark, count of refusals, refusals, ids.
            refuse: Says why a group was refused.
        """
        epoch, answered = reply[0].decode(), 4 + 4 * reply[3]
        refusals = {
            reply[i] - 1: (reply[i + 1], reply[i + 2] - 1, reply[i + 3])
            for i in range(4, answered, 4)
        }
        ids = iter(reply[answered:])
        stored: list[Outcome] = []
        for number, group in enumerate(self._sent):
            if refusals and (refusal := refusals.get(number)) is not None:
                stored.append(refuse(group, refusal))
                continue
            stored.append(tuple([_receipt(draft, next(ids), next(ids), epoch) for draft in group]))
        return self._shared_out(stored)

    def _shared_out(self, stored: list[Outcome]) -> list[list[Outcome]]:
        refused = self._refused
        if (
            not refused
            and len(stored) == len(self._requests)
            and max(map(len, self._requests)) == 1
        ):
            return [[one] for one in stored]
        places, answers = count(), iter(stored)
        return [
            [refused[place] if (place := next(places)) in refused else next(answers) for _ in one]
            for one in self._requests
        ]


def _receipt(draft: Draft, message_id: int, global_id: int, epoch: str) -> Receipt:
    return Receipt(draft.channel, abs(message_id), global_id, epoch, message_id < 0)


class NativeTurn:
    """Be one turn of the native layout.

    Args:
        requests: The groups of each caller.
        token: Names this publisher.
        number: Counts its turns.
        now: The time.
        retention: Which limits hold.
        fronts: What earlier turns packed.
    """

    script: Script = APPEND

    def __init__(
        self,
        requests: Sequence[Sequence[Group]],
        token: str,
        number: int,
        *,
        now: float,
        retention: Retention,
        fronts: Fronts,
    ) -> None:
        self._retention = retention
        self._is_uniform = retention.is_uniform
        self._common = 0
        self._fronts = fronts
        self._places: dict[ChannelKey, int] = {}
        self._texts: list[str] = []
        self._limits: dict[Limits, int] = {}
        self._keys: dict[tuple[int, str], int] = {}
        self._fields: list[str] = []
        self._bodies: list[bytes] = []
        self._sizes: list[int] = []
        self._answers = Answers(requests, self._encode)
        self.ask: list[Any] = [
            token,
            number,
            now,
            self._texts,
            [_limit_row(one) for one in self._limits],
            self._answers.codes,
            self._fields,
            self._sizes,
        ]
        self.body = b"".join(self._bodies)

    def _encode(self, group: Group) -> Any:
        if len(group) == 1:
            draft = group[0]
            if draft.key is None and draft.expected_version is None:
                place, limit = self._take_usual(draft) if _is_usual(draft) else self._take(draft)
                if limit < LIMITS:
                    return place * LIMITS + limit
                return [[place, limit, None, 0, ""]]
        for draft in group:
            check_keepable(draft)
        return [self._encode_draft(draft) for draft in group]

    def _encode_draft(self, draft: Draft) -> list[Any]:
        key, print_ = 0, ""
        place, limit = self._take(draft)
        if draft.key is not None:
            print_ = fingerprint(draft).hex()
            scoped = (place, draft.key)
            key = self._keys.setdefault(scoped, len(self._keys) + 1)
            if key > len(self._fields):
                self._fields.append(f"{self._texts[place - 1]}\1{draft.key}")
        return [place, limit, draft.expected_version, key, print_]

    def _take(self, draft: Draft) -> tuple[int, int]:
        """Pack a message, and return the numbers of its channel and limits in this turn."""
        channel = draft.channel
        place = self._places.get(channel)
        if place is None or draft.kind is not Kind.PLAIN:
            check_keepable(draft)
        if place is None:
            place = self._add_place(channel, text_of(channel))
        self._add_body(pack_front(draft, self._texts[place - 1]), draft.data)
        return place, self._limit(draft)

    def _take_usual(self, draft: Draft) -> tuple[int, int]:
        """Do the same for a draft that asks for nothing but to be stored; most do."""
        channel = draft.channel
        found = self._fronts.get(channel)
        if found is None:
            check_keepable(draft)
            found = self._fronts.add(draft)
        text, front = found
        place = self._places.get(channel) or self._add_place(channel, text)
        limit = self._common or self._limit(draft)
        if self._is_uniform:
            self._common = limit
        self._add_body(front, draft.data)
        return place, limit

    def _add_place(self, channel: ChannelKey, text: str) -> int:
        """Return a channel's number in this turn."""
        self._texts.append(text)
        place = self._places[channel] = len(self._texts)
        return place

    def _add_body(self, front: bytes, data: bytes) -> None:
        sizes = self._sizes
        self._bodies += (front, data, SALTS[len(sizes) & 255])
        sizes.append(len(front) + len(data) + 1)

    def _limit(self, draft: Draft) -> int:
        limits = self._retention.limits_at(draft)
        return self._limits.setdefault(limits, len(self._limits) + 1)

    def outcomes(self, reply: Sequence[Any]) -> list[list[Outcome]]:
        """Say what a reply means for each request of the turn."""
        return self._answers.outcomes(reply, _refusal)


def _is_usual(draft: Draft) -> bool:
    """Tell whether a draft asks for nothing but to be stored."""
    return (
        draft.kind is Kind.PLAIN
        and draft.key is None
        and draft.expected_version is None
        and draft.audience is None
        and draft.headers is None
        and draft.max_backlog_size is None
        and draft.max_backlog_age is None
    )


def _limit_row(limits: Limits) -> tuple[int, float, int]:
    size, age = limits.max_backlog_size, limits.max_backlog_age
    return (
        _UNLIMITED if size is None else size,
        _UNLIMITED if age is None else age,
        limits.clear_every,
    )


def _refusal(group: Group, refusal: Refusal) -> TrunklineError:
    kind, place, last_id = refusal
    draft = group[place]
    if kind == _VERSION:
        return VersionConflictError(str(draft.channel), draft.expected_version or 0, last_id)
    return KeyReusedError(str(draft.channel), draft.key or "")
