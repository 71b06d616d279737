"""Turns of the native layout: what queued, as one script's arguments, and its reply as receipts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
from trunkline.log.redis.packing import pack_body, text_of
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
            refusal = refusals.get(number)
            if refusal is not None:
                stored.append(refuse(group, refusal))
                continue
            stored.append(tuple([_receipt(draft, next(ids), next(ids), epoch) for draft in group]))
        return self._shared_out(iter(stored))

    def _shared_out(self, answers: Iterator[Outcome]) -> list[list[Outcome]]:
        places = count()
        refused = self._refused
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
    ) -> None:
        self._retention = retention
        self._places: dict[ChannelKey, tuple[int, bytes]] = {}
        self._texts: list[str] = []
        self._limits: dict[Limits, int] = {}
        self._keys: dict[tuple[int, str], int] = {}
        self._fields: list[str] = []
        bodies: list[bytes] = []
        self._bodies = bodies
        self._answers = Answers(requests, self._encode)
        self.ask: list[Any] = [
            token,
            number,
            now,
            self._texts,
            [_limit_row(one) for one in self._limits],
            self._answers.codes,
            self._fields,
            list(map(len, bodies)),
        ]
        self.body = b"".join(bodies)

    def _encode(self, group: Group) -> Any:
        for draft in group:
            if draft.channel not in self._places or draft.kind is not Kind.PLAIN:
                check_keepable(draft)
        if len(group) == 1:
            draft = group[0]
            if draft.key is None and draft.expected_version is None:
                place, limit = self._place(draft), self._limit(draft)
                if limit < LIMITS:
                    return place * LIMITS + limit
                return [[place, limit, None, 0, ""]]
        return [self._encode_draft(draft) for draft in group]

    def _encode_draft(self, draft: Draft) -> list[Any]:
        place, key, print_ = self._place(draft), 0, ""
        if draft.key is not None:
            print_ = fingerprint(draft).hex()
            scoped = (place, draft.key)
            key = self._keys.setdefault(scoped, len(self._keys) + 1)
            if key > len(self._fields):
                self._fields.append(f"{self._texts[place - 1]}\1{draft.key}")
        return [place, self._limit(draft), draft.expected_version, key, print_]

    def _place(self, draft: Draft) -> int:
        """Return the channel's number in this turn, and pack the message."""
        found = self._places.get(draft.channel)
        if found is None:
            text = text_of(draft.channel)
            self._texts.append(text)
            found = self._places[draft.channel] = (len(self._texts), text.encode())
        place, packed = found
        self._bodies.append(pack_body(draft, packed, len(self._bodies)))
        return place

    def _limit(self, draft: Draft) -> int:
        limits = self._retention.limits_at(draft)
        return self._limits.setdefault(limits, len(self._limits) + 1)

    def outcomes(self, reply: Sequence[Any]) -> list[list[Outcome]]:
        """Say what a reply means for each request of the turn."""
        return self._answers.outcomes(reply, _refusal)


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
