"""The address that a client is named by, also behind proxies."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from .transition import embedded_ipv4

if TYPE_CHECKING:
    from .config import Settings
    from .transition import Prefix

ADDRESS_LONGEST = 128  # characters, with brackets, zone, port and spaces
IPV6_SITE = 64  # bits: one customer of a provider has at least this network


class Way(NamedTuple):
    """What is known to stand between clients and the service."""

    proxies: int
    nat64: tuple[Prefix, ...]


def way_here(settings: Settings) -> Way:
    return Way(settings.trusted_proxies, settings.nat64_prefixes)


def client_address(peer: str, forwarded: str, way: Way) -> str:
    """Return the address that the outermost trusted proxy saw, else that of the peer.

    Each proxy appends one: the last ones of X-Forwarded-For are from those that are trusted.
    """
    if way.proxies:
        seen = forwarded.split(",")
        if way.proxies <= len(seen):
            return address(seen[-way.proxies], way.nat64)
    return address(peer, way.nat64)


def address(text: str, nat64: tuple[Prefix, ...] = ()) -> str:
    """Name a client by its address: IPv4 whole, IPv6 by /64, anything else `unknown`.

    An IPv6 address that stands for an IPv4 host is that of the host. Some proxies write [IPv6],
    and some add a port.
    """
    return _named(text, nat64) if len(text) <= ADDRESS_LONGEST else "unknown"


@lru_cache(maxsize=4096)
def _named(text: str, nat64: tuple[Prefix, ...] = ()) -> str:
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
