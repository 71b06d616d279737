"""Entering an app: signed links on the host's side, and checking them on the app's."""

from __future__ import annotations

import math
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from trunkline.model import codec
from trunkline.runtime.clock import Clock, SystemClock
from trunkline.sql.database import Database
from trunkline.webhooks.app import App
from trunkline.webhooks.errors import SignalError
from trunkline.webhooks.statements import statements_of
from trunkline.wire.token import (
    LEEWAY,
    Entry,
    EntryRefusedError,
    read_entry,
    sign_entry,
    with_token,
)

#: Tokens in a URL have to stay short.
LARGEST: Final = 4096
#: Used tokens that are remembered in memory.
REMEMBERED: Final = 100_000


def entry_link(
    app: App, secret: str, data: Mapping[str, Any], *, issuer: str, now: float, ttl: float
) -> str:
    """Return the URL by which an account's user enters an app.

    Args:
        app: Which app.
        secret: Its entry secret.
        data: What the token says.
        issuer: Who says it.
        now: Unix seconds.
        ttl: Seconds that it is valid.

    Raises:
        SignalError: The app has no entry_url, or the data is too large for a URL.
        UnencodableDataError: The data is no strict JSON.
    """
    if app.entry_url is None:
        raise SignalError(f"the app {app.name!r} has no entry_url")
    encoded = codec.encode(dict(data))
    if len(encoded) > LARGEST:
        raise SignalError(f"data for a URL has at most {LARGEST} bytes, not {len(encoded)}")
    claims: dict[str, Any] = {"data": codec.decode(encoded), "exp": math.ceil(now + ttl)}
    if app.options.get("format") not in {"demux", "both"}:
        claims |= {
            "iss": issuer,
            "aud": app.id,
            "iat": math.floor(now),
            "jti": secrets.token_urlsafe(16),
        }
    return with_token(app.entry_url, sign_entry(claims, secret.encode()))


class UsedTokens(Protocol):
    """Remember which tokens were used."""

    async def use(self, token_id: str, expires_at: float) -> bool:
        """Remember a token until it expires; False if it is remembered already."""


class MemoryTokens:
    """Remember used tokens in this process: for an app that runs in one.

    Args:
        clock: Tells the time.
        limit: Tokens at most; beyond it all are refused until some expire.
    """

    def __init__(self, clock: Clock | None = None, *, limit: int = REMEMBERED) -> None:
        self._clock = clock or SystemClock()
        self._limit = limit
        self._used: dict[str, float] = {}

    async def use(self, token_id: str, expires_at: float) -> bool:
        """Remember a token until it expires; False if it is remembered already."""
        now = self._clock.now()
        if len(self._used) >= self._limit:
            self._used = {one: end for one, end in self._used.items() if end > now}
        if token_id in self._used or len(self._used) >= self._limit:
            return False
        self._used[token_id] = expires_at
        return True


class StoredTokens:
    """Remember used tokens in a line's store: for all processes on it.

    Args:
        ready: Opens the line if need be, and returns its database.
        clock: Tells the time.
    """

    def __init__(self, ready: Callable[[], Awaitable[Database]], clock: Clock) -> None:
        self._ready = ready
        self._clock = clock

    async def use(self, token_id: str, expires_at: float) -> bool:
        """Remember a token until it expires; False if it is remembered already."""
        database = await self._ready()
        sql = statements_of(database)
        async with database.transaction() as tx:
            await tx.execute(sql.forget_entries, self._clock.now())
            return bool(await tx.execute(sql.use_entry, token_id, expires_at))


class EntryVerifier:
    """Check entry tokens on the app's side, each of them once.

    Args:
        app_id: The app's own id at the host; None for a host that is Demux, whose tokens name
            no app and can be used again until they expire.
        keys: The app's entry secrets that are valid now.
        used: Remembers used tokens; in memory by default.
        clock: Tells the time.
    """

    def __init__(
        self,
        app_id: str | None,
        keys: Sequence[str],
        *,
        used: UsedTokens | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._app_id = app_id
        self._keys = [key.encode() for key in keys]
        self._clock = clock or SystemClock()
        self._used = used or MemoryTokens(self._clock)

    async def verify(self, token: str) -> Entry:
        """Return what a token says, and see to it that it can't be used again.

        Args:
            token: As it came in the query, whatever that is.

        Raises:
            EntryRefusedError: It doesn't hold, or was used before.
        """
        entry = read_entry(token, self._keys, now=self._clock.now(), audience=self._app_id)
        if entry.token_id is not None:
            key = f"{self._app_id} {entry.token_id}"
            if not await self._used.use(key, entry.expires_at + 2 * LEEWAY):
                raise EntryRefusedError
        return entry
