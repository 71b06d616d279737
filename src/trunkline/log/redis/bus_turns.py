"""Turns of the message_bus layout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from trunkline.errors import KeyReusedError, TrunklineError
from trunkline.log.admission import fingerprint
from trunkline.log.port import Group, Outcome
from trunkline.log.redis.envelope import encode_envelope, encode_name, escape_name
from trunkline.log.redis.scripts import Script, load_script
from trunkline.log.redis.turns import Answers, check_keepable
from trunkline.log.retention import Retention
from trunkline.model.channel import ChannelKey
from trunkline.model.message import Draft, Limits

APPEND: Final = load_script("shared_bus", "append_batch", "verify_line")
_UNLIMITED: Final = -1


class BusTurn:
    """Be one turn of the message_bus layout.

    Args:
        requests: The groups of each caller.
        token: Names this publisher.
        number: Counts its turns.
        retention: Which limits hold.
        fixed: The last arguments: pointers kept, pub/sub channel.
    """

    script: Script = APPEND

    def __init__(
        self,
        requests: Sequence[Sequence[Group]],
        token: str,
        number: int,
        *,
        retention: Retention,
        fixed: tuple[int, str],
    ) -> None:
        self._retention = retention
        self._places: dict[ChannelKey, int] = {}
        self._names: list[str] = []
        self._limits: dict[Limits, int] = {}
        self._keys: dict[tuple[int, str], int] = {}
        self._fields: list[str] = []
        self._envelopes: list[bytes] = []
        self._answers = Answers(requests, self._encode)
        self.ask: list[Any] = [
            token,
            number,
            self._names,
            [escape_name(name) for name in self._names],
            [_limit_row(one) for one in self._limits],
            self._answers.codes,
            self._fields,
            list(map(len, self._envelopes)),
            *fixed,
            max(1, math.ceil(retention.receipt_age)),
        ]
        self.body = b"".join(self._envelopes)

    def _encode(self, group: Group) -> Any:
        envelopes = []
        for draft in group:
            check_keepable(draft)
            envelopes.append(encode_envelope(draft))
        self._envelopes += envelopes
        return [self._encode_draft(draft) for draft in group]

    def _encode_draft(self, draft: Draft) -> list[Any]:
        place = self._places.get(draft.channel)
        if place is None:
            self._names.append(encode_name(draft.channel))
            place = self._places[draft.channel] = len(self._names)
        limits = self._retention.limits_at(draft)
        limit = self._limits.setdefault(limits, len(self._limits) + 1)
        if draft.key is None:
            return [place, limit, 0, ""]
        key = self._keys.setdefault((place, draft.key), len(self._keys) + 1)
        if key > len(self._fields):
            self._fields.append(f"{self._names[place - 1]}\1{draft.key}")
        return [place, limit, key, fingerprint(draft).hex()]

    def outcomes(self, reply: Sequence[Any]) -> list[list[Outcome]]:
        """Say what a reply means for each request of the turn."""
        return self._answers.outcomes(reply, _refusal)


def _limit_row(limits: Limits) -> tuple[int, int, int]:
    size, age = limits.max_backlog_size, limits.max_backlog_age
    return (
        _UNLIMITED if size is None else size,
        _UNLIMITED if age is None else max(1, math.ceil(age)),
        limits.clear_every,
    )


def _refusal(group: Group, refusal: tuple[int, int, int]) -> TrunklineError:
    draft = group[refusal[1]]
    return KeyReusedError(str(draft.channel), draft.key or "")
