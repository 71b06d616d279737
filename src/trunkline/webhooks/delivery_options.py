"""How requests are delivered to an endpoint, as it is stored with it and as the defaults are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from trunkline.errors import ConfigError
from trunkline.webhooks.guard import Egress, forbidden_headers

#: Seconds between attempts: ten attempts within about 75 hours, as Standard Webhooks suggests.
SCHEDULE: Final = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0)

#: Seconds that an attempt may take in total; a lease is longer, with the payload's time and more.
LONGEST: Final = 60.0

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}", re.ASCII)
_VALUE: Final = re.compile(r"[ -~\u00a0-\u00ff]{0,4000}")
_RESERVED: Final = ("webhook-", "content-", "ce-", "x-demux-", "x-toot-")


def check_headers(headers: Mapping[str, str]) -> None:
    """Check headers that an endpoint's owner wants to get.

    Raises:
        ConfigError: One can't be sent, or is for the sender alone to set.
    """
    ours = [name for name in headers if name.lower().startswith(_RESERVED)]
    if taken := [*ours, *forbidden_headers(list(headers))]:
        raise ConfigError(f"the header {taken[0]!r} is set by the sender: choose another name")
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ConfigError(f"the header {name!r} can't be sent: visible characters only")


class EndpointOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Say how one endpoint is delivered to; unknown names are other rooms' and are left alone.

    Args:
        schedule: Seconds to wait after each failed attempt; when it is used up, it is over.
        spread: Share by which each wait is moved at random, either way.
        format: ``standard`` signatures (Standard Webhooks), ``demux``'s headers, ``both``,
            ``cloudevents`` (signed as ``standard``), or ``none``.
        headers: Sent with each request.
        rate: Requests per second at most; None for no limit.
        concurrency: Requests under way at most.
        gives_up_on: Statuses after which no attempt follows, beside 410.
        disable_after: Seconds of failures alone after which it is disabled.
        timeout: Seconds for an attempt in total.
    """

    schedule: tuple[float, ...] = SCHEDULE
    spread: float = 0.2
    format: Literal["standard", "demux", "both", "cloudevents", "none"] = "standard"
    headers: dict[str, str] = {}
    rate: float | None = None
    concurrency: int = 64
    gives_up_on: tuple[int, ...] = ()
    disable_after: float = 5 * 86400.0
    timeout: float = 30.0

    def __post_init__(self) -> None:
        if any(not 0 <= wait <= 30 * 86400 for wait in self.schedule) or len(self.schedule) > 100:
            raise ConfigError("schedule: at most 100 waits of 0 seconds to 30 days")
        if not 0 <= self.spread <= 1 or not 0 < self.timeout <= LONGEST:
            raise ConfigError(f"spread is 0 to 1, timeout above 0 and at most {LONGEST:g} seconds")
        if (self.rate is not None and self.rate <= 0) or not 1 <= self.concurrency <= 1000:
            raise ConfigError("rate is above 0, concurrency 1 to 1000")
        check_headers(self.headers)

    @property
    def is_standard(self) -> bool:
        """Tell whether the headers of Standard Webhooks sign it."""
        return self.format in {"standard", "both", "cloudevents"}

    @property
    def is_demux(self) -> bool:
        """Tell whether Demux's header signs it."""
        return self.format in {"demux", "both"}


class DeliveryOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Say how this process delivers.

    Args:
        egress: What may be called.
        concurrency: Requests under way at most, over all endpoints.
        host_concurrency: Of these, what goes to one host at most, whosever endpoints it has.
        slow_share: Of all these, and of those to one host, what endpoints that keep us waiting
            may take together.
        batch: Transmissions claimed at most in one transaction.
        lease: Seconds after which another process takes over what was claimed.
        response_bytes: Bytes of an answer that are read, and kept.
        keep_bodies: Whether each attempt's request body is kept.
    """

    egress: Egress = Egress()
    concurrency: int = 1000
    host_concurrency: int = 500
    slow_share: float = 0.5
    batch: int = 500
    lease: float = 120.0
    response_bytes: int = 16384
    keep_bodies: bool = True
