"""FastAPI's dependencies identify clients, whatever they depend on and whoever overrides them."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Header, HTTPException

from trunkline.errors import AccessDeniedError
from trunkline.gateway.request import Request
from trunkline.integrations.fastapi import identity_by, identity_from
from trunkline.model.identity import Identity


def tenant(x_tenant: Annotated[str, Header()]) -> str:
    return x_tenant


def user(x_user: Annotated[str, Header()], site: Annotated[str, Depends(tenant)]) -> Identity:
    if x_user == "nobody":
        raise HTTPException(401)
    if x_user == "broken":
        raise ZeroDivisionError
    if x_user == "teapot":
        raise HTTPException(418)
    return Identity(user_id=x_user, site_id=site)


def asked(kind: str = "http", **headers: str) -> Request:
    async def receive() -> Any:
        raise AssertionError("the body is the gateway's")

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": kind, "scheme": "wss", "path": "/events/ws", "headers": raw}
    return Request(scope, receive)


async def test_a_dependency_is_resolved_with_all_it_depends_on() -> None:
    identify = identity_from(user)
    for kind in ("http", "websocket"):
        found = await identify(asked(kind, x_user="ann", x_tenant="acme"))
        assert found == Identity(user_id="ann", site_id="acme")


async def test_a_stranger_is_nobody_and_a_failure_a_failure() -> None:
    identify = identity_from(user)
    assert await identify(asked(x_user="nobody", x_tenant="acme")) is None
    assert await identify(asked(x_user="ann")) is None  # a header is missing
    with pytest.raises(ZeroDivisionError):
        await identify(asked(x_user="broken", x_tenant="acme"))
    with pytest.raises(AccessDeniedError, match="418"):
        await identify(asked(x_user="teapot", x_tenant="acme"))


async def test_overrides_of_the_application_hold_for_clients_too() -> None:
    app = FastAPI()
    identify = identity_from(user, app)
    app.dependency_overrides[user] = lambda: "tester"
    assert await identify(asked()) == Identity(user_id="tester")


async def test_a_function_of_the_connection_identifies() -> None:
    def find(connection):
        if "x-user" not in connection.headers:
            raise HTTPException(403)
        return {"id": connection.headers["x-user"]}

    identify = identity_by(find)
    assert await identify(asked(x_user="ann")) == Identity(user_id="ann")
    assert await identify(asked()) is None
