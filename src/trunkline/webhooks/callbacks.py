"""Events on their way to callbacks: queued for whoever subscribed, sent, and stopped on demand."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from trunkline.model import codec
from trunkline.runtime.clock import Clock
from trunkline.sql.database import Database, Transaction
from trunkline.webhooks.claims import Outcome
from trunkline.webhooks.outgoing import (
    Outgoing,
    Prepare,
    PrepareBatch,
    Transmission,
    WithdrawnError,
)
from trunkline.webhooks.peer import PeerKeys
from trunkline.webhooks.peers import Peers
from trunkline.webhooks.resolution import Session, delivery_id
from trunkline.webhooks.seam import DEAD, QUEUED, SENT
from trunkline.webhooks.sibling_statements import sibling_statements
from trunkline.webhooks.statements import listed
from trunkline.webhooks.subscribers import subscriber_of
from trunkline.wire.toot import Event, wants_no_more

logger = logging.getLogger("trunkline.webhooks")

#: The kind of account that peers are, in lists of transmissions.
SERVICE: Final = "service"
_DISABLED: Final = "not sent: the endpoint is disabled"
#: Rows that one statement queues.
CHUNK: Final = 1000


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """Be an event on its way within this service.

    Args:
        id: Its id.
        timestamp: When it happened.
        channel: Its full name.
        payload: Any JSON value.
        key: Those with the same key go to each callback one after another, or None.
    """

    id: str
    timestamp: datetime
    channel: str
    payload: Any
    key: str | None = None

    @property
    def event(self) -> Event:
        """Return the event."""
        return Event(
            id=self.id, timestamp=self.timestamp, channel=self.channel, payload=self.payload
        )


class Callbacks:
    """Queue events, make their requests, and end what receivers want ended.

    Args:
        clock: Tells the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def queue(self, database: Database, tx: Session, published: Sequence[Published]) -> int:
        """Queue events for whoever has subscribed to their channels.

        Args:
            database: Where the tables are.
            tx: The transaction.
            published: In order.

        Returns:
            How many requests that will be.
        """
        sql, now = sibling_statements(database), self._clock.now()
        channels = listed(database.dialect, sorted({one.channel for one in published}))
        found: dict[str, list[Any]] = {}
        for row in await tx.fetch(sql.listening, channels, now):
            found.setdefault(row[1], []).append(row)
        rows = [
            _row(one, subscriber, now)
            for one in published
            for subscriber in found.get(one.channel, ())
        ]
        rows.sort(key=lambda row: row[1])  # by endpoint, so that two who queue can't deadlock
        for first in range(0, len(rows), CHUNK):
            await tx.execute_many(sql.queue, rows[first : first + CHUNK])
        return len(rows)

    async def look_up(
        self,
        database: Database,
        peers: Peers,
        transmissions: Sequence[Transmission],
        others: PrepareBatch,
    ) -> Prepare:
        """Return what prepares a batch in which callbacks may be.

        Args:
            database: Where the tables are.
            peers: What requests are proven with.
            transmissions: Claimed before.
            others: Prepares what is no callback.
        """
        ours = [one for one in transmissions if is_callback(one)]
        if not ours:
            return await others(transmissions)
        desk = await self._desk(database, peers, ours)
        rest = [one for one in transmissions if not is_callback(one)]
        prepare = await others(rest) if rest else None

        async def either(one: Transmission) -> Outgoing:
            if prepare is None or is_callback(one):
                return desk.prepare(one)
            return await prepare(one)

        return either

    async def _desk(
        self, database: Database, peers: Peers, ours: Sequence[Transmission]
    ) -> CallbackDesk:
        sql = sibling_statements(database)
        endpoints = listed(database.dialect, sorted({one.endpoint_id for one in ours}))
        rows = await database.fetch(sql.prepared, endpoints, self._clock.now())
        desk = CallbackDesk()
        for endpoint, channel, url, peer, _ in rows:
            desk.routes[endpoint, channel] = (url, peer)
        desk.keys.update(await peers.keys({peer for _, peer in desk.routes.values() if peer}))
        return desk

    async def recorded(
        self, database: Database, tx: Transaction, outcomes: Sequence[Outcome]
    ) -> None:
        """End subscriptions whose callbacks said so, in the transaction that records it."""
        sql = sibling_statements(database)
        for outcome in outcomes:
            sent = outcome.claim.transmission
            if not is_callback(sent) or outcome.attempt is None:
                continue
            if outcome.gone:
                ended = await tx.execute(sql.unsubscribe_all, sent.endpoint_id)
            elif outcome.state == SENT and _is_unsubscribing(outcome.attempt.response_headers):
                ended = await tx.execute(sql.unsubscribe, sent.endpoint_id, sent.signal_name)
            else:
                continue
            await tx.execute(sql.remove_empty, sent.endpoint_id)
            if ended:
                logger.warning(
                    "peer %s unsubscribed from %s: it answered %s",
                    sent.account_id,
                    "all of its channels there" if outcome.gone else sent.signal_name,
                    "410 Gone" if outcome.gone else "that it hears it no more",
                )


class CallbackDesk:
    """Hold what was looked up for a batch of callbacks."""

    def __init__(self) -> None:
        self.routes: dict[tuple[str, str], tuple[str, str]] = {}
        self.keys: dict[str, PeerKeys] = {}

    def prepare(self, one: Transmission) -> Outgoing:
        """Make the request of one of them.

        Raises:
            WithdrawnError: It must not be sent any more.
        """
        route = self.routes.get((one.endpoint_id, one.signal_name))
        if route is None or one.body is None:
            raise WithdrawnError("the peer is not subscribed any more")
        url, peer = route
        headers = {"content-type": "application/json"}
        if not peer:
            return Outgoing(url=url, body=one.body, headers=headers)
        keys = self.keys.get(peer)
        if keys is None:
            raise WithdrawnError("the peer was removed")
        if keys.authorization is not None:
            headers["authorization"] = keys.authorization
        return Outgoing(url=url, body=one.body, headers=headers, secrets=keys.signing)


def is_callback(one: Transmission) -> bool:
    """Tell whether a transmission is an event for a callback."""
    return one.app_id is None and one.account_type == SERVICE


def _row(one: Published, row: Any, now: float) -> tuple[Any, ...]:
    subscriber, is_enabled = subscriber_of(row), row[9] == "enabled"
    account = codec.encode(subscriber.peer).decode()
    return (
        delivery_id(f"{one.channel} {one.id}", subscriber.endpoint_id),
        subscriber.endpoint_id,
        codec.encode([SERVICE, account]).decode(),
        SERVICE,
        account,
        one.channel,
        "",
        "published",
        codec.encode(one.id).decode(),
        "{}",
        one.event.encode(subscriber.format),
        one.key,
        QUEUED if is_enabled else DEAD,
        now if is_enabled else None,
        now,
        None if is_enabled else now,
        None if is_enabled else _DISABLED,
    )


def _is_unsubscribing(headers: str | None) -> bool:
    return headers is not None and wants_no_more(codec.decode(headers))
