"""Nothing cross-origin unless allowed; what is allowed gets what browsers ask for."""

from __future__ import annotations

import pytest

from tests.gateway.edge import a_line, call, code_of, scope_of
from trunkline.gateway.options import GatewayOptions
from trunkline.gateway.origins import OriginRefusedError, Origins
from trunkline.gateway.request import Request

APP = "https://app.example.com"


def request(*headers, method="GET"):
    return Request(scope_of(method, "/sse", headers=headers), None)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("host", "a.example")],
        [("host", "a.example"), ("origin", "http://a.example")],
        [("host", "a.example:443"), ("origin", "https://A.example")],
        [("host", "localhost:8000"), ("origin", "http://localhost:8000")],
        [("host", "backend:1"), ("origin", APP), ("sec-fetch-site", "same-origin")],
    ],
)
def test_our_own_pages_and_programs_may(headers):
    origins = Origins(GatewayOptions())
    origins.check(request(*headers))
    assert origins.headers(request(*headers)) == []


@pytest.mark.parametrize(
    "headers",
    [
        [("host", "a.example"), ("origin", "http://b.example")],
        [("host", "a.example"), ("origin", "http://a.example:8080")],
        [("host", "a.example"), ("origin", "null")],
        [("host", "a.example"), ("origin", "")],
        [("host", "a.example"), ("origin", "http://[bad")],
        [("host", "a.example"), ("origin", "http://a.example:99999999")],
        [("host", "a.example"), ("origin", APP), ("sec-fetch-site", "cross-site")],
        [("origin", APP)],
    ],
)
def test_foreign_pages_may_not(headers):
    with pytest.raises(OriginRefusedError, match="allowed_origins"):
        Origins(GatewayOptions()).check(request(*headers))


@pytest.mark.parametrize(
    ("allowed", "origin", "passes"),
    [
        (APP, APP, True),
        (APP, "https://APP.example.com", True),
        (APP, "http://app.example.com", False),
        (APP, "https://app.example.com.evil", False),
        ("https://*.example.com", APP, True),
        ("https://*.example.com", "https://example.com", False),
        ("https://*.example.com", "https://evilexample.com", False),
        ("https://*.example.com", "http://app.example.com", False),
        ("*", "https://any.where", True),
    ],
)
def test_the_setting_decides_about_others(allowed, origin, passes):
    assert Origins(GatewayOptions(allowed_origins=(allowed,))).allows(origin) is passes


async def test_a_preflight_allows_what_clients_send():
    async with a_line() as line:
        app = line.gateway(options=GatewayOptions(allowed_origins=(APP,), cors_max_age=60))
        asked = [
            ("origin", APP),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "x-csrf, content-type, bad name"),
        ]
        told = await call(app, "OPTIONS", "/api/publish", headers=asked)
        assert told.status == 204
        assert told.headers["access-control-allow-origin"] == APP
        assert told.headers["access-control-allow-credentials"] == "true"
        assert told.headers["access-control-max-age"] == "60"
        allowed = told.headers["access-control-allow-headers"].split(", ")
        assert {"X-SILENCE-LOGGER", "Dont-Chunk", "Last-Event-ID", "X-Trunkline-Gaps"} <= {*allowed}
        assert "x-csrf" in allowed
        assert "bad name" not in allowed
        assert told.headers["vary"] == "Origin"


async def test_any_origin_gets_no_cookies():
    async with a_line() as line:
        app = line.gateway(options=GatewayOptions(allowed_origins=("*",)))
        told = await call(app, "GET", "/api/openapi.json", headers=[("origin", APP)])
        assert told.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in told.headers


async def test_a_refused_page_learns_why_and_a_preflight_allows_nothing():
    async with a_line() as line:
        app = line.gateway()
        told = await call(app, "GET", "/api/openapi.json", headers=[("origin", APP)])
        assert (told.status, code_of(told)) == (403, "origin-not-allowed")
        told = await call(app, "OPTIONS", "/api/publish", headers=[("origin", APP)])
        assert not [name for name in told.headers if name.startswith("access-control")]
