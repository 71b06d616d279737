"""The line as those see it who tell customers' apps what happened."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from trunkline.channels.wing import WingedBus
from trunkline.errors import MissingExtraError

if TYPE_CHECKING:  # a wing is imported when it is asked for: scripts need none
    from trunkline.webhooks.apps import Apps
    from trunkline.webhooks.connections import Connections
    from trunkline.webhooks.endpoints import Endpoints
    from trunkline.webhooks.siblings import Siblings
    from trunkline.webhooks.signal import Signal
    from trunkline.webhooks.transmissions import Transmissions
    from trunkline.webhooks.wing import Webhooks


class WebhooksFace(WingedBus):
    """Fire signals at apps."""

    #: Set by whoever makes the line, before its first use.
    _webhook_settings: Mapping[str, Any]

    @cached_property
    def webhooks(self) -> Webhooks:
        """Return the wing that keeps apps and delivers to them.

        Raises:
            ConfigError: Its settings make no sense.
            MissingExtraError: An optional dependency is not installed.
        """
        from trunkline.webhooks.settings import WebhookOptions

        try:
            from trunkline.webhooks.wing import Webhooks
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] == "trunkline":
                raise
            raise MissingExtraError("webhooks", "webhooks") from error

        options = WebhookOptions.read(self._webhook_settings)
        return self.add_wing(partial(Webhooks, options=options))

    @cached_property
    def siblings(self) -> Siblings:
        """Return the wing through which this service and others tell each other.

        Raises:
            ConfigError: Its settings make no sense.
            MissingExtraError: An optional dependency is not installed.
        """
        webhooks = self.webhooks  # first, for it opens first

        from trunkline.webhooks.siblings import Siblings

        return self.add_wing(partial(Siblings, webhooks=webhooks))

    @property
    def apps(self) -> Apps:
        """Return the apps that accounts may install."""
        return self.webhooks.apps

    @property
    def connections(self) -> Connections:
        """Return the apps' installations on accounts."""
        return self.webhooks.connections

    @property
    def transmissions(self) -> Transmissions:
        """Return what was, and is to be, sent to apps."""
        return self.webhooks.transmissions

    @property
    def endpoints(self) -> Endpoints:
        """Return where requests go, how each fares, and what is to be sent there again."""
        return self.webhooks.endpoints

    async def signal(
        self,
        signal: Signal,
        action: str,
        *,
        context: Mapping[str, Any] | None = None,
        tx: Any = None,
    ) -> None:
        """Fire a signal, durably, or inside a transaction if and only if that commits.

        Args:
            signal: What it is about, such as ``LessonSignal(lesson, account_id=7)``.
            action: What happened, such as ``updated``.
            context: What is captured now; part of what makes two signals equal.
            tx: The line's transaction, or one that is open elsewhere, as for :meth:`publish`.

        Raises:
            SignalError: It can't be sent as given.
            UnencodableDataError: The context is no strict JSON.
            LogError: It could not be stored.
        """
        await self.webhooks.fire(signal, action, context=context, tx=tx)

    def signal_in(
        self, tx: Any, signal: Signal, action: str, *, context: Mapping[str, Any] | None = None
    ) -> None:
        """Fire a signal inside a synchronous transaction, from synchronous code, in any thread.

        Args:
            tx: As for :meth:`publish_in`.
            signal: What it is about.
            action: What happened.
            context: What is captured now.

        Raises:
            SignalError: It can't be sent as given.
        """
        self.webhooks.fire_in(tx, signal, action, context=context)
