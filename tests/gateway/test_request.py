"""A request is read the same whatever the server and the mount make of its scope."""

from __future__ import annotations

import pytest

from tests.gateway.edge import scope_of
from trunkline.errors import LimitExceededError, UsageError
from trunkline.gateway.request import ClientGoneError, Request


async def nothing():
    raise AssertionError


def request_of(path="/", *, base_path="", **more):
    return Request(scope_of("GET", path, **more), nothing, base_path=base_path)


@pytest.mark.parametrize(
    ("path", "root", "base", "ours", "below"),
    [
        ("/sse", "", "", True, "/sse"),
        ("/events/sse", "", "/events", True, "/sse"),
        ("/events", "", "/events", True, "/"),
        ("/eventsource", "", "/events", False, "/eventsource"),
        ("/app/events/sse", "/app", "/events", True, "/sse"),
        ("/events/sse", "/app", "/events", True, "/sse"),
        ("/app", "/app", "", True, "/"),
        ("/apple", "/app", "", True, "/apple"),
    ],
)
def test_the_path_lies_below_the_mount_and_the_base_path(path, root, base, ours, below):
    request = request_of(path, base_path=base, root_path=root)
    assert (request.is_ours, request.path) == (ours, below)


def test_headers_are_found_in_lower_case_and_joined():
    request = request_of(headers=[("X-One", "a"), ("x-one", "b"), ("Authorization", "bearer  t ")])
    assert request.header("x-one") == "a, b"
    assert request.bearer == "t"
    assert request_of(headers=[("authorization", "Basic abc")]).bearer is None


def test_cookies_and_query_are_read():
    request = request_of(headers=[("cookie", 'a=1; b="2"; a=3; junk')], query=b"x=1&x=%C3%A9&y=")
    assert request.cookies == {"a": "1", "b": "2"}
    assert request.query == {"x": ["1", "é"], "y": [""]}


def test_a_query_that_is_no_text_is_the_clients_fault():
    with pytest.raises(UsageError):
        _ = request_of(query=b"\xff=1").query
    with pytest.raises(UsageError):
        _ = request_of(query=b"x=%ff").query


def feeding(events):
    feed = iter(events)

    async def receive():
        return next(feed)

    return receive


async def test_a_body_comes_in_parts():
    parts = [
        {"type": "http.request", "body": b"ab", "more_body": True},
        {"type": "http.request", "body": b"c"},
    ]
    assert await Request(scope_of("POST", "/"), feeding(parts)).body(3) == b"abc"
    with pytest.raises(LimitExceededError) as caught:
        await Request(scope_of("POST", "/"), feeding(parts)).body(2)
    assert caught.value.status == 413


async def test_a_declared_length_over_the_limit_is_refused_unread():
    scope = scope_of("POST", "/", headers=[("content-length", "9" * 30)])
    with pytest.raises(LimitExceededError):
        await Request(scope, nothing).body(100)


async def test_a_client_that_leaves_is_told_apart():
    with pytest.raises(ClientGoneError):
        await Request(scope_of("POST", "/"), feeding([{"type": "http.disconnect"}])).body(9)


async def test_a_body_that_never_ends_is_given_up():
    import anyio

    with pytest.raises(LimitExceededError) as caught:
        await Request(scope_of("POST", "/"), anyio.sleep_forever).body(9, timeout=0.01)
    assert caught.value.status == 408
