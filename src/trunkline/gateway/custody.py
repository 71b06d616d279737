"""What a held connection is held under: the limits, its identity's life, and revocations."""

from __future__ import annotations

import logging
from functools import partial

from trunkline.gateway.connection import Connection
from trunkline.gateway.context import Context
from trunkline.gateway.limits import client_key
from trunkline.gateway.request import Request
from trunkline.gateway.revoke import Hits, Revocations
from trunkline.gateway.switchboard import Switchboard
from trunkline.model.identity import Identity, Viewer

logger = logging.getLogger("trunkline.gateway")


class Custody:
    """Take connections in, and see to it that they end when they must.

    Args:
        context: What the gateway's endpoints share.
        board: Holds the connections.
    """

    def __init__(self, context: Context, board: Switchboard) -> None:
        self._context = context
        self._board = board
        self._revocations = Revocations(self._end_hit, self._end_all, context.clock)
        self._revocations.listen(context.intercom)

    async def admit(self, request: Request) -> Identity:
        """Find out who wants to be held; see :meth:`Context.admit`."""
        return await self._context.admit(request)

    def enter(self, request: Request, identity: Identity) -> str:
        """Count a connection, before anything is sent.

        Args:
            request: The request.
            identity: Who asks.

        Returns:
            Whom it counts for; give it to :meth:`keep`, or to :meth:`leave` if it comes to
            nothing.

        Raises:
            LimitExceededError: There are as many as there may be.
        """
        key = client_key(identity, request.address)
        self._context.limits.enter(key)
        return key

    def leave(self, key: str) -> None:
        """Count a connection no longer."""
        self._context.limits.leave(key)

    def keep(self, connection: Connection, request: Request, key: str | None = None) -> None:
        """Watch over a connection from now on.

        Args:
            connection: As the switchboard made it.
            request: How it began; kept only if its identity expires.
            key: What :meth:`enter` returned.
        """
        if key is not None:
            connection.when_ended(partial(self._context.limits.leave, key))
        if connection.viewer.identity.expires_at is not None:
            connection.expires = partial(self._start_renewal, connection, request)
        if self._revocations.hit_since(connection.viewer, request.admitted_at):
            connection.end("revoked")

    # -- revocation ---------------------------------------------------------------------------

    def _end_hit(self, hits: Hits) -> None:
        self._context.gatekeeper.forget()
        for connection in tuple(self._board.connections):
            if hits(connection.viewer):
                connection.end("revoked")

    def _end_all(self) -> None:
        logger.warning("revocations may have been missed: every connection is asked to come back")
        self._context.gatekeeper.forget()
        for connection in tuple(self._board.connections):
            connection.end("shutdown")

    # -- expiry -------------------------------------------------------------------------------

    def _start_renewal(self, connection: Connection, request: Request) -> None:
        self._board.crew.start("renewal", self._renew(connection, request))

    async def _renew(self, connection: Connection, request: Request) -> None:
        """Ask again who this is and what it may see; go on if that is the same, else end."""
        try:
            is_valid = await self._ask_again(connection, request)
        except Exception as error:  # noqa: BLE001 - it is reported; and no answer means no
            await self._context.failures.report(request, error)
            is_valid = False
        if not is_valid:
            connection.end("expired")

    async def _ask_again(self, connection: Connection, request: Request) -> bool:
        request.admitted_at = self._context.clock.monotonic()
        gatekeeper, old = self._context.gatekeeper, connection.viewer
        identity = await gatekeeper.identify(request)
        if (identity.user_id, identity.site_id) != (old.identity.user_id, old.identity.site_id):
            return False
        names: list[str] | None = None
        while names != connection.names:  # a subscription may have come through meanwhile
            names = connection.names
            split = await gatekeeper.split(identity, names)
            if split.refused or connection.has_ended:
                return False
        viewer = Viewer(identity, old.client_id, strict=old.strict)
        if self._revocations.hit_since(viewer, request.admitted_at):
            connection.end("revoked")
            return True
        connection.viewer = viewer
        self._board.upkeep.renew(connection)
        for rider in connection.riders:
            rider.on_renewal()
        return True
