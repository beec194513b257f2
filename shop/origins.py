"""Parse origins in the form in which browsers send them (RFC 6454, section 6.2)."""

from __future__ import annotations

import ipaddress
import re

ANY_ORIGIN = "*"
DEFAULT_PORTS = {"http": "80", "https": "443"}
ORIGIN = re.compile(r"(https?)://(?:\[([0-9a-f:.]+)\]|([a-z0-9_.-]{1,253}))(?::([1-9][0-9]{0,4}))?")
LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
PORT_MAX = 65_535


def parse_origins(text: str) -> tuple[str, ...]:
    """Return the origins of a comma-separated list, or `*` alone; none of an empty text.

    Raises ValueError with the first origin in another form, which no browser would send.
    """
    if text in {"", ANY_ORIGIN}:
        return (text,) if text else ()
    origins = tuple(part.strip() for part in text.split(","))
    for origin in origins:
        if not _is_origin(origin):
            raise ValueError(origin)
    return origins


def _is_origin(text: str) -> bool:
    parts = ORIGIN.fullmatch(text)
    if not parts:
        return False
    scheme, ipv6, name, port = parts.groups()
    if port and (port == DEFAULT_PORTS[scheme] or int(port) > PORT_MAX):
        return False
    return _is_address(ipv6, 6) if ipv6 else _is_host(name)


def _is_host(name: str) -> bool:
    labels = name.split(".")
    if labels[-1].isdigit():
        return _is_address(name, 4)
    return all(map(LABEL.fullmatch, labels))


def _is_address(text: str, version: int) -> bool:
    """Return whether a text is an IP address in its usual form: not 127.1, not 0:0::1."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return address.version == version and str(address) == text
