"""What a client may be told besides its server's address: one checked value for all its parts."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Literal, TypedDict, get_args

from trunkline.errors import ConfigError
from trunkline.runtime.clock import Clock, SystemClock
from trunkline.wire.start import check_client_id

if TYPE_CHECKING:
    import aiohttp

Transport = Literal["websocket", "sse", "stream", "long-poll", "poll"]
Credentials = str | Mapping[str, str]
Token = str | Callable[[], Credentials | Awaitable[Credentials]]
Sleep = Callable[[float], Awaitable[None]]

TRANSPORTS = get_args(Transport)


class ClientOptions(TypedDict, total=False):
    """Be the options of a client, all of them optional.

    Attributes:
        transport: ``websocket`` (one connection for all subscriptions), ``sse`` (one each), or
            message_bus's protocol: ``stream``, ``long-poll``, ``poll``.
        client_id: The client's own id, for messages to ``client_ids``; none by default, and
            a random one where the protocol must have one.
        headers: Added to every request; they win over the client's own.
        token: A bearer token, or a function (it may be a coroutine function) that is asked before
            each connection and returns a token or headers.
        session: An aiohttp session to use; it is not closed. By default one of the client's own.
        first_delay: Seconds before the second attempt; it doubles with each further one.
        max_delay: Seconds between attempts at most.
        silence_timeout: Seconds without a byte after which a connection counts as dead.
        stall_grace: Seconds for which one full buffer may hold up others on its connection.
        buffer_messages: Messages that a subscription holds for a slow reader.
        buffer_bytes: Bytes that it holds, likewise.
        poll_interval: Seconds between polls of the ``poll`` transport.
        publish_timeout: Seconds after which a publish gives up.
        clock: Tells the time.
        chance: A source of randomness.
        sleep: Waits.
    """

    transport: Transport
    client_id: str | None
    headers: Mapping[str, str] | None
    token: Token | None
    session: aiohttp.ClientSession | None
    first_delay: float
    max_delay: float
    silence_timeout: float
    stall_grace: float
    buffer_messages: int
    buffer_bytes: int
    poll_interval: float
    publish_timeout: float
    clock: Clock
    chance: random.Random
    sleep: Sleep


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Hold a client's options, complete and checked; see :class:`ClientOptions`.

    Raises:
        ConfigError: A value is out of range.
        GrammarError: The client id is outside the grammar.
    """

    transport: Transport = "websocket"
    client_id: str | None = None
    headers: Mapping[str, str] | None = dataclasses.field(default=None, repr=False)
    token: Token | None = dataclasses.field(default=None, repr=False)
    session: aiohttp.ClientSession | None = None
    first_delay: float = 0.5
    max_delay: float = 30.0
    silence_timeout: float = 60.0
    stall_grace: float = 1.0
    buffer_messages: int = 256
    buffer_bytes: int = 8 * 1024 * 1024
    poll_interval: float = 5.0
    publish_timeout: float = 60.0
    clock: Clock = dataclasses.field(default_factory=SystemClock)
    chance: random.Random = dataclasses.field(default_factory=random.SystemRandom)
    sleep: Sleep = asyncio.sleep

    def __post_init__(self) -> None:
        if self.transport not in TRANSPORTS:
            known = ", ".join(TRANSPORTS)
            raise ConfigError(f"transport={self.transport!r} is none of {known}")
        check_client_id(self.client_id)
        for name in _POSITIVE:
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not value > 0:
                raise ConfigError(f"{name}={value!r} must be a number above 0")
        if self.first_delay > self.max_delay:
            raise ConfigError(f"first_delay={self.first_delay} is above max_delay={self.max_delay}")

    def random_id(self) -> str:
        """Return 32 random hexadecimal digits."""
        return f"{self.chance.getrandbits(128):032x}"

    async def credentials(self) -> Mapping[str, str]:
        """Return fresh headers that say who the client is."""
        given: object = self.token
        if callable(given):
            given = given()
            if inspect.isawaitable(given):
                given = await given
        if given is None:
            return {}
        if isinstance(given, str):
            return {"authorization": f"Bearer {given}"}
        if isinstance(given, Mapping):
            return given
        raise ConfigError(f"token gave {type(given).__name__}: return a token or a dict of headers")


_POSITIVE = (
    "first_delay", "max_delay", "silence_timeout", "stall_grace", "buffer_messages",
    "buffer_bytes", "poll_interval", "publish_timeout",
)  # fmt: skip
