"""Who a request comes from and what that identity may see: two hooks, and no way in without."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, NamedTuple

from trunkline.errors import AccessDeniedError, ConfigError
from trunkline.gateway.request import Request
from trunkline.model.channel import INTERNAL_PREFIX
from trunkline.model.identity import ANONYMOUS, Identity
from trunkline.model.pattern import is_pattern
from trunkline.runtime.clock import Clock, SystemClock
from trunkline.wire.start import Refusal

Identify = Callable[[Request], Awaitable[Identity | None] | Identity | None]
Access = Callable[[Identity, str], Awaitable[bool] | bool]

DECISIONS_KEPT: Final = 50_000
DEFAULT_TTL: Final = 60.0


class UnknownIdentityError(AccessDeniedError):
    """Report a request that the identity hook knows nobody for."""

    status = 401
    code = "unauthenticated"


class Split(NamedTuple):
    """Hold the channels an identity asked for, granted and refused, each in request order."""

    granted: list[str]
    refused: list[Refusal]


class _Decision(NamedTuple):
    is_granted: bool
    until: float


class Gatekeeper:
    """Ask the application's hooks, and decide nothing by itself.

    Args:
        identify: Called with the request; returns its identity, or None for a stranger, who is
            answered 401. A plain or a coroutine function.
        access: Called with identity and channel name; says whether it may be read. Patterns are
            never asked about: each channel that matches one is, when its first message comes.
        open: Say True to let everybody read everything where a hook is missing.
        ttl: Seconds for which an answer about one channel of a pattern stands.
        clock: Tells the time.

    Raises:
        ConfigError: A hook is missing and *open* was not said.
    """

    def __init__(
        self,
        identify: Identify | None = None,
        access: Access | None = None,
        *,
        open: bool = False,  # noqa: A002 - the word an application says
        ttl: Callable[[], float] = lambda: DEFAULT_TTL,
        clock: Clock | None = None,
    ) -> None:
        if (identify is None or access is None) and not open:
            missing = "identify=" if identify is None else "access="
            raise ConfigError(
                f"the gateway needs {missing}: say who clients are and what they may read, or say "
                "open=True to let everybody read everything"
            )
        self._identify = identify
        self._access = access
        self._ttl = ttl
        self._clock = clock or SystemClock()
        self._decisions: OrderedDict[tuple[Identity, str], _Decision] = OrderedDict()

    @property
    def is_open(self) -> bool:
        """Tell whether every channel but Trunkline's own is open to everybody."""
        return self._access is None

    async def identify(self, request: Request) -> Identity:
        """Find out who a request comes from.

        Args:
            request: The request; also that of a connection whose identity expired.

        Returns:
            The identity, not expired.

        Raises:
            UnknownIdentityError: The hook knows nobody, or what it knows has expired.
            Exception: Whatever the hook raises.
        """
        if self._identify is None:
            return ANONYMOUS
        found = self._identify(request)
        identity = await found if inspect.isawaitable(found) else found
        if identity is None:
            raise UnknownIdentityError("nobody is known for this request: sign in, then try again")
        if self.is_expired(identity):
            raise UnknownIdentityError("this identity has expired: sign in again")
        return identity

    def is_expired(self, identity: Identity) -> bool:
        """Tell whether an identity must be asked for again."""
        return identity.expires_at is not None and identity.expires_at <= self._clock.now()

    async def split(self, identity: Identity, names: Iterable[str]) -> Split:
        """Part the channels an identity asks for into those it gets and those it doesn't.

        Args:
            identity: Who asks.
            names: Names and patterns. A pattern is granted; each channel that matches it is
                decided by :meth:`known` and :meth:`decide`.

        Returns:
            The granted and the refused, which say why.

        Raises:
            Exception: Whatever the access hook raises, :class:`AccessDeniedError` apart.
        """
        split = Split([], [])
        for name in dict.fromkeys(names):
            refusal = await self._refusal(identity, name)
            if refusal is None:
                split.granted.append(name)
            else:
                split.refused.append(refusal)
        return split

    async def _refusal(self, identity: Identity, name: str) -> Refusal | None:
        if name.startswith(INTERNAL_PREFIX):
            return Refusal(name, "access-denied", "this channel belongs to Trunkline itself")
        if is_pattern(name):
            return None
        try:
            if await self._ask(identity, name):
                return None
        except AccessDeniedError as error:
            return Refusal(name, error.code, str(error))
        return Refusal(name, "access-denied", "this identity may not read this channel")

    def known(self, identity: Identity, name: str) -> bool | None:
        """Say whether a channel met through a pattern may be read, without asking anybody.

        Args:
            identity: Who reads.
            name: The channel's name.

        Returns:
            The answer, or None when :meth:`decide` must be awaited first.
        """
        if name.startswith(INTERNAL_PREFIX):
            return False
        if self._access is None:
            return True
        decision = self._decisions.get((identity, name))
        if decision is None or decision.until <= self._clock.monotonic():
            return None
        return decision.is_granted

    async def decide(self, identity: Identity, name: str) -> bool:
        """Ask whether a channel met through a pattern may be read, and remember the answer.

        Args:
            identity: Who reads.
            name: The channel's name.

        Returns:
            Whether it may.

        Raises:
            Exception: Whatever the access hook raises, :class:`AccessDeniedError` apart.
        """
        known = self.known(identity, name)
        if known is not None:
            return known
        decisions = self._decisions
        try:
            is_granted = await self._ask(identity, name)
        except AccessDeniedError:
            is_granted = False
        until = self._clock.monotonic() + self._ttl()
        decisions[identity, name] = _Decision(is_granted, until)
        while len(decisions) > DECISIONS_KEPT:
            decisions.popitem(last=False)
        return is_granted

    def forget(self) -> None:
        """Forget all remembered answers, so that every channel is asked about again."""
        # An answer that is under way was asked for before, and goes with the others.
        self._decisions = OrderedDict()

    async def _ask(self, identity: Identity, name: str) -> bool:
        if self._access is None:
            return True
        answer = self._access(identity, name)
        # Only True grants: a hook that forgets to answer, or answers in riddles, lets nobody in.
        return (await answer if inspect.isawaitable(answer) else answer) is True
