"""What a durable consumer is: a name, an interest, a handler, and what happens when it fails."""

from __future__ import annotations

import inspect
import random
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal, TypedDict

import msgspec

from trunkline.errors import ConfigError
from trunkline.model.interest import Interest
from trunkline.model.message import Limits, Message, Record
from trunkline.model.position import Position, parse_position
from trunkline.runtime.clock import jitter

MAX_BATCH: Final = 10_000
#: Up to here trimming waits for a consumer with ``keep="consumed"`` that says no more.
KEEP: Final = Limits(100_000, 30 * 86400.0)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")

ConsumerHandler = Callable[..., Awaitable[Any] | Any]
KeyOf = Callable[[Message], str]
Wants = Callable[[Record], bool]
Start = Position | Literal["oldest", "now"]


class Retry(msgspec.Struct, frozen=True):
    """Say how often a message that fails is tried, and when: doubling, bounded, jittered.

    Args:
        attempts: Tries in all; then it is parked until an operator decides.
        first: Seconds before the second try.
        limit: Seconds between two tries at most, before jitter.
    """

    attempts: int = 5
    first: float = 1.0
    limit: float = 60.0

    def delay(self, failures: int, *, chance: random.Random | None = None) -> float | None:
        """Return the seconds to wait after the n-th failure, or None for no more.

        Args:
            failures: How often it failed by now, at least once.
            chance: A source of randomness.
        """
        if failures >= self.attempts:
            return None
        return jitter(min(self.limit, self.first * 2.0 ** min(failures - 1, 64)), chance=chance)


class ConsumerOptions(TypedDict, total=False):
    """Be the options of a consumer, all of them optional.

    Attributes:
        on_gap: When messages were trimmed before it came to them: ``stop`` (until an operator
            resumes or seeks) or ``skip`` (noted; what is kept follows).
        keep: ``consumed`` has trimming wait for it, up to a cap of 100,000 messages and 30 days
            of a channel; limits of your own for another cap.
        batch: Hand over lists of at most so many messages, instead of one at a time.
        start: Where it begins the first time: ``oldest`` kept, ``now`` or a position.
        retry: How a message that fails is tried again; a number for so many tries.
        key: Returns a message's key: while one fails, others of its key wait behind it. The
            channel by default.
        max_parked: It stops when so many messages are parked or wait behind those.
        site_id: The tenant, instead of the one the site lookup gives; ``ANY_SITE`` for all.
    """

    on_gap: Literal["stop", "skip"]
    keep: Literal["consumed"] | Limits | None
    batch: int | None
    start: Position | str
    retry: Retry | int
    key: KeyOf | None
    max_parked: int
    site_id: str | None


class Consumer(msgspec.Struct, frozen=True, kw_only=True):
    """Be a consumer as it was declared; made by ``line.consumer()``.

    Args:
        name: Under which its checkpoint is kept.
        interest: Which channels.
        handler: Called with a message (or a list) and, if it takes a second argument, the
            transaction that its checkpoint is committed in.
        takes_tx: Whether it takes a transaction.
        on_gap: ``stop`` or ``skip``.
        keep: Up to which limits trimming waits; None for not at all.
        batch: Messages in a list at most; None for one at a time.
        start: Where it begins the first time.
        retry: How a message that fails is tried again.
        key: Returns a message's key; None for its channel.
        max_parked: When to stop.
        is_raw: Whether the handler takes records as the log keeps them, instead of messages.
        wants: Says which records it handles; the others only move its position, which is then
            saved now and then. None for all.
        group: What profiles may name it by together with others.
    """

    name: str
    interest: Interest
    handler: ConsumerHandler
    takes_tx: bool
    on_gap: str
    keep: Limits | None
    batch: int | None
    start: Start
    retry: Retry
    key: KeyOf | None
    max_parked: int
    is_raw: bool = False
    wants: Wants | None = None
    group: str = ""


def consumer_of(
    name: str, interest: Interest, handler: ConsumerHandler, options: ConsumerOptions
) -> Consumer:
    """Check a declaration.

    Args:
        name: The consumer's name.
        interest: Which channels.
        handler: The application's function.
        options: As given.

    Returns:
        The consumer.

    Raises:
        ConfigError: Something makes no sense; the message says what.
        GrammarError: The start is no position.
    """
    if not _NAME.match(name):
        raise ConfigError(f"consumer {name!r}: a name has 1 to 100 letters, digits, '.', '_', '-'")
    on_gap = options.get("on_gap", "stop")
    if on_gap not in {"stop", "skip"}:
        raise ConfigError(f"consumer {name!r}: on_gap={on_gap!r} must be 'stop' or 'skip'")
    return Consumer(
        name=name,
        interest=interest,
        handler=handler,
        takes_tx=_takes_two(name, handler),
        on_gap=on_gap,
        keep=_keep(name, options.get("keep")),
        batch=_whole(name, "batch", options.get("batch"), MAX_BATCH),
        start=start_of(options.get("start", "oldest")),
        retry=_retry(name, options.get("retry", Retry())),
        key=options.get("key"),
        max_parked=_whole(name, "max_parked", options.get("max_parked", 10_000), 10**9) or 0,
    )


def start_of(given: Position | str) -> Start:
    """Return where to begin.

    Args:
        given: ``oldest`` (or ``0``), ``now``, or a position or its text.

    Raises:
        GrammarError: It is none of these.
    """
    if isinstance(given, Position):
        return given
    if given in {"oldest", "0"}:
        return "oldest"
    if given == "now":
        return "now"
    return parse_position(given) or "oldest"


def _takes_two(name: str, handler: ConsumerHandler) -> bool:
    try:
        parameters = inspect.signature(handler).parameters.values()
    except (TypeError, ValueError):
        raise ConfigError(f"consumer {name!r}: its handler is no function") from None
    positional = [
        one for one in parameters if one.kind in {one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD}
    ]
    wanted = sum(one.default is one.empty for one in positional)
    if any(one.kind is one.VAR_POSITIONAL for one in parameters):
        return wanted >= 2
    if not len(positional) >= 1 or wanted > 2:
        raise ConfigError(
            f"consumer {name!r}: its handler takes a message, or a message and a transaction"
        )
    return wanted == 2 or (len(positional) > 1 and positional[1].name == "tx")


def _keep(name: str, given: Any) -> Limits | None:
    if given is None or isinstance(given, Limits):
        return given
    if given != "consumed":
        raise ConfigError(f"consumer {name!r}: keep={given!r} must be 'consumed' or Limits")
    return KEEP


def _whole(name: str, what: str, given: Any, most: int) -> int | None:
    if given is None:
        return None
    if not isinstance(given, int) or isinstance(given, bool) or not 1 <= given <= most:
        raise ConfigError(f"consumer {name!r}: {what}={given!r} must be a number from 1 to {most}")
    return given


def _retry(name: str, given: Any) -> Retry:
    retry = Retry(given) if isinstance(given, int) and not isinstance(given, bool) else given
    if not isinstance(retry, Retry):
        raise ConfigError(f"consumer {name!r}: retry={given!r} must be a Retry or a number")
    if not (retry.attempts >= 1 and 0 < retry.first <= retry.limit):
        raise ConfigError(f"consumer {name!r}: {retry} makes no sense")
    return retry
