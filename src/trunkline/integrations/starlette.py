"""Starlette: the gateway mounted, the line opened and closed, identity from Starlette's own user.

app = Starlette(routes=[gateway_route(line, "/events", identify=user_identity, access=may_read)],
lifespan=lifespan(line))
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

from starlette.requests import HTTPConnection
from starlette.routing import Mount

from trunkline.errors import ConfigError
from trunkline.gateway.access import Identify
from trunkline.gateway.request import Request
from trunkline.integrations.identities import ident_of, identity_of
from trunkline.integrations.receiver_starlette import received, webhook
from trunkline.model.identity import Identity

if TYPE_CHECKING:
    from trunkline.app import Trunkline

__all__ = [
    "gateway_route",
    "identity_by",
    "lifespan",
    "line_of",
    "received",
    "user_identity",
    "webhook",
]

Lifespan = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]]
FindUser = Callable[[HTTPConnection], Awaitable[Any] | Any]

#: Under this name the line stands in the state of application and requests.
STATE = "trunkline"


def lifespan(line: Trunkline, inner: Lifespan | None = None) -> Lifespan:
    """Return a lifespan that opens the line before the first request and closes it after the last.

    Args:
        line: The line.
        inner: The application's own lifespan, which finds the line open.
    """

    @asynccontextmanager
    async def run(app: Any) -> AsyncIterator[Mapping[str, Any]]:
        async with line:
            setattr(app.state, STATE, line)
            if inner is None:
                yield {STATE: line}
                return
            async with inner(app) as state:
                yield {**(state or {}), STATE: line}

    return run


def gateway_route(line: Trunkline, path: str = "/events", **hooks: Any) -> Mount:
    """Return the route under which clients reach the line: polls, SSE, WebSocket, the client.

    Args:
        line: The line.
        path: Where.
        **hooks: As for :meth:`trunkline.Trunkline.gateway`: ``identify``, ``access``, ….

    Raises:
        ConfigError: A hook is missing.
    """
    return Mount(path, app=line.gateway(**hooks), name=STATE)


def line_of(connection: HTTPConnection) -> Trunkline:
    """Return the line of the application that serves a request.

    Raises:
        ConfigError: Its lifespan is not :func:`lifespan`.
    """
    line: Trunkline | None = getattr(connection.app.state, STATE, None)
    if line is None:
        raise ConfigError("the application has no line: give it lifespan=lifespan(line)")
    return line


def user_identity(request: Request) -> Identity | None:
    """Identify a client by what AuthenticationMiddleware found out; a stranger is refused.

    The user's ``identity`` (or ``username``) is its id, its scopes are the groups. The middleware
    must stand around the mounted gateway.
    """
    user, auth = request.scope.get("user"), request.scope.get("auth")
    if user is None or not getattr(user, "is_authenticated", False):
        return None
    return Identity(user_id=ident_of(user), group_ids=frozenset(getattr(auth, "scopes", ())))


def identity_by(find: FindUser) -> Identify:
    """Return an identity hook from a function that knows users by Starlette's connections.

    Args:
        find: A plain or a coroutine function. It returns an :class:`trunkline.Identity`, a user's
            id, a user (by its ``id``, ``identity`` or ``username``), or None for a stranger. It
            may raise HTTPException with 401 or 403 for one.
    """
    from starlette.exceptions import HTTPException

    async def identify(request: Request) -> Identity | None:
        try:
            found = find(HTTPConnection(request.scope))
            return identity_of(await found if inspect.isawaitable(found) else found)
        except HTTPException as error:
            if error.status_code in {401, 403}:
                return None
            raise

    return identify
