"""Who wants to hear of our channels, and where: subscriptions that others made here."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from trunkline.errors import AccessDeniedError, LimitExceededError
from trunkline.model import codec
from trunkline.runtime.clock import Clock
from trunkline.sql.database import Database, Row, Transaction
from trunkline.webhooks.errors import UnknownPeerError
from trunkline.webhooks.sibling_options import SiblingOptions
from trunkline.webhooks.sibling_statements import SiblingStatements, sibling_statements
from trunkline.wire.toot import Format

#: Subscriptions that one transaction forgets.
CHUNK: Final = 500


class Subscriber(msgspec.Struct, frozen=True, kw_only=True):
    """Be a subscription that another service made here.

    Args:
        id: Names it.
        channel: What it hears of.
        callback_url: Where.
        endpoint_id: The endpoint that requests go to.
        peer: Whose it is; empty for a stranger's.
        format: ``standard`` or ``toot``.
        created_at: Unix seconds.
        renewed_at: Unix seconds.
        expires_at: Unix seconds; None without a lease.
    """

    id: str
    channel: str
    callback_url: str
    endpoint_id: str
    peer: str
    format: Format
    created_at: float
    renewed_at: float
    expires_at: float | None


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """Be what a peer that was let in asks for.

    Args:
        peer: Whose wish.
        channel: Of what.
        callback_url: Where.
        format: How.
        expires_at: Until when, Unix seconds, or None.
    """

    peer: str
    channel: str
    callback_url: str
    format: Format
    expires_at: float | None


class Subscribers:
    """Keep subscriptions of others.

    Args:
        ready: Opens the line if need be, and returns its database.
        clock: Tells the time.
        options: The settings.
    """

    def __init__(
        self,
        ready: Callable[[], Awaitable[Database]],
        clock: Clock,
        options: SiblingOptions,
    ) -> None:
        self._ready = ready
        self._clock = clock
        self._delivery = options.delivery
        self._most = options.most

    async def find(self, channel: str, callback_url: str) -> Subscriber | None:
        """Return a subscription that stands, or None."""
        database, sql = await self._open()
        rows = await database.fetch(sql.callback, channel, callback_url)
        found = subscriber_of(rows[0]) if rows else None
        return None if found is None or self._is_over(found) else found

    async def subscribe(self, wish: Wish, *, nonce: str = "") -> bool:
        """Subscribe, or renew.

        Args:
            wish: What.
            nonce: The id under which the request was signed: it counts once.

        Returns:
            Whether it is new.

        Raises:
            AccessDeniedError: It is another peer's, or the request was made before.
            LimitExceededError: The peer has too many.
        """
        database, sql = await self._open()
        now = self._clock.now()
        async with database.transaction() as tx:
            await self._once(tx, sql, wish.peer, nonce)
            rows = await tx.fetch(sql.callback, wish.channel, wish.callback_url)
            known = subscriber_of(rows[0]) if rows else None
            if known is not None and known.peer != wish.peer:
                if not self._is_over(known):
                    raise AccessDeniedError("this callback is another peer's")
                await self._remove(tx, sql, known.id, known.endpoint_id)
                known = None
            if known is not None:
                await tx.execute(sql.renew, now, wish.expires_at, wish.format, known.id)
                await tx.execute(sql.revive, now, known.endpoint_id)
                return self._is_over(known)
            return await self._add(tx, sql, wish, now)

    async def _add(self, tx: Transaction, sql: SiblingStatements, wish: Wish, now: float) -> bool:
        if (await tx.fetch(sql.count, wish.peer))[0][0] >= self._most:
            raise LimitExceededError("subscriptions of one peer", self._most)
        rows = await tx.fetch(sql.endpoint_of, wish.peer, wish.callback_url)
        if rows:
            endpoint = rows[0][0]
            await tx.execute(sql.revive, now, endpoint)
        else:
            endpoint = f"cb_{secrets.token_hex(10)}"
            how = {**self._delivery, "format": "none" if wish.format == "toot" else "standard"}
            options = codec.encode(how).decode()
            values = (endpoint, wish.peer, wish.callback_url, options, now, now)
            await tx.execute(sql.add_endpoint, *values)
        ident = f"sub_{secrets.token_hex(8)}"
        made = await tx.execute(
            sql.add_callback,
            ident,
            wish.channel,
            wish.callback_url,
            endpoint,
            wish.peer,
            wish.format,
            now,
            now,
            wish.expires_at,
        )
        if not made:  # somebody made it in the same moment
            await tx.execute(sql.remove_empty, endpoint)
        return bool(made)

    async def unsubscribe(
        self, channel: str, callback_url: str, *, peer: str | None = None, nonce: str = ""
    ) -> None:
        """End a subscription; what is queued for it is not sent any more.

        Args:
            channel: Of what.
            callback_url: Where.
            peer: Only this peer's; None for whoever's.
            nonce: The id under which the request was signed: it counts once.

        Raises:
            UnknownPeerError: There is none.
            AccessDeniedError: The request was made before.
        """
        database, sql = await self._open()
        async with database.transaction() as tx:
            await self._once(tx, sql, peer or "", nonce)
            rows = await tx.fetch(sql.callback, channel, callback_url)
            known = subscriber_of(rows[0]) if rows else None
            if known is None or (peer is not None and known.peer != peer) or self._is_over(known):
                raise UnknownPeerError("there is no such subscription")
            await self._remove(tx, sql, known.id, known.endpoint_id)

    async def list(
        self, *, peer: str | None = None, after: str = "", limit: int = 1000
    ) -> Sequence[Subscriber]:
        """Return subscriptions that stand, by id.

        Args:
            peer: Only this peer's.
            after: Begin after this id.
            limit: So many at most.
        """
        database, sql = await self._open()
        rows = await database.fetch(
            sql.callbacks, after, int(peer is not None), peer or "", self._clock.now(), limit
        )
        return [subscriber_of(row) for row in rows]

    async def expire(self) -> int:
        """Forget subscriptions whose lease is over, some at once, and return how many."""
        database, sql = await self._open()
        rows = await database.fetch(sql.expired, self._clock.now(), CHUNK)
        if rows:
            async with database.transaction() as tx:
                for row in rows:
                    await self._remove(tx, sql, row[0], row[1])
        return len(rows)

    async def _remove(
        self, tx: Transaction, sql: SiblingStatements, ident: str, endpoint: str
    ) -> None:
        await tx.execute(sql.remove_callback, ident)
        await tx.execute(sql.remove_empty, endpoint)

    async def _once(self, tx: Transaction, sql: SiblingStatements, peer: str, nonce: str) -> None:
        if not nonce:
            return
        if not await tx.execute(sql.accept, f"peer/{peer}", nonce, "", self._clock.now()):
            raise AccessDeniedError("this signed request was made before: sign a new one")

    def _is_over(self, one: Subscriber) -> bool:
        return one.expires_at is not None and one.expires_at <= self._clock.now()

    async def _open(self) -> tuple[Database, SiblingStatements]:
        database = await self._ready()
        return database, sibling_statements(database)


def subscriber_of(row: Row) -> Subscriber:
    """Return a subscription from its row."""
    return Subscriber(
        id=row[0],
        channel=row[1],
        callback_url=row[2],
        endpoint_id=row[3],
        peer=row[4],
        format=row[5],
        created_at=row[6],
        renewed_at=row[7],
        expires_at=row[8],
    )
