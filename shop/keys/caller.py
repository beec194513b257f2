"""Who sent the request."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from flask import request

from shop.config import current_settings
from shop.facts import facts
from shop.transition import embedded_ipv4

if TYPE_CHECKING:
    from shop.config import Settings
    from shop.transition import Prefix

ADDRESS_LONGEST = 128  # characters, with brackets, zone, port and spaces
IPV6_SITE = 64  # bits: one customer of a provider has at least this network


@dataclass(frozen=True)
class Caller:
    """A client, as logs and limits name it, and what it may do."""

    client: str
    address: str | None = None  # None: the holder of a key, whatever address it comes from
    scopes: frozenset[str] = frozenset()
    authenticated: bool = False
    tier: str = "standard"
    sent_unknown_key: bool = False
    session_id: int | None = None


def caller() -> Caller:
    """Return the request's caller; without a valid key, its address."""
    known = facts()
    if known.caller is None:
        known.caller = of_address()
    return known.caller


def session_id() -> int:
    """Return the id of the caller's session, on a route that requires one."""
    found = caller().session_id
    assert found is not None  # noqa: S101  (require_session has seen to it)
    return found


def of_address(*, sent_unknown_key: bool = False) -> Caller:
    """Return the caller of a request that no key and no session names: its address."""
    client = request_address()
    return Caller(client, client, sent_unknown_key=sent_unknown_key)


def request_address() -> str:
    """Return the client address of the request, whoever its caller is."""
    forwarded = request.headers.get("X-Forwarded-For", "")
    return client_address(request.remote_addr or "", forwarded, way_here(current_settings()))


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
