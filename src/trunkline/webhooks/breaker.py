"""How an endpoint fares: when it is left alone, when it is tried again, when it is given up.

Pure functions on one value, which is stored with the endpoint. While an endpoint is parked its
transmissions stay where they are, and lose no attempt.
"""

from __future__ import annotations

from typing import Final

import msgspec

#: Failures in a row that open the breaker.
THRESHOLD: Final = 5
#: Seconds until the first probe, and between probes at most.
FIRST_PROBE, LAST_PROBE = 5.0, 3600.0
#: Seconds that an endpoint may ask to be left alone, at most.
LONGEST_PAUSE: Final = 3600.0
#: Failures, at least, before an endpoint is disabled.
FEWEST: Final = 10
#: Parts of the time until it is disabled, percent, at which its owner is warned.
LADDER: Final = (50, 70, 90)

CLOSED, OPEN = "closed", "open"


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Say how an endpoint fares.

    Args:
        breaker: ``closed`` or ``open``.
        opens: Openings in a row.
        failures: Failures in a row.
        parked_until: Nothing is sent before, Unix seconds; then one as a probe, if it is open.
        failing_since: The first failure since the last success, Unix seconds.
        succeeded_at: The last success.
        failed_at: The last failure.
        notice: How far its owner was warned, percent.
        disabled_at: When it was given up, or None.
        disabled_reason: Why.
    """

    breaker: str = CLOSED
    opens: int = 0
    failures: int = 0
    parked_until: float = 0.0
    failing_since: float | None = None
    succeeded_at: float | None = None
    failed_at: float | None = None
    notice: int = 0
    disabled_at: float | None = None
    disabled_reason: str | None = None

    @property
    def is_enabled(self) -> bool:
        """Tell whether it is sent anything at all."""
        return self.disabled_at is None


def room_of(health: Health, in_flight: int, now: float) -> int | None:
    """Return how many requests an endpoint's health allows, or None for no limit by it."""
    if not health.is_enabled or now < health.parked_until:
        return 0
    if health.breaker == OPEN:
        return 1 if in_flight == 0 else 0
    return None


def succeed(health: Health, now: float) -> Health:
    """Return the health after a success: everything is forgiven."""
    if not health.is_enabled:
        return msgspec.structs.replace(health, succeeded_at=now)
    return Health(succeeded_at=now, failed_at=health.failed_at)


def fail(
    health: Health, now: float, *, disable_after: float, factor: float, pause: float | None = None
) -> Health:
    """Return the health after a failure.

    Args:
        health: As it was.
        now: Unix seconds.
        disable_after: Seconds of failures alone after which it is disabled.
        factor: Chance, about 1: what the wait for a probe is multiplied with.
        pause: Seconds that the endpoint asked for, or None.
    """
    since = now if health.failing_since is None else health.failing_since
    failures = health.failures + 1
    changed = msgspec.structs.replace(health, failures=failures, failing_since=since, failed_at=now)
    if pause is not None:
        until = now + min(pause, LONGEST_PAUSE)
        changed = msgspec.structs.replace(changed, parked_until=max(until, health.parked_until))
    # What was under way when it opened says nothing new: only a probe lengthens the wait.
    is_new = health.breaker != OPEN or now >= health.parked_until
    if failures >= THRESHOLD and is_new:
        wait = min(LAST_PROBE, FIRST_PROBE * 2.0 ** min(health.opens, 30)) * factor
        changed = msgspec.structs.replace(
            changed,
            breaker=OPEN,
            opens=health.opens + 1,
            parked_until=max(changed.parked_until, now + wait),
        )
    return _warned(changed, now, disable_after)


def _warned(health: Health, now: float, disable_after: float) -> Health:
    lasted = now - (now if health.failing_since is None else health.failing_since)
    if lasted >= disable_after and health.failures >= FEWEST and health.is_enabled:
        return disable(health, now, f"it failed for {lasted / 3600:.1f} hours")
    percent = int(100 * lasted / disable_after)
    level = max((step for step in LADDER if percent >= step), default=0)
    return msgspec.structs.replace(health, notice=max(health.notice, level))


def disable(health: Health, now: float, reason: str) -> Health:
    """Return the health of an endpoint that is given up."""
    return msgspec.structs.replace(
        health, disabled_at=now, disabled_reason=reason, notice=100, parked_until=0.0
    )
