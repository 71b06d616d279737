"""The list of addresses that are not public is frozen, and sees through what embeds another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.errors import ConfigError
from trunkline.webhooks.addresses import is_public, is_within, read_address, read_networks

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.1",
    "172.15.0.1",
    "172.32.0.1",
    "192.167.1.1",
    "223.255.255.255",
    "11.0.0.1",
    "2606:4700::1111",
    "2a00:1450::1",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2400:cb00::1",
]

BLOCKED = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "169.254.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "224.0.1.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "168.63.129.16",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "64:ff9b:1:0:0:0:808:808",
    "100::1",
    "2001::1",
    "2001:0:53aa:64c::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "4000::1",
]


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_pass(text) -> None:
    assert is_public(read_address(text))


@pytest.mark.parametrize("text", BLOCKED)
def test_others_do_not(text) -> None:
    assert not is_public(read_address(text))


@given(st.ip_addresses(v=4))
def test_an_embedded_address_is_as_public_as_it_is_by_itself(inner) -> None:
    expected = is_public(inner)

    assert is_public(read_address(f"::ffff:{inner}")) is expected
    assert is_public(read_address(f"64:ff9b::{inner}")) is expected
    if inner.is_private or inner.is_multicast or inner.is_loopback or inner.is_link_local:
        assert not expected or str(inner).startswith("192.0.0.")


def test_an_allow_list_sees_mapped_addresses_too() -> None:
    networks = read_networks(["10.1.0.0/16", "fd00::/8"])

    assert is_within(read_address("10.1.2.3"), networks)
    assert is_within(read_address("::ffff:10.1.2.3"), networks)
    assert is_within(read_address("fd00::7"), networks)
    assert not is_within(read_address("10.2.0.1"), networks)


def test_an_allow_list_that_makes_no_sense_is_told() -> None:
    with pytest.raises(ConfigError, match=r"10\.1\.0\.0/16"):
        read_networks(["10.1.2.3/16"])
