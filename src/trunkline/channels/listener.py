"""A subscription with a handler: each message is handed to a function of the application."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from trunkline.channels.subscription import Subscription
from trunkline.errors import GapError, LogError
from trunkline.model.message import Message
from trunkline.runtime.loops import Backoff, Sleep

logger = logging.getLogger("trunkline.channels")

Handler = Callable[[Message], Awaitable[Any] | Any]


class Listener:
    """Hand every message of a subscription to a handler, one at a time and in order.

    A handler that raises is reported and does not stop the next message. A gap that nobody takes
    is reported and reading goes on after it. An engine that fails is asked again later.

    Args:
        subscription: Where the messages come from.
        handler: A function or coroutine function.
    """

    def __init__(self, subscription: Subscription, handler: Handler) -> None:
        self.subscription = subscription
        self.handler = handler

    async def run(self, sleep: Sleep) -> None:
        """Hand messages over until the listener is closed.

        Args:
            sleep: Waits between attempts when the engine fails.
        """
        backoff = Backoff()
        while True:
            try:
                async for message in self.subscription:
                    backoff.succeed()
                    await self._hand_over(message)
            except GapError as gap:
                logger.warning("a listener lost messages: %s", gap)
            except LogError as error:
                logger.warning("a listener cannot read the log, trying again: %s", error)
                await sleep(backoff.next_delay())
            else:
                return

    async def _hand_over(self, message: Message) -> None:
        try:
            answer = self.handler(message)
            if inspect.isawaitable(answer):
                await answer
        except Exception:
            logger.exception("the handler of %s raised on %s", message.channel, message.position)

    def close(self) -> None:
        """End the listener; the message in hand is finished first. Idempotent."""
        self.subscription.close()

    def __repr__(self) -> str:
        return f"<Listener {self.handler!r} {self.subscription!r}>"
