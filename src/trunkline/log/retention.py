"""How long plain channels keep their messages: settings that may change while the line runs."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from trunkline.errors import ConfigError
from trunkline.model.channel import ChannelKey
from trunkline.model.interest import Interest
from trunkline.model.message import Draft, Limits
from trunkline.model.pattern import Pattern, channel_pattern

RECEIPT_AGE = 86400.0
HELD_KEPT = 8192

Bound = TypeVar("Bound", int | None, float | None)


class Retention:
    """Answer which limits hold for a channel.

    Engines ask at every trim, so a change holds from the next one on.

    Args:
        default: Limits of channels without settings of their own.
        max_line_size: Plain messages kept over the whole line, oldest dropped first; None for
            no cap.
        receipt_age: Seconds an idempotency key is remembered.
    """

    def __init__(
        self,
        default: Limits | None = None,
        *,
        max_line_size: int | None = 10_000_000,
        receipt_age: float = RECEIPT_AGE,
    ) -> None:
        self._default = checked(default or Limits())
        self.max_line_size = max_line_size
        self.receipt_age = receipt_age
        self._rules: dict[Pattern, Limits] = {}
        self._holds: dict[str, tuple[Interest, Limits]] = {}
        self._held: dict[ChannelKey, Limits | None] = {}

    @property
    def default(self) -> Limits:
        """Return or set the limits of channels without settings of their own."""
        return self._default

    @default.setter
    def default(self, limits: Limits) -> None:
        self._default = checked(limits)
        self._held.clear()

    @property
    def max_backlog_size(self) -> int | None:
        """Return or set the default's number of messages kept; None for no bound."""
        return self._default.max_backlog_size

    @max_backlog_size.setter
    def max_backlog_size(self, size: int | None) -> None:
        self.default = msgspec.structs.replace(self._default, max_backlog_size=size)

    @property
    def max_backlog_age(self) -> float | None:
        """Return or set the default's seconds a message is kept; None for no bound."""
        return self._default.max_backlog_age

    @max_backlog_age.setter
    def max_backlog_age(self, age: float | None) -> None:
        self.default = msgspec.structs.replace(self._default, max_backlog_age=age)

    @property
    def clear_every(self) -> int:
        """Return or set at which ids of a channel it is trimmed by size: every n-th."""
        return self._default.clear_every

    @clear_every.setter
    def clear_every(self, ids: int) -> None:
        self.default = msgspec.structs.replace(self._default, clear_every=ids)

    def set(self, pattern: str, limits: Limits | None) -> None:
        """Give the channels that match *pattern* limits of their own, or take them back.

        Args:
            pattern: A channel name or pattern; of several that match, the latest set holds.
            limits: The limits, or None to remove the rule.

        Raises:
            ConfigError: A limit is out of range.
            GrammarError: The pattern is none.
        """
        compiled = channel_pattern(pattern)
        self._rules.pop(compiled, None)
        if limits is not None:
            self._rules[compiled] = checked(limits)
        self._held.clear()

    def hold(self, name: str, interest: Interest, cap: Limits | None) -> None:
        """Have trimming wait for somebody, up to a cap, or no longer.

        Engines then trim the channels by the cap alone; whoever is waited for trims them by the
        limits that would hold otherwise, as far as it has come.

        Args:
            name: Who is waited for.
            interest: In which channels.
            cap: Limits that hold all the same; None to wait no longer.
        """
        self._held.clear()
        self._holds.pop(name, None)
        if cap is not None:
            self._holds[name] = (interest, checked(cap))

    @property
    def holds(self) -> frozenset[str]:
        """Name those whom trimming waits for."""
        return frozenset(self._holds)

    @property
    def is_uniform(self) -> bool:
        """Tell whether the default holds for every channel."""
        return not self._rules and not self._holds

    def own_limits(self, key: ChannelKey) -> Limits | None:
        """Return the limits set for *key* by a rule or a hold, or None for the default."""
        if self._holds and (held := self._held_limits(key)) is not None:
            return held
        return self._rule(key)

    def limits_unheld(self, key: ChannelKey) -> Limits:
        """Return the limits that would hold for *key* if nobody had to be waited for."""
        return self._rule(key) or self.default

    def _rule(self, key: ChannelKey) -> Limits | None:
        for pattern, limits in reversed(self._rules.items()):
            if pattern.matches(key.name):
                return limits
        return None

    def _held_limits(self, key: ChannelKey) -> Limits | None:
        if key in self._held:
            return self._held[key]
        found: Limits | None = None
        for interest, cap in self._holds.values():
            if interest.includes(key):
                found = _wider(found or self.limits_unheld(key), cap)
        if len(self._held) >= HELD_KEPT:
            self._held.clear()
        self._held[key] = found
        return found

    def limits(self, key: ChannelKey) -> Limits:
        """Return the limits that hold for *key* in a sweep."""
        return self.own_limits(key) or self.default

    def limits_at(self, draft: Draft) -> Limits:
        """Return the limits for the trim that an append of *draft* makes."""
        own = self.own_limits(draft.channel)
        if own is not None:
            return own
        if draft.max_backlog_size is None and draft.max_backlog_age is None:
            return self.default
        base = self.default
        return Limits(
            base.max_backlog_size if draft.max_backlog_size is None else draft.max_backlog_size,
            base.max_backlog_age if draft.max_backlog_age is None else draft.max_backlog_age,
            base.max_idle,
            base.clear_every,
        )


def _wider(limits: Limits, cap: Limits) -> Limits:
    """Return limits that trim only what both would trim."""
    return Limits(
        _larger(limits.max_backlog_size, cap.max_backlog_size),
        _larger(limits.max_backlog_age, cap.max_backlog_age),
        None,
        limits.clear_every,
    )


def _larger(one: Bound, other: Bound) -> Bound:
    return None if one is None or other is None else max(one, other)


def checked(limits: Limits) -> Limits:
    """Return *limits*, or raise when one is out of range.

    Raises:
        ConfigError: A limit is negative, or ``clear_every`` is below 1.
    """
    if limits.max_backlog_size is not None and limits.max_backlog_size < 1:
        raise ConfigError(f"max_backlog_size={limits.max_backlog_size} must be at least 1")
    for name in ("max_backlog_age", "max_idle"):
        value = getattr(limits, name)
        if value is not None and not value > 0:
            raise ConfigError(f"{name}={value} must be more than 0 seconds")
    if limits.clear_every < 1:
        raise ConfigError(f"clear_every={limits.clear_every} must be at least 1")
    return limits
