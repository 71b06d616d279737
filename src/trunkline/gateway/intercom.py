"""What the processes of a line say to each other, over channels that no client ever sees."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from trunkline.channels.bus import Bus
from trunkline.channels.catchup import Gap
from trunkline.channels.hub import Hub
from trunkline.channels.listener import Listener
from trunkline.channels.subscription import Start, Subscription
from trunkline.gateway.crew import Crew
from trunkline.log.port import Log
from trunkline.model.channel import INTERNAL_PREFIX, ChannelKey
from trunkline.model.interest import Interest
from trunkline.model.message import Message

REVOKE: Final = f"{INTERNAL_PREFIX}revoke"
ASK: Final = f"{INTERNAL_PREFIX}diagnostics/ask"
TELL: Final = f"{INTERNAL_PREFIX}diagnostics/tell"

Hear = Callable[[Any], None]
OnLoss = Callable[[], None]


class Intercom:
    """Hear and speak on Trunkline's own channels, from the moment it is first needed.

    Args:
        log: The open log.
        hub: This process's hub.
        bus: Publishes.
        crew: Runs the listeners.
    """

    def __init__(self, log: Log, hub: Hub, bus: Bus, crew: Crew) -> None:
        self._log = log
        self._hub = hub
        self._bus = bus
        self._crew = crew
        self._hearers: dict[str, tuple[Hear, OnLoss]] = {}
        self._subscriptions: list[Subscription] = []
        self._is_open = False
        self._opening = asyncio.Lock()

    def on(self, channel: str, hear: Hear, *, on_loss: OnLoss = lambda: None) -> None:
        """Have a function called with what is said on a channel; only before :meth:`open`.

        Args:
            channel: One of Trunkline's own channels.
            hear: Called with a message's data, in order. What it raises is logged.
            on_loss: Called when something was said that can't be heard any more.
        """
        self._hearers[channel] = (hear, on_loss)

    async def open(self) -> None:
        """Make certain that whatever is said from now on is heard. Idempotent.

        Raises:
            LogError: The log cannot be read.
            LineClosedError: The line is closed.
        """
        if self._hears():
            return
        async with self._opening:
            if self._hears():  # opened while this call waited for its turn
                return
            opened = [self._subscription(channel) for channel in self._hearers]
            for subscription in opened:
                await subscription.open()
            for subscription in opened:
                listener = Listener(subscription, self._hear)
                self._crew.start("intercom", listener.run(asyncio.sleep))
            self._subscriptions = opened
            self._is_open = True

    def _hears(self) -> bool:
        return self._is_open

    def _subscription(self, channel: str) -> Subscription:
        # A channel by itself, so that what is lost on one is not taken for a loss on another.
        _, on_loss = self._hearers[channel]

        def on_gap(gap: Gap) -> None:
            # A line that was erased has nothing more to say; listeners are told of it themselves.
            if gap.reason == "trimmed":
                on_loss()

        interest = Interest(frozenset({ChannelKey(channel)}))
        return Subscription(self._log, self._hub, interest, start=Start(), on_gap=on_gap)

    def close(self) -> None:
        """Hear no more."""
        for subscription in self._subscriptions:
            subscription.close()

    async def say(self, channel: str, data: Any) -> None:
        """Say something to every process, this one included.

        Raises:
            LogError: It was not stored, and nobody will hear it.
        """
        await self._bus.publish_internal(channel, data)

    def _hear(self, message: Message) -> None:
        self._hearers[message.channel][0](message.data)
