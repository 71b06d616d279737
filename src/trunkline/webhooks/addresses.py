"""Which addresses a stranger's URL may lead to: a frozen list of those that are not public.

From the IANA special-purpose address registries (RFC 6890, RFC 8190, RFC 9637). The standard
library's ``is_global`` is not asked: its list changes between versions, and takes several ways
around for public, such as NAT64, 6to4 and ``fec0::``.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

from trunkline.errors import ConfigError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_BLOCKED_4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)
#: The only part of IPv6 that is given out as public, and what in it is not.
_PUBLIC_6: Final = IPv6Network("2000::/3")
_BLOCKED_6: Final = tuple(
    map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
)
#: A network's translator to IPv4 (RFC 6052): what counts is the address it leads to.
_NAT64: Final = IPv6Network("64:ff9b::/96")
#: Azure's address of its host is a public one.
_HOSTS: Final = frozenset({IPv4Address("168.63.129.16")})


def read_address(text: str) -> Address:
    """Read an address as the system tells it.

    Raises:
        ValueError: It is none.
    """
    return ip_address(text)


def is_public(address: Address) -> bool:
    """Tell whether anybody on the internet has this address; what is embedded counts too."""
    if isinstance(address, IPv4Address):
        return address not in _HOSTS and not any(address in one for one in _BLOCKED_4)
    if address.scope_id is not None:
        return False
    inner = address.ipv4_mapped
    if inner is None and address in _NAT64:
        inner = IPv4Address(int(address) & 0xFFFFFFFF)
    if inner is not None:
        return is_public(inner)
    return address in _PUBLIC_6 and not any(address in one for one in _BLOCKED_6)


def read_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Read networks such as ``10.0.0.0/8``, or single addresses.

    Raises:
        ConfigError: One is neither.
    """
    try:
        return tuple(ip_network(text) for text in texts)
    except ValueError as error:
        raise ConfigError(f"allow-list: {error}; write it as 10.1.0.0/16") from error


def is_within(address: Address, networks: Iterable[Network]) -> bool:
    """Tell whether an address, or the IPv4 one it stands for, is in one of the networks."""
    inner = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    found = (address,) if inner is None else (address, inner)
    return any(
        one.version == network.version and one in network for network in networks for one in found
    )
