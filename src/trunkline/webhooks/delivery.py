"""The delivering half of the webhooks: what a wing opens, closes, and hands out of it."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import aiohttp
import msgspec

from trunkline.errors import ConfigError
from trunkline.runtime.clock import Clock
from trunkline.runtime.service import Service
from trunkline.sql.database import Database
from trunkline.webhooks.attempting import Attempting
from trunkline.webhooks.claims import Notice
from trunkline.webhooks.courier import Courier, Notify
from trunkline.webhooks.delivery_options import DeliveryOptions
from trunkline.webhooks.delivery_table import DeliveryTable, OnRecord
from trunkline.webhooks.endpoints import Endpoints
from trunkline.webhooks.guard import Egress, check_session
from trunkline.webhooks.outgoing import PrepareBatch
from trunkline.webhooks.outlet import Hook, Outlet
from trunkline.webhooks.recoverer import Recoverer
from trunkline.webhooks.tally import Tally

_EGRESS: Final = frozenset({"http", "networks", "ports", "own"})


def read_options(given: Mapping[str, Any]) -> DeliveryOptions:
    """Check the delivery's settings, and those of its egress guard.

    Args:
        given: As :class:`DeliveryOptions`, but for ``http``, ``networks``, ``ports`` and ``own``,
            which are :class:`trunkline.webhooks.guard.Egress`'s.

    Raises:
        ConfigError: One is unknown or out of range.
    """
    known = {one.name for one in msgspec.structs.fields(DeliveryOptions)} - {"egress"}
    unknown = sorted(set(given) - known - _EGRESS)
    if unknown:
        raise ConfigError(f"webhooks.delivery: no setting {unknown[0]!r}")
    ports = given.get("ports")
    egress = Egress(
        http=bool(given.get("http", False)),
        networks=tuple(given.get("networks", ())),
        ports=None if ports is None else frozenset(map(int, ports)),
        own=tuple(str(host).lower() for host in given.get("own", ())),
    )
    values = {name: value for name, value in given.items() if name not in _EGRESS}
    try:
        options = msgspec.convert({**values}, _Plain)
    except msgspec.ValidationError as error:
        raise ConfigError(f"webhooks.delivery: {error}") from error
    return DeliveryOptions(egress=egress, **msgspec.structs.asdict(options))


class _Plain(msgspec.Struct, frozen=True, kw_only=True):
    """Be the delivery's settings but for the guard's, with their ranges."""

    concurrency: int = DeliveryOptions().concurrency
    host_concurrency: int = DeliveryOptions().host_concurrency
    slow_share: float = DeliveryOptions().slow_share
    batch: int = DeliveryOptions().batch
    lease: float = DeliveryOptions().lease
    response_bytes: int = DeliveryOptions().response_bytes
    keep_bodies: bool = True

    def __post_init__(self) -> None:
        if not (1 <= self.concurrency <= 100_000 and 1 <= self.batch <= 10_000):
            raise ValueError("concurrency is 1 to 100000, batch 1 to 10000")
        if not 1 <= self.host_concurrency <= 100_000:
            raise ValueError("host_concurrency is 1 to 100000")
        if not 0 < self.slow_share <= 1 or not 110 <= self.lease <= 86400:
            raise ValueError("slow_share is above 0 to 1, lease 110 to 86400 seconds")
        if not 0 <= self.response_bytes <= 2**24:
            raise ValueError("response_bytes is 0 to 16 MiB")


class Delivery:
    """Deliver what is queued in a line's store.

    Args:
        ready: Opens the line if need be, and returns its database.
        clock: Tells the time.
        prepare: Makes requests out of what was claimed.
        options: The settings.

    Attributes:
        options: The settings.
        endpoints: The endpoints, for operators.
    """

    def __init__(
        self,
        ready: Callable[[], Awaitable[Database]],
        clock: Clock,
        prepare: PrepareBatch,
        options: DeliveryOptions,
    ) -> None:
        self._clock = clock
        self._prepare = prepare
        self.options = options
        self._hook: Hook | None = None
        self._session: aiohttp.ClientSession | None = None
        self._listeners: list[Notify] = []
        self._outlet: Outlet | None = None
        self._courier: Courier | None = None
        self._recoverer: Recoverer | None = None
        self.endpoints = Endpoints(ready, clock, self.poke)

    # -- before it opens ----------------------------------------------------------------------

    def around_calls(self, hook: Hook) -> Hook:
        """Wrap every outgoing call; a decorator. The egress guard stands behind it.

        Args:
            hook: Gets the call and what sends it; returns the answer.
        """
        self._hook = hook
        return hook

    def use_session(self, session: aiohttp.ClientSession) -> None:
        """Send through a session of the application's, which closes it itself.

        Args:
            session: Made with ``connector=GuardedConnector(Egress())``.

        Raises:
            BlockedError: It would go around the egress guard.
        """
        self._session = check_session(session)

    def on_notice(self, listener: Notify) -> Notify:
        """Be told of endpoints that fail for long or were disabled; a decorator."""
        self._listeners.append(listener)
        return listener

    def check_url(self, url: str) -> object:
        """Refuse a URL that can't be called, as far as its text tells.

        Raises:
            BlockedError: It can't.
        """
        return self.options.egress.check_url(url)

    # -- as a part of a wing ------------------------------------------------------------------

    def open(self, database: Database, on_record: OnRecord | None = None) -> None:
        """Begin to deliver from an open database, once its services run.

        Args:
            database: The line's own.
            on_record: Told of outcomes, in the transaction that records them.
        """
        outlet = Outlet(
            self.options.egress,
            hook=self._hook,
            session=self._session,
            response_bytes=self.options.response_bytes,
        )
        owner = f"{socket.gethostname()}:{os.getpid()}"
        attempting = Attempting(
            outlet,
            self._clock,
            chance=random.Random(),  # noqa: S311 - it spreads load
            keep_bodies=self.options.keep_bodies,
        )
        self._outlet = outlet
        self._courier = Courier(
            DeliveryTable(database, owner, on_record),
            attempting,
            prepare=self._prepare,
            options=self.options,
            clock=self._clock,
            notify=self._notify,
        )
        self._recoverer = Recoverer(database, self._clock, self.poke)

    async def close(self) -> None:
        """Let all connections go. Idempotent."""
        outlet, self._outlet, self._courier, self._recoverer = self._outlet, None, None, None
        if outlet is not None:
            await outlet.close()

    def services(self) -> Sequence[Service]:
        """Return what a worker runs."""
        if self._courier is None or self._recoverer is None:
            return ()
        return (self._courier, self._recoverer)

    def poke(self) -> None:
        """Look at once whether something is due, if this process delivers."""
        if self._courier is not None:
            self._courier.poke()

    async def transmit(self, ids: Sequence[str]) -> None:
        """Claim those of these delivery ids that are queued, due or not, and try each once."""
        if self._courier is not None:
            await self._courier.transmit(ids)

    @property
    def outlet(self) -> Outlet:
        """Return the way out, which others send through as well.

        Raises:
            ConfigError: The line is not open.
        """
        if self._outlet is None:
            raise ConfigError("open the line first: its connections open with it")
        return self._outlet

    @property
    def tally(self) -> Tally:
        """Return what this process has delivered since the line opened."""
        return Tally() if self._courier is None else self._courier.tally

    async def _notify(self, notice: Notice) -> None:
        for listener in self._listeners:
            await listener(notice)
