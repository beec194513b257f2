"""How operators name a client whose record they mean."""

from __future__ import annotations

import re

from shop.client_address import address
from shop.config import current_settings

from . import record


def named(client: str) -> str:
    """Return the name of the record of an address, a key or a session.

    Raises ValueError for what is none of these.
    """
    client = client.removeprefix(record.PREFIX)
    if client == "unknown" or re.fullmatch("session:[0-9a-f]{16}", client):
        return client
    if key := re.fullmatch("(?:key:)?([0-9a-f]{12})", client):
        return f"key:{key[1]}"
    client_address = client.removesuffix("/64") if ":" in client else client
    found = address(client_address, current_settings().nat64_prefixes)
    if found == "unknown":
        raise ValueError(f"{client!a} is neither an address nor key:PREFIX or session:HASH")
    return found
