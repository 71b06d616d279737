"""What follows an attempt: done, again later, or given up. Pure functions."""

from __future__ import annotations

import math
import re
from email.utils import parsedate_to_datetime
from typing import Final

import msgspec

from trunkline.webhooks.delivery_options import EndpointOptions
from trunkline.webhooks.seam import DEAD, FAILED, SENT

#: Seconds that a receiver may put an attempt off, at most.
LONGEST_WAIT: Final = 86400.0
_SECONDS: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
#: Answers that ask to be left alone for a while.
THROTTLED: Final = frozenset({429, 502, 503, 504})


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """Say what becomes of a transmission.

    Args:
        state: ``sent``, ``failed`` (and due again) or ``dead``.
        due_at: When it is due again, Unix seconds.
        pause: Seconds for which the endpoint asked to be left alone, or None.
        gone: Whether the endpoint said that it is gone for ever.
    """

    state: str
    due_at: float | None = None
    pause: float | None = None
    gone: bool = False

    @property
    def is_success(self) -> bool:
        """Tell whether it was delivered."""
        return self.state == SENT


def read_retry_after(text: str | None, now: float) -> float | None:
    """Return the seconds that ``Retry-After`` asks for (RFC 9110, 10.2.3), or None."""
    if not text:
        return None
    if _SECONDS.fullmatch(text.strip()):
        return float(text)
    try:
        wait = parsedate_to_datetime(text).timestamp() - now
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return max(0.0, wait) if math.isfinite(wait) else None


def after_answer(
    status: int,
    retry_after: str | None,
    *,
    options: EndpointOptions,
    tries: int,
    now: float,
    factor: float,
) -> Step:
    """Say what follows an answer.

    Args:
        status: Its status; 2xx alone is a success, redirects are not followed.
        retry_after: Its header of this name.
        options: The endpoint's.
        tries: Attempts so far, this one included.
        now: Unix seconds.
        factor: Chance from -1 to 1.
    """
    if 200 <= status < 300:
        return Step(state=SENT)
    if status == 410:
        return Step(state=DEAD, gone=True)
    wait = read_retry_after(retry_after, now)
    if status in options.gives_up_on:
        return Step(state=DEAD)
    step = after_failure(options, tries, now=now, factor=factor, at_least=wait)
    pause = wait if status in THROTTLED else None
    return msgspec.structs.replace(step, pause=pause)


def after_failure(
    options: EndpointOptions,
    tries: int,
    *,
    now: float,
    factor: float,
    at_least: float | None = None,
) -> Step:
    """Say what follows an attempt without an answer, or with one that is no success.

    Args:
        options: The endpoint's.
        tries: Attempts so far, this one included.
        now: Unix seconds.
        factor: Chance from -1 to 1.
        at_least: Seconds that the receiver asked for.
    """
    if tries > len(options.schedule):
        return Step(state=DEAD)
    wait = options.schedule[tries - 1] * (1.0 + options.spread * factor)
    return Step(state=FAILED, due_at=now + max(wait, min(at_least or 0.0, LONGEST_WAIT)))
