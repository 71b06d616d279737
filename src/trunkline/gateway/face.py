"""The line as those see it who open it to clients: it makes gateways and revokes access."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING

from trunkline.channels.presence import PresenceFace
from trunkline.cqrs.face import CommandFace
from trunkline.entities.face import EntitiesFace
from trunkline.gateway.options import GatewayOptions
from trunkline.model.identity import Id

if TYPE_CHECKING:  # a gateway is imported when one is asked for: scripts need none
    from trunkline.gateway.access import Access, Identify
    from trunkline.gateway.application import Application, ExtraHeaders
    from trunkline.gateway.doorway import Doorway
    from trunkline.gateway.failures import OnError


class GatewayFace(EntitiesFace, CommandFace, PresenceFace):
    """Let clients in."""

    #: Set by whoever makes the line, before its first use.
    _options: GatewayOptions
    _doorways: list[Doorway]

    @property
    @abstractmethod
    def is_open(self) -> bool:
        """Tell whether the line is open."""

    @abstractmethod
    async def open_for_use(self) -> None:
        """Open the line unless it is open, or switched off altogether."""

    @abstractmethod
    async def close(self) -> None:
        """Close the line."""

    @property
    def entity_prefix(self) -> str:
        """Return the setting that keeps applications on one engine apart."""
        return self._options.entity_prefix

    @property
    def presence_lease(self) -> float:
        """Return the setting after which silent processes count as dead, seconds."""
        return self._options.presence_lease

    @property
    def gateway_options(self) -> GatewayOptions:
        """Return the gateway's settings, which may be changed while it runs."""
        return self._options

    def gateway(
        self,
        *,
        identify: Identify | None = None,
        access: Access | None = None,
        open: bool = False,  # noqa: A002 - the word an application says
        on_error: OnError | None = None,
        extra_headers: ExtraHeaders | None = None,
        wrapped: Application | None = None,
    ) -> Doorway:
        """Make the ASGI application that browsers and other clients talk to.

        Serve it, mount it, or have it wrap your own application. Its lifespan opens and closes
        the line; without lifespan events its first request opens it.

        Args:
            identify: Called with each :class:`trunkline.Request`; returns the
                :class:`trunkline.Identity` behind it, or None for a stranger (401).
            access: Called with identity and channel; True lets it read the channel.
            open: Say True to do without one of these two and let everybody in.
            on_error: Called with request and exception when an endpoint or hook fails; may return
                status, headers and body.
            extra_headers: Called with each request; returns headers for its answer.
            wrapped: Takes what is not the gateway's; 404 without it.

        Returns:
            The application.

        Raises:
            ConfigError: A hook is missing.
        """
        from trunkline.gateway.assembly import Gateway
        from trunkline.gateway.doorway import Doorway
        from trunkline.gateway.hooks import Hooks

        hooks = Hooks(
            identify=identify,
            access=access,
            open=open,
            on_error=on_error,
            extra_headers=extra_headers,
            wrapped=wrapped,
            entities=self.entities,
            entries=self.entries,
            presences=lambda: self.presences,
        )
        options, clock = self.gateway_options, self._premises.clock
        make = partial(
            Gateway,
            self._log,
            self._hub,
            self,
            hooks=hooks,
            options=options,
            clock=clock,
        )
        doorway = Doorway(self, make, wrapped=wrapped)
        self._doorways.append(doorway)
        return doorway

    async def revoke(
        self,
        *,
        user_id: Id | None = None,
        client_id: str | None = None,
        site_id: str | None = None,
        group_id: Id | None = None,
    ) -> None:
        """End the live connections for which all that is given holds, in every process.

        They are told so and must ask for access again: make the hooks refuse them first.

        Args:
            user_id: Of this user.
            client_id: With this client id.
            site_id: On this site.
            group_id: Of members of this group.

        Raises:
            UsageError: Nothing is given.
            LogError: It could not be stored; nothing ends.
        """
        from trunkline.gateway.revoke import Revoker

        await Revoker(self).revoke(
            user_id=user_id, client_id=client_id, site_id=site_id, group_id=group_id
        )
