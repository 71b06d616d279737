"""Turns of the native layout: what queued, as one script's arguments, and its reply as receipts."""

from __future__ import annotations

from collections.abc import Sequence
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
        self._requests = requests
        self._retention = retention
        #: Why a group was refused before it was sent, or its drafts as they are sent.
        self._refused: dict[int, TrunklineError] = {}
        self._sent: list[Group] = []
        self._places: dict[ChannelKey, tuple[int, bytes]] = {}
        self._texts: list[str] = []
        self._limits: dict[Limits, int] = {}
        self._keys: dict[tuple[int, str], int] = {}
        self._fields: list[str] = []
        bodies: list[bytes] = []
        self._bodies = bodies
        self.ask: list[Any] = [
            token,
            number,
            now,
            self._texts,
            [],
            self._encode_all(),
            self._fields,
            list(map(len, bodies)),
        ]
        self.ask[4] = [_limit_row(one) for one in self._limits]
        self.body = b"".join(bodies)

    def _encode_all(self) -> list[Any]:
        encoded: list[Any] = []
        place = 0
        for groups in self._requests:
            for group in groups:
                try:
                    code = self._encode(group)
                except TrunklineError as error:
                    self._refused[place] = error
                else:
                    encoded.append(code)
                    self._sent.append(group)
                place += 1
        return encoded

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
        epoch, count = reply[0].decode(), reply[3]
        answered = 4 + 4 * count
        refusals = {
            reply[i] - 1: (reply[i + 1], reply[i + 2] - 1, reply[i + 3])
            for i in range(4, answered, 4)
        }
        stored: list[Outcome] = []
        for number, group in enumerate(self._sent):
            refusal = refusals.get(number)
            if refusal is not None:
                stored.append(_refusal(group, refusal))
                continue
            receipts = []
            for draft in group:
                message_id, global_id = reply[answered], reply[answered + 1]
                answered += 2
                receipts.append(
                    Receipt(draft.channel, abs(message_id), global_id, epoch, message_id < 0)
                )
            stored.append(tuple(receipts))
        return self._shared_out(stored)

    def _shared_out(self, stored: list[Outcome]) -> list[list[Outcome]]:
        answers = iter(stored)
        place = 0
        shared: list[list[Outcome]] = []
        for groups in self._requests:
            mine: list[Outcome] = []
            for _ in groups:
                refused = self._refused.get(place)
                mine.append(next(answers) if refused is None else refused)
                place += 1
            shared.append(mine)
        return shared


def _limit_row(limits: Limits) -> tuple[int, float, int]:
    size, age = limits.max_backlog_size, limits.max_backlog_age
    return (
        _UNLIMITED if size is None else size,
        _UNLIMITED if age is None else age,
        limits.clear_every,
    )


def _refusal(group: Group, refusal: tuple[int, int, int]) -> TrunklineError:
    kind, place, last_id = refusal
    draft = group[place]
    if kind == _VERSION:
        return VersionConflictError(str(draft.channel), draft.expected_version or 0, last_id)
    return KeyReusedError(str(draft.channel), draft.key or "")
