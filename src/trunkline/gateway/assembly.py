"""The gateway, put together: one object that an application mounts or serves."""

from __future__ import annotations

from trunkline.channels.bus import Bus
from trunkline.channels.hub import Hub
from trunkline.gateway.access import Access, Gatekeeper, Identify
from trunkline.gateway.application import Application, ExtraHeaders, Reception
from trunkline.gateway.context import Context, Endpoint
from trunkline.gateway.custody import Custody
from trunkline.gateway.diagnostics import PAGE, STATE, DiagnosticsEndpoint
from trunkline.gateway.events import EventStreams
from trunkline.gateway.failures import Failures, OnError
from trunkline.gateway.intercom import Intercom
from trunkline.gateway.limits import ConnectionLimits, RateLimiter
from trunkline.gateway.observer import Observer
from trunkline.gateway.openapi import OpenAPIEndpoint
from trunkline.gateway.options import GatewayOptions
from trunkline.gateway.origins import Origins
from trunkline.gateway.polling import PollEndpoint
from trunkline.gateway.publishing import PublishEndpoint
from trunkline.gateway.request import Receive, Scope, Send
from trunkline.gateway.router import MethodFilter, Router
from trunkline.gateway.script import ScriptEndpoint
from trunkline.gateway.socket import SocketEndpoint
from trunkline.gateway.switchboard import Switchboard
from trunkline.log.port import Log
from trunkline.runtime.clock import Clock, SystemClock


class Gateway:
    """Be the ASGI application that clients talk to.

    Args:
        log: The open log.
        hub: This process's hub on it.
        bus: Publishes to it.
        options: The settings; they may change while it runs.
        identify: Says who a request comes from.
        access: Says which channels an identity may read.
        open: Say True to do without one of these hooks.
        on_error: Called when an endpoint or a hook fails.
        extra_headers: Called with each request; returns headers for its answer.
        wrapped: Takes what is not the gateway's; 404 without it.
        clock: Tells the time.

    Raises:
        ConfigError: A hook is missing.
    """

    def __init__(  # noqa: PLR0913 - the application's hooks, each by name
        self,
        log: Log,
        hub: Hub,
        bus: Bus,
        *,
        options: GatewayOptions | None = None,
        identify: Identify | None = None,
        access: Access | None = None,
        open: bool = False,  # noqa: A002 - the word an application says
        on_error: OnError | None = None,
        extra_headers: ExtraHeaders | None = None,
        wrapped: Application | None = None,
        clock: Clock | None = None,
    ) -> None:
        clock = clock or SystemClock()
        self.options = options or GatewayOptions()
        gatekeeper = Gatekeeper(
            identify, access, open=open, ttl=lambda: self.options.access_ttl, clock=clock
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
            failures=Failures(on_error),
            intercom=Intercom(log, hub, bus, self.board.crew),
            clock=clock,
        )
        self._reception = Reception(
            self.context, self._router(), extra_headers=extra_headers, wrapped=wrapped
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
            "/api/openapi.json": MethodFilter(OpenAPIEndpoint(context), ["GET", "HEAD"]),
            PAGE: diagnostics,
            STATE: diagnostics,
        }
        script = MethodFilter(ScriptEndpoint(), ["GET", "HEAD"])
        socket = SocketEndpoint(context, board, custody)
        poll = PollEndpoint(context, board, custody)
        return Router(pages, script=script, poll=poll, socket=socket)

    async def close(self) -> None:
        """Tell every connection to come back, and end what runs."""
        self.context.intercom.close()
        await self.board.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        await self._reception(scope, receive, send)
