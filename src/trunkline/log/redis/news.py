"""Hearing of news: a connection that listens for hints, and a slow look in case one is lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from redis.exceptions import RedisError

from trunkline.errors import LogError
from trunkline.log.redis.faults import fault_of
from trunkline.log.redis.layout import Layout
from trunkline.log.redis.link import Link
from trunkline.runtime.loops import Backoff

logger = logging.getLogger(__name__)

#: What a Ruby message_bus sends to silence every listener; here it means: subscribe again.
UNSUBSCRIBE: Final = b"$$UNSUBSCRIBE"
#: Seconds that a hint may come after the news it tells of, before the listener counts as deaf.
GRACE: Final = 0.1


class News:
    """Listen on a connection of its own, and connect again whenever it is lost or deaf.

    Args:
        link: The server.
        layout: Names the pub/sub channel and reads its notifications.
        poll_interval: Seconds of silence before a look at the line itself.
        hear: Called with head and epoch ('' if unknown); says whether that was news.
        stir: Called when anything may have happened.
    """

    def __init__(
        self,
        link: Link,
        layout: Layout,
        *,
        poll_interval: float,
        hear: Callable[[int, str], bool],
        stir: Callable[[], None],
    ) -> None:
        self._link = link
        self._layout = layout
        self._poll_interval = poll_interval
        self._hear = hear
        self._stir = stir
        self._is_stopped = False
        self._is_interrupted = False

    def stop(self) -> None:
        """End soon, also when the driver swallows a cancellation while it connects."""
        self._is_stopped = True

    async def run(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Listen until cancelled."""
        backoff = Backoff(first=0.02, limit=0.5)
        while not self._is_stopped:
            try:
                await self._listen(backoff)
            except (RedisError, OSError) as error:
                self._tell_interruption(fault_of(error, self._link.place))
            except LogError as error:
                self._tell_interruption(error)
            await self._link.drop()
            await sleep(backoff.next_delay())

    def _tell_interruption(self, error: LogError) -> None:
        # Once per outage is enough; the attempts in between would fill the log.
        level = logging.DEBUG if self._is_interrupted else logging.WARNING
        logger.log(level, "listening is interrupted: %s", error)
        self._is_interrupted = True

    async def _listen(self, backoff: Backoff) -> None:
        """Listen until the connection is lost, is deaf, or somebody asks to subscribe again."""
        pubsub = self._link.client.pubsub(ignore_subscribe_messages=False)
        try:
            await pubsub.subscribe(self._layout.news_channel)
            while not self._is_stopped:
                message = await pubsub.get_message(timeout=self._poll_interval)
                if message is None:
                    if await self._is_deaf(pubsub):
                        logger.warning("notifications stay away: subscribing again")
                        return
                elif message["type"] == "subscribe":
                    backoff.succeed()
                    self._is_interrupted = False
                    # Whatever came before this moment was told to nobody here.
                    self._stir()
                elif not self._take(message):
                    return
        finally:
            await pubsub.aclose()

    def _take(self, message: dict[str, Any]) -> bool:
        """Take a notification; tell whether to listen on."""
        payload = message["data"]
        if not isinstance(payload, bytes):
            return True
        if payload == UNSUBSCRIBE:
            return False
        news = self._layout.news_head(payload)
        if news is None:
            self._stir()
        else:
            self._hear(*news)
        return True

    async def _is_deaf(self, pubsub: Any) -> bool:
        """Look at the line after a silence, and tell whether a hint was missed."""
        heads = await self._layout.heads(())
        if not self._hear(heads.head, heads.epoch):
            return False
        message = await pubsub.get_message(timeout=GRACE)
        return message is None or not self._take(message)
