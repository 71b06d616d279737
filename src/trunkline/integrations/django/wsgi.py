"""WSGI: Django's application, and polls without holding beside it.

``trunkline serve`` beside it (``manage.py trunkline serve``) streams.
"""

from __future__ import annotations

from typing import Any

from django.core.wsgi import get_wsgi_application as get_django_application

from trunkline.gateway.request import Request
from trunkline.integrations.django.configuration import configuration
from trunkline.integrations.django.identity import identified, session_identity
from trunkline.integrations.django.lines import prepared
from trunkline.integrations.wsgi import Application, Environ, LineMiddleware, scope_of
from trunkline.model.identity import Identity


def get_wsgi_application(wrapped: Application | None = None) -> Application:
    """Return a WSGI application: polls below the setting ``base_path``, Django elsewhere.

    Args:
        wrapped: What takes all else, instead of Django's own application.

    Raises:
        ConfigError: The setting ``access`` is missing.
    """
    inner: Any = wrapped or get_django_application()
    conf, line = configuration(), prepared()
    find = conf.identify or session_identity

    async def no_body() -> Any:
        raise RuntimeError("an identity is found without the body")

    def identify(environ: Environ) -> Identity | None:
        found: Identity | None = identified(find, Request(scope_of(environ, "/"), no_body))
        return found

    path = line.asynchronous.gateway_options.base_path
    return LineMiddleware(inner, line, path=path, identify=identify, access=conf.access)
