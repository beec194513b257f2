"""The metrics of orders."""

from __future__ import annotations

from shop.prometheus import Counter, Gauge

ORDERS = Counter(
    "shop_orders", "Orders placed, and what became of them: paid, expired, and so on.", ["event"]
)
REVENUE = Counter("shop_revenue", "Totals of the orders that were paid.", ["currency"])
REFUSED_LINES = Counter(
    "shop_order_refused_lines",
    "Lines that an order was refused for: unknown, inactive, stock, currency.",
    ["reason"],
)
CONFLICTS = Counter(
    "shop_order_conflicts", "Transitions that an order's status did not allow.", ["action"]
)
OVER_CAP = Counter(
    "shop_checkouts_over_cap",
    "Checkouts refused because the session or the address has too many open orders.",
    ["cap"],
)
OVERDUE = Gauge(
    "shop_orders_overdue",
    "Orders that were not paid in time and are still to be cancelled.",
    multiprocess_mode="mostrecent",
)
