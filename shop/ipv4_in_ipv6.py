"""Find IPv4 addresses that IPv6 addresses embed, such as those of NAT64.

A translator shows each of its clients as an address of one small network. Without this module that
network would count as one client, and all clients of a translator would share a quota.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NamedTuple

LENGTHS = (32, 40, 48, 56, 64, 96)  # bits of a NAT64 prefix (RFC 6052, section 2.2)
OCTET_U = 64  # eight bits from here on are zero (the same section)
# The bits before an embedded address: compatible, mapped (RFC 4291, section 2.5.5), translated (RFC
# 2765, section 2.1).
EMBEDDING_PREFIXES = {0, 0xFFFF, 0xFFFF << 16}
SIX_TO_FOUR = 0x2002  # RFC 3056, section 2
TEREDO = 0x2001_0000  # RFC 4380, section 4
NO_HOST = IPv4Network("0.0.0.0/8")  # `::` and `::1` embed an address of it


class Nat64Prefix(NamedTuple):
    """A network of a NAT64 translator, cheap to compare and to hash."""

    network: int
    length: int


WELL_KNOWN = Nat64Prefix(int(IPv6Address("64:ff9b::")), 96)  # RFC 6052, section 2.1


def parse_prefixes(text: str) -> tuple[Nat64Prefix, ...]:
    """Return the NAT64 prefixes of a comma-separated list; none of an empty text.

    Raises ValueError with the first text that is no prefix.
    """
    return tuple(map(_prefix, text.split(","))) if text else ()


def _prefix(text: str) -> Nat64Prefix:
    text = text.strip()
    try:
        network = IPv6Network(text)
    except ValueError:
        raise ValueError(text) from None
    prefix = Nat64Prefix(int(network.network_address), network.prefixlen)
    if prefix.length not in LENGTHS or _octet_u(prefix.network):
        raise ValueError(text)
    return prefix


def embedded_ipv4(address: IPv6Address, nat64: tuple[Nat64Prefix, ...] = ()) -> IPv4Address | None:
    """Return the IPv4 address of the host that an IPv6 address embeds, if there is one.

    An address of ISATAP (RFC 5214) counts by its network: there the host itself chooses the bits,
    so it could take any number of quotas, and the quotas of others.
    """
    found = _within(int(address), nat64)
    if found is None or (host := IPv4Address(found)) in NO_HOST:
        return None
    return host


def _within(bits: int, nat64: tuple[Nat64Prefix, ...]) -> int | None:
    for prefix in (WELL_KNOWN, *nat64):
        if bits >> (128 - prefix.length) == prefix.network >> (128 - prefix.length):
            return _translated(bits, prefix.length)
    low = bits & 0xFFFFFFFF
    if bits >> 32 in EMBEDDING_PREFIXES:
        return low
    if bits >> 112 == SIX_TO_FOUR:
        return bits >> 80 & 0xFFFFFFFF
    if bits >> 96 == TEREDO:  # embeds the address inverted
        return low ^ 0xFFFFFFFF
    return None


def _translated(bits: int, length: int) -> int | None:
    """Return the 32 bits that follow a prefix, without octet u."""
    if length > OCTET_U:
        return bits & 0xFFFFFFFF
    if _octet_u(bits):
        return None
    without = bits >> 64 << 56 | bits & (1 << 56) - 1
    return without >> (120 - length - 32) & 0xFFFFFFFF


def _octet_u(bits: int) -> int:
    return bits >> (128 - OCTET_U - 8) & 0xFF
