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

# The setting with a policy's quota, by tier. A tier is not limited by a policy that it lacks.
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

# Policies in the record of a client address, also for requests with a session. The holder of a key
# has only its own record, whatever address it comes from.
OF_ADDRESS = frozenset({"address", "session", "unknown_key"})
# Policies that every request is charged to. A request costs the same in each.
GENERAL = frozenset({"default", "address"})


def quota(settings: Settings, policy: str, tier: str) -> int | None:
    """Return the quota of a policy for a tier; None is without limit."""
    setting = QUOTAS[tier].get(policy)
    return getattr(settings, setting) if setting else None
