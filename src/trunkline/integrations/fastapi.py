"""FastAPI: the line as a dependency, the gateway mounted, identity from the application's own one.

app = FastAPI(lifespan=lifespan(line))
mount(app, line, identify=identity_from(current_user, app), access=may_read)

@app.post("/orders")
async def order(line: Line): ...
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from starlette.requests import HTTPConnection

from trunkline.app import Trunkline
from trunkline.errors import AccessDeniedError
from trunkline.gateway.access import Identify
from trunkline.gateway.request import Event, Request, Scope
from trunkline.integrations.identities import identity_of
from trunkline.integrations.starlette import (
    gateway_route,
    identity_by,
    lifespan,
    line_of,
    received,
    user_identity,
    webhook,
)
from trunkline.model.identity import Identity

__all__ = [
    "Line",
    "identity_by",
    "identity_from",
    "lifespan",
    "line_of",
    "mount",
    "received",
    "user_identity",
    "webhook",
]

FOUND = "trunkline.user"


def _line(connection: HTTPConnection) -> Trunkline:
    return line_of(connection)


#: The type of a parameter that is given the line.
Line = Annotated[Trunkline, Depends(_line)]


def mount(app: FastAPI, line: Trunkline, path: str = "/events", **hooks: Any) -> None:
    """Let clients reach the line under a path of an application.

    Args:
        app: The application; its lifespan is :func:`lifespan`.
        line: The line.
        path: Where.
        **hooks: As for :meth:`trunkline.Trunkline.gateway`: ``identify``, ``access``, ….

    Raises:
        ConfigError: A hook is missing.
    """
    app.router.routes.append(gateway_route(line, path, **hooks))


def identity_from(dependency: Callable[..., Any], app: FastAPI | None = None) -> Identify:
    """Return an identity hook that asks a dependency of FastAPI, with all that it depends on.

    Args:
        dependency: What routes use, such as ``current_user``; it may not read the body. It
            returns what :func:`identity_by` says, and raises HTTPException for strangers.
        app: The application, whose ``dependency_overrides`` then hold here too.
    """
    probe = FastAPI(openapi_url=None)
    if app is not None:
        probe.dependency_overrides, probe.state = app.dependency_overrides, app.state
    user_of = Depends(dependency)

    async def answer(request: HTTPConnection, user: Any = user_of) -> None:
        request.scope[FOUND].append(user)

    # Annotations of this module are texts, which FastAPI can't resolve inside a function.
    answer.__annotations__ = {"request": HTTPConnection, "return": None}
    probe.add_api_route("/", answer)

    async def identify(request: Request) -> Identity | None:
        found: list[Any] = []
        status = await _status(probe, _question(request.scope, found))
        if found:
            return identity_of(found[0])
        if status in {401, 403, 422}:
            return None
        raise AccessDeniedError(f"the dependency answered {status}")

    return identify


def _question(scope: Scope, found: list[Any]) -> Scope:
    """Return the scope of a request that has all of another's but its body and its place."""
    kept: dict[str, Any] = {
        "query_string": b"",
        "headers": [],
        "client": None,
        "server": None,
        "state": {},
    }
    return {
        **{name: scope.get(name, default) for name, default in kept.items()},
        **{name: scope[name] for name in ("user", "auth", "session") if name in scope},
        "type": "http",
        "asgi": scope.get("asgi", {"version": "3.0"}),
        "http_version": "1.1",
        "scheme": {"ws": "http", "wss": "https"}.get(scope["scheme"], scope["scheme"]),
        "method": "GET",
        "path": "/",
        "raw_path": b"/",
        "root_path": "",
        FOUND: found,
    }


async def _status(probe: FastAPI, scope: Scope) -> int:
    status = 500

    async def receive() -> Event:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(event: Event) -> None:
        nonlocal status
        if event["type"] == "http.response.start":
            status = event["status"]

    await probe(scope, receive, send)
    return status
