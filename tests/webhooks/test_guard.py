"""The egress guard: nothing that isn't public is connected to, and no answer hurts."""

from __future__ import annotations

import contextlib
import socket

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.webhooks.calling import (
    LOOPBACK,
    OK,
    STRICT,
    Names,
    named,
    ok,
    outlet_of,
    refused,
    says,
    send,
)
from tests.webhooks.receiving import raw_server
from trunkline.errors import ConfigError
from trunkline.webhooks.delivery_options import check_headers
from trunkline.webhooks.guard import BlockedError, Egress, GuardedConnector
from trunkline.webhooks.outlet import Call, Outlet

HOSTS = [
    "127.0.0.1",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "2130706433",
    "0177.0.0.1",
    "127.1",
    "0x7f.1",
    "0x7f000001",
    "127.0.0.1.",
    "１２７.0.0.1",
    "[::ffff:7f00:1]",
    "localhost",
    "0.0.0.0",
    "[::]",
    "10.0.0.1",
    "169.254.169.254",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[fec0::1]",
    "224.0.0.1",
]


@pytest.mark.parametrize("host", HOSTS)
async def test_no_spelling_of_an_inner_address_is_connected_to(host) -> None:
    async with raw_server(ok) as (port, peers), outlet_of(STRICT) as outlet:
        error = await refused(outlet, f"http://{host}:{port}/")

        assert error.outcome in {"blocked", "dns"}
        assert peers == []


@pytest.mark.parametrize(
    "url",
    [
        "http://user@127.0.0.1/",
        "https://user:pass@example.com/",
        "https://example.com/#fragment",
        "ftp://example.com/",
        "file:///etc/passwd",
        "https:///path",
        "//example.com/",
        "https://example.com:25/",
        "https://example.com:6379/",
        "https://example.com:99999/",
        "https://exa mple.com/",
        "https://example.com/\r\nHost: other",
        "https://example.com/" + "x" * 3000,
        "",
        "https://[::1",
    ],
)
def test_urls_that_no_receiver_needs_are_refused(url) -> None:
    with pytest.raises(BlockedError):
        Egress(http=True).check_url(url)


@given(st.text())
def test_any_text_is_a_url_or_a_clean_refusal(text) -> None:
    with contextlib.suppress(BlockedError):
        Egress().check_url(f"https://{text}")
    with contextlib.suppress(BlockedError):
        Egress().check_url(text)


def test_only_https_unless_http_is_allowed() -> None:
    with pytest.raises(BlockedError, match="https"):
        Egress().check_url("http://example.com/")
    Egress().check_url("https://example.com/hook?a=b")
    Egress(http=True).check_url("http://example.com/")


def test_ports_can_be_limited() -> None:
    only = Egress(ports=frozenset({443, 8443}))

    only.check_url("https://example.com:8443/")
    with pytest.raises(BlockedError, match="port"):
        only.check_url("https://example.com:9000/")


async def test_a_name_that_leads_inside_is_not_connected_to() -> None:
    async with raw_server(ok) as (port, peers), named(STRICT, Names(["127.0.0.1"])) as outlet:
        assert (await refused(outlet, f"http://rebind.test:{port}/")).outcome == "blocked"
        assert peers == []


async def test_if_any_address_of_a_name_is_inside_none_is_connected_to() -> None:
    allowed = Egress(http=True, networks=("127.0.0.1/32",))
    names = Names(["127.0.0.1", "10.0.0.1"])
    async with raw_server(ok) as (port, peers), named(allowed, names) as outlet:
        assert (await refused(outlet, f"http://mixed.test:{port}/")).outcome == "blocked"
        assert peers == []


