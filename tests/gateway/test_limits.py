"""Every limit is kept, bounded itself, and says which one it is."""

from __future__ import annotations

import pytest

from tests.gateway.edge import ManualClock, a_line, call, code_of, scope_of
from trunkline.errors import LimitExceededError
from trunkline.gateway import limits
from trunkline.gateway.limits import ConnectionLimits, RateLimiter, check_size, client_key
from trunkline.gateway.options import GatewayOptions
from trunkline.gateway.request import Request
from trunkline.model.identity import Identity


def test_a_bucket_empties_at_once_and_fills_steadily():
    clock = ManualClock()
    limiter = RateLimiter(GatewayOptions(requests_per_second=2, burst=3), clock)
    for _ in range(3):
        limiter.check("a")
    with pytest.raises(LimitExceededError) as caught:
        limiter.check("a")
    assert (caught.value.limit, caught.value.retry_after) == ("requests_per_second", 0.5)
    limiter.check("b")
    clock.time += 0.5
    limiter.check("a")
    with pytest.raises(LimitExceededError):
        limiter.check("a")
    clock.time += 1000
    for _ in range(3):
        limiter.check("a")
    with pytest.raises(LimitExceededError):
        limiter.check("a")


def test_without_a_rate_nothing_is_counted_and_the_setting_holds_at_once():
    options = GatewayOptions(burst=1)
    limiter = RateLimiter(options, ManualClock())
    for _ in range(100):
        limiter.check("a")
    options.requests_per_second = 1.0
    limiter.check("a")
    with pytest.raises(LimitExceededError):
        limiter.check("a")


def test_the_table_of_buckets_is_bounded(monkeypatch):
    monkeypatch.setattr(limits, "BUCKETS_KEPT", 10)
    limiter = RateLimiter(GatewayOptions(requests_per_second=1, burst=1), ManualClock())
    for number in range(50):
        limiter.check(f"address:{number}")
    assert len(limiter._buckets) == 10
    with pytest.raises(LimitExceededError):
        limiter.check("address:49")


def test_connections_are_counted_in_all_and_per_client():
    options = GatewayOptions(max_connections=3, max_connections_per_client=2)
    held = ConnectionLimits(options)
    held.enter("a")
    held.enter("a")
    with pytest.raises(LimitExceededError, match="max_connections_per_client"):
        held.enter("a")
    held.enter("b")
    with pytest.raises(LimitExceededError, match="max_connections=3") as caught:
        held.enter("c")
    assert caught.value.status == 429
    assert caught.value.retry_after > 0
    held.leave("a")
    held.leave("nobody")
    assert held.total == 2
    held.enter("c")


def test_a_user_counts_by_name_and_a_stranger_by_address():
    assert client_key(Identity(), "192.0.2.1") == "address:192.0.2.1"
    one = client_key(Identity(user_id="1"), "192.0.2.1")
    assert one == client_key(Identity(user_id="1"), "192.0.2.2")
    assert one != client_key(Identity(user_id=1), "192.0.2.1")
    assert one != client_key(Identity(user_id="1", site_id="x"), "192.0.2.1")


def test_a_head_over_the_limits_says_which():
    options = GatewayOptions(max_header_bytes=1024, max_query_bytes=256)
    check_size(Request(scope_of("GET", "/", query=b"x" * 256), None), options)
    for scope, status in (
        (scope_of("GET", "/", headers=[("x", "y" * 1100)]), 431),
        (scope_of("GET", "/", query=b"x" * 257), 414),
    ):
        with pytest.raises(LimitExceededError) as caught:
            check_size(Request(scope, None), options)
        assert caught.value.status == status


async def test_a_met_limit_is_a_problem_with_its_name_and_value():
    async with a_line() as line:
        options = GatewayOptions(
            max_query_bytes=256, publish_keys=("key-number-1",), requests_per_second=1, burst=1
        )
        app = line.gateway(options=options)
        told = await call(app, "GET", "/api/openapi.json", query=b"x" * 300)
        assert (told.status, code_of(told)) == (414, "limit-exceeded")
        assert (told.json["limit"], told.json["allowed"]) == ("max_query_bytes", 256)
        for _ in range(2):
            told = await call(app, "POST", "/api/publish", headers=[("authorization", "Bearer x")])
        assert told.status == 429
        assert int(told.headers["retry-after"]) >= 1
