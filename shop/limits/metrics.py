"""The metrics of the limits."""

from __future__ import annotations

from shop.prometheus import Counter, Gauge

REQUESTS = Counter(
    "shop_rate_limit_requests",
    "Requests by policy: allowed, refused, or would_refuse (RATE_LIMIT_MODE=shadow).",
    ["policy", "result"],
)
FALLBACK = Gauge(
    "shop_rate_limit_fallback",
    "Workers that count for themselves now, because Redis did not count.",
    multiprocess_mode="livesum",
)
