"""Who a client is: the user of Django's session."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.db import close_old_connections
from django.http import HttpRequest

from trunkline.gateway.access import Access, Identify
from trunkline.gateway.request import Request
from trunkline.model.identity import Identity


def session_identity(request: HttpRequest) -> Identity | None:
    """Identify the user who is signed in; nobody else is let in.

    The groups are the names of the user's groups; superusers are admins. The identity holds as
    long as the session does.

    Args:
        request: A request with ``session`` and ``user``.
    """
    user: Any = getattr(request, "user", None)
    if user is None or not user.is_authenticated or not user.is_active:
        return None
    groups = user.groups.values_list("name", flat=True) if hasattr(user, "groups") else ()
    return Identity(
        user_id=user.pk if isinstance(user.pk, str | int) else str(user.pk),
        group_ids=frozenset(groups),
        is_admin=bool(getattr(user, "is_superuser", False)),
        expires_at=time.time() + request.session.get_expiry_age(),
    )


def with_session(cookies: Mapping[str, str], headers: Mapping[str, str]) -> HttpRequest:
    """Return a request with the session and the user that its cookies belong to.

    Args:
        cookies: The cookies.
        headers: The headers, names in lower case.
    """
    request = HttpRequest()
    request.method = "GET"
    request.COOKIES = dict(cookies)
    request.META = {
        f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()
    }
    key = cookies.get(settings.SESSION_COOKIE_NAME)
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(key)
    request.user = get_user(request)
    return request


def identified(find: Callable[[HttpRequest], Any], request: Request) -> Any:
    """Ask a function of Django's requests about a request of the gateway's; it blocks."""
    close_old_connections()
    try:
        return find(with_session(request.cookies, request.headers))
    finally:
        close_old_connections()


def identify_by(find: Callable[[HttpRequest], Any] | None) -> Identify:
    """Return an identity hook that asks a function of Django's requests, in Django's thread.

    Args:
        find: The function; None for :func:`session_identity`.
    """
    ask = sync_to_async(identified)

    async def identify(request: Request) -> Identity | None:
        found: Identity | None = await ask(find or session_identity, request)
        return found

    return identify


def access_by(access: Callable[[Identity, str], Any]) -> Access:
    """Return an access hook that may use Django's models, whether it awaits or blocks."""
    if inspect.iscoroutinefunction(access):
        return access
    return sync_to_async(access)
