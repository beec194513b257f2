"""The names that operators give a client, and the name of its record."""

from __future__ import annotations

import re

from shop.client_address import client_name
from shop.config import current_settings

from . import records


def record_name(client: str) -> str:
    """Return the record's name for a client address, a key or a session.

    Raises ValueError for any other text.
    """
    client = client.removeprefix(records.PREFIX)
    if client == "unknown" or re.fullmatch("session:[0-9a-f]{16}", client):
        return client
    if key := re.fullmatch("(?:key:)?([0-9a-f]{12})", client):
        return f"key:{key[1]}"
    client_address = client.removesuffix("/64") if ":" in client else client
    found = client_name(client_address, current_settings().nat64_prefixes)
    if found == "unknown":
        raise ValueError(f"{client!a} is neither an address nor key:PREFIX or session:HASH")
    return found
