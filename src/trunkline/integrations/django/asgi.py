"""ASGI: Django's application with the gateway around it, which take turns by the path.

``application`` is what a server, or ``trunkline serve``, is pointed at.
"""

from __future__ import annotations

import os
from typing import Any

import django
from django.core.asgi import get_asgi_application as get_django_application

from trunkline.gateway.application import Application
from trunkline.gateway.request import Receive, Scope, Send
from trunkline.integrations.django.configuration import configuration
from trunkline.integrations.django.identity import access_by, identify_by
from trunkline.integrations.django.lines import prepared
from trunkline.sync import Trunkline


def get_asgi_application(wrapped: Application | None = None) -> Application:
    """Return an ASGI application: the gateway below the setting ``base_path``, Django elsewhere.

    Args:
        wrapped: What takes all else, instead of Django's own application.

    Raises:
        ConfigError: The setting ``access`` is missing.
    """
    inner: Any = wrapped or get_django_application()
    conf, line = configuration(), prepared()
    gateway = line.asynchronous.gateway(
        identify=identify_by(conf.identify),
        access=None if conf.access is None else access_by(conf.access),
        wrapped=inner,
    )
    return _SharedLoop(line, gateway)


class _SharedLoop:
    """Have views and gateway share one line, on the server's loop.

    Args:
        line: The line.
        gateway: The gateway.
    """

    def __init__(self, line: Trunkline, gateway: Application) -> None:
        self._line = line
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._line.settle_here()
        try:
            await self._gateway(scope, receive, send)
        finally:
            if scope["type"] == "lifespan":
                await self._line.asynchronous.close()


def __getattr__(name: str) -> Any:
    """Make ``application`` when a server asks for it."""
    if name != "application":
        raise AttributeError(name)
    if "DJANGO_SETTINGS_MODULE" in os.environ:
        django.setup(set_prefix=False)
    found = globals()["application"] = get_asgi_application()
    return found
