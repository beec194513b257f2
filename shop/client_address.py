"""The client address of a request, also behind proxies, and its name in logs and limits."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from .ipv4_in_ipv6 import embedded_ipv4

if TYPE_CHECKING:
    from .config import Settings
    from .ipv4_in_ipv6 import Nat64Prefix

ADDRESS_LONGEST = 128  # characters, with brackets, zone, port and spaces
IPV6_SITE = 64  # bits of the network of one customer; a customer may have more networks


class NetworkPath(NamedTuple):
    """The proxies and the translators between clients and the service."""

    proxies: int
    nat64: tuple[Nat64Prefix, ...]


def network_path(settings: Settings) -> NetworkPath:
    return NetworkPath(settings.trusted_proxies, settings.nat64_prefixes)


def client_address(peer: str, forwarded: str, network: NetworkPath) -> str:
    """Return the address that the outermost trusted proxy saw, else that of the peer.

    Each proxy appends an address, so the trusted proxies have written the last ones.
    """
    if network.proxies:
        seen = forwarded.split(",")
        if network.proxies <= len(seen):
            return client_name(seen[-network.proxies], network.nat64)
    return client_name(peer, network.nat64)


def client_name(text: str, nat64: tuple[Nat64Prefix, ...] = ()) -> str:
    """Name a client by its address: IPv4 whole, IPv6 by /64, anything else `unknown`.

    An IPv6 address that embeds an IPv4 address counts as the IPv4 address. Some proxies write
    [IPv6], and some add a port.
    """
    return _named(text, nat64) if len(text) <= ADDRESS_LONGEST else "unknown"


@lru_cache(maxsize=4096)
def _named(text: str, nat64: tuple[Nat64Prefix, ...] = ()) -> str:
    found = re.fullmatch(r"\[(.+)\](?::\d+)?|([^:]+):\d+|(.+)", text.strip(' \t"'))
    try:
        ip = ipaddress.ip_address(next(filter(None, found.groups())) if found else "")
    except ValueError:
        return "unknown"
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if host := embedded_ipv4(ip, nat64):
        return str(host)
    return str(ipaddress.IPv6Network((int(ip), IPV6_SITE), strict=False))
