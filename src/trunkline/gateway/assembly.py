"""The gateway, put together: one object that an application mounts or serves."""

from __future__ import annotations

from trunkline.channels.bus import Bus
from trunkline.channels.hub import Hub
from trunkline.cqrs.entry import Entries
from trunkline.gateway.access import Gatekeeper
from trunkline.gateway.application import Reception
from trunkline.gateway.attendance import Attendance
from trunkline.gateway.commands import COMMANDS, CommandEndpoint
from trunkline.gateway.context import Context, Endpoint
from trunkline.gateway.custody import Custody
from trunkline.gateway.diagnostics import PAGE, STATE, DiagnosticsEndpoint
from trunkline.gateway.events import EventStreams
from trunkline.gateway.failures import Failures
from trunkline.gateway.hooks import Hooks
from trunkline.gateway.intercom import Intercom
from trunkline.gateway.limits import ConnectionLimits, RateLimiter
from trunkline.gateway.observer import Observer
from trunkline.gateway.openapi import OpenAPIEndpoint
from trunkline.gateway.options import GatewayOptions
from trunkline.gateway.origins import Origins
from trunkline.gateway.polling import PollEndpoint
from trunkline.gateway.presence_page import PRESENCE, PresenceEndpoint
from trunkline.gateway.publishing import PublishEndpoint
from trunkline.gateway.request import Receive, Scope, Send
from trunkline.gateway.router import MethodFilter, Router
from trunkline.gateway.script import ScriptEndpoint
from trunkline.gateway.socket import ENTITY_SYNC, SocketEndpoint
from trunkline.gateway.switchboard import Switchboard
from trunkline.log.port import Log
from trunkline.runtime.clock import Clock, SystemClock


class Gateway:
    """Be the ASGI application that clients talk to.

    Args:
        log: The open log.
        hub: This process's hub on it.
        bus: Publishes to it.
        hooks: What the application plugs in.
        options: The settings; they may change while it runs.
        clock: Tells the time.

    Raises:
        ConfigError: A hook is missing.
    """

    def __init__(
        self,
        log: Log,
        hub: Hub,
        bus: Bus,
        *,
        hooks: Hooks,
        options: GatewayOptions | None = None,
        clock: Clock | None = None,
    ) -> None:
        clock = clock or SystemClock()
        self._entries = hooks.entries or Entries()
        self.options = options or GatewayOptions()
        gatekeeper = Gatekeeper(
            hooks.identify,
            hooks.access,
            open=hooks.open,
            ttl=lambda: self.options.access_ttl,
            clock=clock,
        )
        self.board = Switchboard(log, hub, options=self.options, gatekeeper=gatekeeper, clock=clock)
        self.context = Context(
            log=log,
            hub=hub,
            bus=bus,
            options=self.options,
            gatekeeper=gatekeeper,
            origins=Origins(self.options),
            rates=RateLimiter(self.options, clock),
            limits=ConnectionLimits(self.options),
            failures=Failures(hooks.on_error),
            intercom=Intercom(log, hub, bus, self.board.crew),
            clock=clock,
            entities=hooks.entities,
            presences=hooks.presences,
        )
        self._attendance = Attendance(self.options, hooks.presences, self.board.crew)
        if hooks.presences is not None:
            self.board.on_interest = self._attendance.note
        self._reception = Reception(
            self.context,
            self._router(),
            extra_headers=hooks.extra_headers,
            wrapped=hooks.wrapped,
        )

    def _router(self) -> Router:
        context, board = self.context, self.board
        custody = Custody(context, board)
        diagnostics = MethodFilter(
            DiagnosticsEndpoint(context, Observer(context, board)), ["GET", "HEAD"]
        )
        pages: dict[str, Endpoint] = {
            "/sse": MethodFilter(EventStreams(context, board, custody), ["GET"]),
            "/api/publish": MethodFilter(PublishEndpoint(context), ["POST"]),
            "/api/openapi.json": MethodFilter(
                OpenAPIEndpoint(context, self._entries), ["GET", "HEAD"]
            ),
            COMMANDS: MethodFilter(CommandEndpoint(context, self._entries), ["POST"]),
            PAGE: diagnostics,
            STATE: diagnostics,
        }
        script = MethodFilter(ScriptEndpoint(), ["GET", "HEAD"])
        socket = SocketEndpoint(context, board, custody)
        poll = PollEndpoint(context, board, custody, self._attendance)
        if context.presences is not None:
            endpoint = PresenceEndpoint(context, context.presences)
            pages[PRESENCE] = MethodFilter(endpoint, ["GET", "HEAD"])
        old = None
        if context.entities is not None:
            old = SocketEndpoint(context, board, custody, ENTITY_SYNC)
        return Router(
            pages,
            script=script,
            poll=poll,
            socket=socket,
            old_socket=old,
            old_path=lambda: context.options.entity_path,
        )

    async def close(self) -> None:
        """Tell every connection to come back, and end what runs."""
        self.context.intercom.close()
        await self.board.close()
        self._attendance.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        await self._reception(scope, receive, send)
