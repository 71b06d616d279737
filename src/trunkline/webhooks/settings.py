"""The settings of the webhooks: ``Trunkline(webhooks={…})``, or a table ``[webhooks]``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from trunkline.errors import ConfigError
from trunkline.runtime import quantity

#: What bodies look like.
BODIES: Final = ("standard", "cloudevents", "demux")
_DURATIONS: Final = frozenset(
    {"entry_ttl", "secret_grace", "keep", "purge_interval", "payload_timeout"}
)


class WebhookOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hold the settings. Durations are seconds, or text such as ``30d``.

    Args:
        demuxer: Resolves signals that name no demuxer of their own: a class, or its
            ``module:name``; None for the built-in worker's.
        body: What bodies look like where an app's options say nothing: ``standard``,
            ``cloudevents`` or ``demux``.
        source: Names this host in CloudEvents and entry tokens.
        secret_keys: Master keys that seal secrets, 32 bytes each as base64; the first seals.
        secret_grace: For so long an old secret stays valid beside a new one.
        entry_ttl: For so long an entry token is valid.
        keep: Transmissions that are over are kept for so long; None for ever.
        purge_interval: Between two purges.
        payload_timeout: A payload that takes longer has failed.
        payload_limit: Bytes of a body at most; a larger payload has failed.
        max_backlog: Undelivered transmissions of one endpoint at most; beyond it the purge
            withdraws the oldest. None for no limit.
        delivery: Settings of the delivery.
        services: Settings of what services tell each other.
    """

    demuxer: Any = None
    body: str = "standard"
    source: str = "trunkline"
    secret_keys: tuple[str, ...] = ()
    secret_grace: float = 86400.0
    entry_ttl: float = 60.0
    keep: float | None = 30 * 86400.0
    purge_interval: float = 3600.0
    payload_timeout: float = 10.0
    payload_limit: int = 350_000
    max_backlog: int | None = 1_000_000
    delivery: Mapping[str, Any] = {}
    services: Mapping[str, Any] = {}

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> WebhookOptions:
        """Check settings.

        Raises:
            ConfigError: One is unknown, or of the wrong kind; its value is not told.
        """
        values = {
            name: quantity.duration(f"webhooks.{name}", value)
            if name in _DURATIONS and isinstance(value, str)
            else value
            for name, value in given.items()
        }
        demuxer = values.pop("demuxer", None)
        try:
            options = msgspec.convert({**values}, cls)
        except msgspec.ValidationError as error:
            raise ConfigError(f"webhooks: {error}") from error
        options = msgspec.structs.replace(options, demuxer=demuxer)
        options.check()
        return options

    def check(self) -> None:
        """Check what types don't tell.

        Raises:
            ConfigError: Something is out of range.
        """
        if self.body not in BODIES:
            raise ConfigError(f"webhooks.body={self.body!r}: one of {', '.join(BODIES)}")
        for name in (*_DURATIONS, "payload_limit", "max_backlog"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"webhooks.{name}={value} must be more than 0")

    def __repr__(self) -> str:
        return f"<WebhookOptions body={self.body}>"


def shown(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as they may be shown."""
    return {name: "***" if name == "secret_keys" else value for name, value in given.items()}
