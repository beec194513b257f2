"""Who sent the request."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import lru_cache

from flask import g, request

IPV6_SITE = 64  # bits: one customer of a provider has at least this network


@dataclass(frozen=True)
class Caller:
    """A client, as logs and limits name it, and what it may do."""

    client: str
    scopes: frozenset[str] = frozenset()
    authenticated: bool = False
    unlimited: bool = False


def caller() -> Caller:
    """Return the request's caller; before it is identified, its address."""
    found: Caller = g.get("caller") or Caller(address(request.remote_addr))
    return found


@lru_cache(maxsize=4096)
def address(text: str | None) -> str:
    """Name a client by its address: IPv4 whole, IPv6 by /64, anything else `unknown`."""
    try:
        ip = ipaddress.ip_address(text or "")
    except ValueError:
        return "unknown"
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip.ipv4_mapped:
        return str(ip.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(ip), IPV6_SITE), strict=False))
