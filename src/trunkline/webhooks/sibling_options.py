"""The settings of services that tell each other: ``webhooks={"services": {…}}``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from trunkline.errors import ConfigError, GrammarError
from trunkline.runtime import quantity
from trunkline.wire.toot import Format, check_prefix

_DURATIONS: Final = frozenset({"lease", "challenge_timeout", "remember"})


class SiblingOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hold the settings. Durations are seconds, or text such as ``7d``.

    Args:
        prefix: Stands before the names of channels that are published; nothing is put between.
            Others may subscribe only to channels that begin with it.
        callback_url: Where sources call this service: the URL of its handler service.
        format: ``standard``, or ``toot`` for peers whose format isn't told.
        lease: For so long a subscription stands unless it is renewed; others may ask for less.
        challenge: Whether a callback's owner is asked before it is called, those of the format
            ``toot`` excepted, which don't understand the question.
        challenge_timeout: For so long the answer is awaited.
        open: Whether strangers may subscribe, without proving who they are.
        register: ``start`` has workers register all subscriptions and renew them; ``manual``
            leaves it to ``trunkline register``.
        remember: For so long the ids of events and requests are remembered, to tell repetitions.
        most: Subscriptions that one peer may have.
        delivery: Options of each callback's endpoint, such as its ``schedule``.
    """

    prefix: str = ""
    callback_url: str | None = None
    format: Format = "standard"
    lease: float = 7 * 86400.0
    challenge: bool = True
    challenge_timeout: float = 10.0
    open: bool = False
    register: Literal["start", "manual"] = "start"
    remember: float = 30 * 86400.0
    most: int = 10_000
    delivery: dict[str, Any] = {}

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> SiblingOptions:
        """Check settings.

        Raises:
            ConfigError: One is unknown, or out of range.
        """
        values = {
            name: quantity.duration(f"webhooks.services.{name}", value)
            if name in _DURATIONS and isinstance(value, str)
            else value
            for name, value in given.items()
        }
        try:
            options = msgspec.convert(values, cls)
            check_prefix(options.prefix)
        except (msgspec.ValidationError, GrammarError) as error:
            raise ConfigError(f"webhooks.services: {error}") from error
        for name in _DURATIONS:
            if not getattr(options, name) > 0:
                raise ConfigError(f"webhooks.services.{name} must be more than 0 seconds")
        if options.lease < 60:
            raise ConfigError("webhooks.services.lease must be at least 60 seconds")
        return options
