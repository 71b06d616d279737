"""Commands that are exposed can be sent over HTTP, by those who may, and no others can."""

from __future__ import annotations

import msgspec
import pytest

from tests.cqrs.shop import AddItem, ItemAdded, OpenCart, Shop
from tests.gateway.edge import call
from tests.store.databases import sqlite_ground  # noqa: F401 - a fixture
from trunkline import Identity
from trunkline.errors import ConfigError


@pytest.fixture
def shop(sqlite_ground):  # noqa: F811
    return Shop(sqlite_ground)


def who(request):
    user = request.headers.get("x-user")
    return None if user is None else Identity(user_id=user)


async def post(app, name, value, *, user="u", **headers):
    sent = [("x-user", user)] if user else []
    sent += [(key.replace("_", "-"), text) for key, text in headers.items()]
    body = value if isinstance(value, bytes) else msgspec.json.encode(value)
    return await call(app, "POST", f"/api/commands/{name}", body=body, headers=sent)


@pytest.fixture
def app(shop):
    shop.line.expose(OpenCart, access=lambda identity, command: identity.user_id != "blocked")
    shop.line.expose(AddItem, open=True, summary="Put something into a cart")
    return shop.line.gateway(identify=who, access=lambda *_: False)


async def test_a_command_is_run_and_told(shop, app):
    async with shop as line:
        told = await post(app, "open.cart", {"cart_id": "a"})
        assert told.status == 200
        assert told.json["name"] == "open.cart"
        assert [one["name"] for one in told.json["events"]] == ["cart.a.opened"]
        assert told.json["repeated"] is False
        record = (await line._premises.log.read_all(0)).records[0]
        assert line.commands.plan.catalog.recorded(record).headers.actor == "u"


async def test_the_same_key_runs_once(shop, app):
    async with shop:
        first = await post(app, "open.cart", {"cart_id": "a"}, idempotency_key="k")
        again = await post(app, "open.cart", {"cart_id": "a"}, idempotency_key="k")
        other = await post(app, "open.cart", {"cart_id": "b"}, idempotency_key="k")
        assert again.json == {**first.json, "repeated": True}
        assert (other.status, other.json["type"]) == (409, "urn:trunkline:problem:key-reused")


async def test_every_refusal_is_a_problem_with_its_trace(shop, app):
    @shop.line.projector(ItemAdded)
    def fails(event):
        raise ValueError("a secret")

    async with shop:
        await post(app, "open.cart", {"cart_id": "a"})
        cases = [
            (await post(app, "open.cart", {"cart_id": "a"}), 409, "cart-open"),
            (await post(app, "open.cart", {"cart_id": 7}), 422, "invalid-command"),
            (await post(app, "open.cart", b"{"), 400, "bad-body"),
            (await post(app, "open.cart", {"cart_id": "c"}, user="blocked"), 403, "access-denied"),
            (await post(app, "open.cart", {"cart_id": "c"}, user=None), 401, "unauthenticated"),
            (await post(app, "no.such", {}), 404, "unknown-command"),
            (await post(app, "add.item", {"cart_id": "a", "item": "x"}), 500, "handler-failed"),
        ]
        for told, status, code in cases:
            assert (told.status, told.json["type"]) == (status, f"urn:trunkline:problem:{code}")
            assert told.headers["content-type"] == "application/problem+json"
            assert b"secret" not in told.body
        for told in (cases[0][0], cases[-1][0]):
            assert told.json["instance"].startswith("urn:trunkline:trace:")
        got = await call(app, "GET", "/api/commands/open.cart", headers=[("x-user", "u")])
        assert got.status == 405


async def test_what_is_exposed_is_described(shop, app):
    async with shop:
        told = await call(app, "GET", "/api/openapi.json")
        operation = told.json["paths"]["/api/commands/add.item"]["post"]
        assert operation["summary"] == "Put something into a cart"
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        found = told.json["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        assert found["required"] == ["cart_id", "item"]
        assert "/api/commands/open.cart" in told.json["paths"]


def test_exposing_without_saying_to_whom_is_refused(shop):
    with pytest.raises(ConfigError, match="access="):
        shop.line.expose(OpenCart)
    shop.line.expose(OpenCart, open=True)
    with pytest.raises(ConfigError, match="twice"):
        shop.line.expose(OpenCart, open=True)
