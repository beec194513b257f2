"""What is counted of the limits, for `/metrics`."""

from __future__ import annotations

from shop.prometheus import Counter

REQUESTS = Counter(
    "shop_rate_limit_requests",
    "Requests by policy: allowed, refused, or would_refuse (RATE_LIMIT_MODE=shadow).",
    ["policy", "result"],
)
