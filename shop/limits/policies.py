"""The policies, by name, and how much each tier has of them.

    default       every request of a client, over the whole API
    address       every request of an address and of all its sessions together
    write         writes of a client besides
    session       sessions that an address opens besides
    unknown_key   requests of an address with keys that nobody has, besides

The numbers are settings, for one RATE_LIMIT_PERIOD.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shop.config import Settings

# The setting with a policy's quota, by tier. What a tier does not have, it is not limited by.
QUOTAS = {
    "standard": {
        "default": "rate_limit_calls",
        "address": "address_limit_calls",
        "write": "write_limit_calls",
        "session": "session_limit_calls",
        "unknown_key": "unknown_key_limit_calls",
    },
    "partner": {
        "default": "partner_rate_limit_calls",
        "write": "partner_write_limit_calls",
    },
    "unlimited": {},
}
POLICIES = tuple(QUOTAS["standard"])

# What the record of an address has, also for requests that are sent with a session. The holder of
# a key has a record of its own alone, whatever address it comes from.
OF_ADDRESS = frozenset({"address", "session", "unknown_key"})
# What every request is charged to. A request costs the same in each.
GENERAL = frozenset({"default", "address"})


def quota(settings: Settings, policy: str, tier: str) -> int | None:
    """Return how much a client of a tier may use in a period; None is without limit."""
    setting = QUOTAS[tier].get(policy)
    return getattr(settings, setting) if setting else None
