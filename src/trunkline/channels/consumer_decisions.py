"""What a consumer decides, as pure functions: at a gap, and about a message that failed."""

from __future__ import annotations

import random

import msgspec

from trunkline.channels.catchup import Gap
from trunkline.channels.consumer import Consumer
from trunkline.model.message import Record
from trunkline.store.consumer_table import MetGap, Standing, Status
from trunkline.store.parked_table import ParkedMessage

ERROR_LENGTH = 2000
KEY_LENGTH = 255


def meet_gap(standing: Standing, gap: Gap, *, on_gap: str, now: float) -> tuple[Standing, MetGap]:
    """Decide what a gap means.

    Either way the gap is told once: whoever goes on afterwards goes on behind it, with what is
    still kept.

    Args:
        standing: Where the consumer stands.
        gap: What is gone.
        on_gap: ``stop`` or ``skip``.
        now: Unix seconds.

    Returns:
        The new standing, and what to remember.
    """
    met = MetGap(gap.reason, str(standing.position), gap.floor, now)
    new = msgspec.structs.replace(
        standing,
        position=gap.position,
        told=gap.floor if gap.reason == "trimmed" else 0,
        moved_at=now,
    )
    if on_gap == "skip":
        return new, met
    lost = f"up to {gap.floor} " if gap.reason == "trimmed" else ""
    reason = (
        f"messages after {standing.position} {lost}are gone ({gap.reason}): bring your data up to "
        "date, then resume to go on with what is kept, or seek"
    )
    return msgspec.structs.replace(new, status=Status.STOPPED, reason=reason), met


def stop_full(standing: Standing, count: int, *, most: int) -> Standing:
    """Return the standing of a consumer of which too much is parked."""
    reason = (
        f"{count} messages are parked or wait behind those, and max_parked is {most}: mend the "
        "handler, retry or skip them, then resume"
    )
    return msgspec.structs.replace(standing, status=Status.STOPPED, reason=reason)


def set_aside(record: Record, epoch: str, *, key: str, now: float) -> ParkedMessage:
    """Return a message that waits behind another one of its key.

    Args:
        record: The message.
        epoch: The line's epoch it was read under.
        key: Its key.
        now: Unix seconds.
    """
    return ParkedMessage(key=key, epoch=epoch, record=record, parked_at=now)


def fail(
    one: ParkedMessage,
    error: BaseException,
    consumer: Consumer,
    *,
    now: float,
    chance: random.Random | None = None,
) -> ParkedMessage:
    """Return a message after one more failure: due again later, or parked for an operator.

    Args:
        one: The message as it was.
        error: What the handler raised.
        consumer: Its retry says when.
        now: Unix seconds.
        chance: A source of randomness.
    """
    attempts = one.attempts + 1
    delay = consumer.retry.delay(attempts, chance=chance)
    return msgspec.structs.replace(
        one,
        attempts=attempts,
        error=clean(f"{type(error).__name__}: {error}", ERROR_LENGTH),
        due_at=None if delay is None else now + delay,
    )


def clean(text: str, length: int) -> str:
    """Return text that every database stores."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")[:length]