async def test_a_name_that_changes_its_address_is_checked_anew() -> None:
    only = Egress(http=True, networks=("127.0.0.1/32",))
    names = Names(["127.0.0.1"], ["127.0.0.2"])

    async def once(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await says(writer, OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

    async with raw_server(once) as (port, peers), named(only, names) as outlet:
        url = f"http://rebind.test:{port}/"
        assert (await send(outlet, url)).status == 200
        assert (await refused(outlet, url)).outcome == "blocked"
        assert names.asked == 2
        assert len(peers) == 1


async def test_the_socket_that_connects_is_checked_even_if_the_lookup_was_not() -> None:
    connector = GuardedConnector(STRICT)
    connector._resolver._egress = LOOPBACK  # a lookup that lets everything pass
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        raw_server(ok) as (port, peers),
        outlet_of(STRICT, session=session) as outlet,
    ):
        assert (await refused(outlet, f"http://localhost:{port}/")).outcome == "blocked"
        assert peers == []


async def test_a_blocked_address_looks_the_same_whether_somebody_listens_or_not() -> None:
    async with raw_server(ok) as (port, _), outlet_of(STRICT) as outlet:
        listening = await refused(outlet, f"http://127.0.0.1:{port}/")
        closed = await refused(outlet, "http://127.0.0.1:9/")
        closed_too = await refused(outlet, "http://127.0.0.1:2/")

    assert str(listening) in {str(closed), str(closed_too)} or "public" in str(listening)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        unused = probe.getsockname()[1]
        async with outlet_of(LOOPBACK) as outlet:
            error = await refused(outlet, f"http://127.0.0.1:{unused}/")
    assert (error.outcome, str(error)) == ("refused", "could not connect")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(status) -> None:
    async with raw_server(ok) as (inner, inner_peers):

        async def redirects(reader, writer) -> None:
            await reader.readuntil(b"\r\n\r\n")
            place = f"http://127.0.0.1:{inner}/latest/meta-data/"
            head = f"HTTP/1.1 {status} X\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n"
            await says(writer, head.encode())

        async with raw_server(redirects) as (port, _), outlet_of() as outlet:
            assert (await send(outlet, f"http://127.0.0.1:{port}/")).status == status
        assert inner_peers == []


async def test_proxy_variables_are_ignored(monkeypatch) -> None:
    async with raw_server(ok) as (proxy, proxied), raw_server(ok) as (port, peers):
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy}")
        async with outlet_of() as outlet:
            assert (await send(outlet, f"http://127.0.0.1:{port}/")).status == 200
        assert (len(proxied), len(peers)) == (0, 1)


async def test_a_session_that_trusts_proxies_goes_nowhere(monkeypatch) -> None:
    async with raw_server(ok) as (proxy, proxied):
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy}")
        connector = GuardedConnector(LOOPBACK)
        async with (
            aiohttp.ClientSession(connector=connector, trust_env=True) as session,
            outlet_of(session=session) as outlet,
        ):
            error = await refused(outlet, "http://example.com/")
        assert error.outcome == "blocked"
        assert proxied == []


async def test_a_session_without_the_guard_is_refused() -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(BlockedError, match="GuardedConnector"):
            Outlet(LOOPBACK, session=session)


async def test_a_given_session_is_guarded_where_it_follows_redirects_by_itself() -> None:
    async def redirects(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 302 X\r\nLocation: http://127.0.0.2:1/\r\nContent-Length: 0\r\n\r\n"
        await says(writer, head)

    only = Egress(http=True, networks=("127.0.0.1/32",))
    async with (
        raw_server(redirects) as (port, _),
        aiohttp.ClientSession(connector=GuardedConnector(only)) as session,
    ):
        with pytest.raises(BlockedError):
            await session.get(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "content-length",
        "Transfer-Encoding",
        "Connection",
        "Expect",
        "Upgrade",
        "TE",
        "Trailer",
        "webhook-id",
        "ce-type",
        "Content-Type",
        "X-Demux-Signature",
    ],
)
def test_headers_of_the_sender_can_not_be_set_by_others(name) -> None:
    with pytest.raises(ConfigError):
        check_headers({name: "x"})


@pytest.mark.parametrize(
    "pair", [("X", "a\r\nb"), ("X\n", "a"), ("X", "a\0"), ("", "a"), ("X:", "")]
)
def test_headers_can_not_be_smuggled_into(pair) -> None:
    with pytest.raises(ConfigError):
        check_headers(dict([pair]))


async def test_a_hook_can_not_set_the_senders_headers_either() -> None:
    async def hook(call, send):
        return await send(Call(purpose=call.purpose, url=call.url, headers={"Host": "inner"}))

    async with raw_server(ok) as (port, peers), outlet_of(hook=hook) as outlet:
        error = await refused(outlet, f"http://127.0.0.1:{port}/")

    assert error.outcome == "blocked"
    assert peers == []


async def test_time_is_split_into_its_parts() -> None:
    async with raw_server(ok) as (port, _), named(LOOPBACK, Names(["127.0.0.1"])) as outlet:
        timing = (await send(outlet, f"http://name.test:{port}/")).timing

    assert 0 < timing.connect <= timing.total
    assert 0 < timing.first_byte <= timing.total
    assert timing.names >= 0


@pytest.mark.parametrize("url", ["https://api.example.com/hook", "https://API.example.com.:444/"])
def test_a_loop_through_this_application_itself_is_refused(url) -> None:
    egress = Egress(own=("api.example.com",))
    with pytest.raises(BlockedError, match="leads back to this application"):
        egress.check_url(url)
    egress.check_url("https://receiver.example.com/hook")
