"""What to say on a socket, and whose each push is: the client's side of our protocol, without I/O.

Requests go out one at a time, each for one subscription. No channel belongs to two subscriptions of
one connection, so a message's channel tells whose it is, also while one of them catches up; that
its messages come in global order is what lets a single position stand for all of its channels.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from trunkline.client.cursor import Cursor, position_in
from trunkline.client.failures import Interruption, failure_of_code
from trunkline.client.feed import Feed
from trunkline.errors import AccessDeniedError
from trunkline.wire.pushes import Failed, Gap, Live, Pushed, Subscribed, Unsubscribed
from trunkline.wire.socket import Request, UnsubscribeRequest, subscribe_request

SocketFeed = Feed[Cursor]


class _Asked(NamedTuple):
    request: Request
    feed: SocketFeed


class Conversation:
    """Hold the state of one connection."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._asked: _Asked | None = None
        self._is_catching_up = False
        self._live: list[SocketFeed] = []
        self._stale: list[SocketFeed] = []

    @property
    def live(self) -> Sequence[SocketFeed]:
        """Return the feeds whose backlog is through and that missed nothing."""
        return [feed for feed in self._live if feed not in self._stale]

    def skip(self, feed: SocketFeed) -> None:
        """Note that a feed did not take a message of this subscription.

        It gets nothing more until it was unsubscribed and subscribed again from its position.
        """
        if feed not in self._stale:
            self._stale.append(feed)

    def next_request(self, feeds: Sequence[SocketFeed]) -> Request | None:
        """Return what to ask next, so that the server serves just these feeds; None for nothing.

        Args:
            feeds: Those that the connection shall serve; parked ones are not wanted now.
        """
        if self._asked is not None:
            return None
        wanted = [feed for feed in feeds if not feed.is_parked and not feed.is_ended]
        for feed in self._live:
            if feed not in wanted or feed in self._stale:
                self._live.remove(feed)
                self._forget(feed)
                return self._ask(UnsubscribeRequest(next(self._ids), list(feed.names)), feed)
        for feed in wanted:
            if feed not in self._live:
                cursor = feed.cursor
                request = subscribe_request(
                    next(self._ids), list(feed.names), cursor.start, last=cursor.last
                )
                return self._ask(request, feed)
        return None

    def _forget(self, feed: SocketFeed) -> None:
        if feed in self._stale:
            self._stale.remove(feed)

    def _ask(self, request: Request, feed: SocketFeed) -> Request:
        self._asked = _Asked(request, feed)
        self._is_catching_up = False
        return request

    def readers(self, push: Pushed) -> list[SocketFeed]:
        """Return the feeds that a message is for."""
        return [feed for feed in self._addressees() if feed.wants(push.channel)]

    def losers(self, push: Gap) -> list[SocketFeed]:
        """Return the feeds that a gap concerns."""
        lost = set(push.channels)
        return [feed for feed in self._addressees() if not lost.isdisjoint(feed.names)]

    def _addressees(self) -> list[SocketFeed]:
        feeds = [feed for feed in self._live if feed not in self._stale]
        if self._asked is not None and self._is_catching_up and self._asked.feed not in self._stale:
            feeds.append(self._asked.feed)
        return feeds

    def on_answer(self, push: Subscribed | Live | Unsubscribed | Failed) -> None:
        """Take an answer to the request under way; others are ignored.

        Raises:
            Interruption: The request failed in a way that may pass.
        """
        asked = self._asked
        if asked is None or push.id != asked.request.id:
            return
        if isinstance(push, Subscribed):
            self._on_subscribed(push, asked.feed)
            return
        self._asked = None
        self._is_catching_up = False
        if isinstance(push, Live):
            if asked.feed not in self._stale:
                asked.feed.cursor.settle(position_in(push.position))
            self._live.append(asked.feed)
        elif isinstance(push, Failed) and not isinstance(asked.request, UnsubscribeRequest):
            self._on_failed(push, asked.feed)

    def _on_subscribed(self, push: Subscribed, feed: SocketFeed) -> None:
        if not push.channels:
            self._asked = None
            detail = "; ".join(f"{one.channel}: {one.detail}" for one in push.refused)
            feed.fail(AccessDeniedError(f"the server refuses all channels: {detail}"))
            return
        self._is_catching_up = True
        gap = feed.cursor.begin(position_in(push.position))
        feed.push([gap] if gap else [], 0)
        feed.open(push.refused)

    def _on_failed(self, push: Failed, feed: SocketFeed) -> None:
        failure = failure_of_code(push.code, push.detail)
        if isinstance(failure, Interruption):
            raise failure
        feed.fail(failure)
