"""Reports: best sellers, trending products, and the dashboard.

Best sellers and the dashboard have the numbers of the time `as_of`, and are kept for their time to
live: no sale forgets them. The products in a report are the present ones.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import func, select

from shop.config import BEST_SELLERS_PAGE_SIZE
from shop.extensions import cache, db
from shop.fields import instant
from shop.money import rounded_amount
from shop.orders import leaderboard
from shop.orders.models import SOLD_STATUSES, STATUSES, Order, OrderLine
from shop.pages import dump
from shop.products import service as products
from shop.products.models import Product

from .schemas import PERIODS, DashboardStatsSchema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import ColumnElement

REPORT_MAX = 10_000  # products in the report of all orders
SPARE_FACTOR = 2  # times the limit is read, because some products may be inactive now

dashboard_schema = DashboardStatsSchema()


def best_sellers(period: str, limit: int) -> bytes:
    """Return the products of which most units were sold, in paid orders of a period.

    A product that is inactive now is left out.
    """
    report = orjson.loads(top_selling(limit) if period == "all" else top_selling_in(period, limit))
    sales = dict(report["sales"])
    items = [
        {"units_sold": sales[product["id"]], "product": product}
        for product in _public_products(list(sales))
    ]
    return dump({"period": period, "as_of": report["as_of"], "items": items})


def _public_products(product_ids: list[int]) -> Iterator[dict[str, Any]]:
    return map(orjson.loads, products.public_documents(product_ids))


@cache.memoize(key="products:top_selling:limit:{limit}", ttl="best_sellers_cache_ttl", tables=[])
def top_selling(limit: int) -> bytes:
    return _first_sales(units_sold("all"), limit)


@cache.memoize(
    key="products:top_selling:period:{length}:limit:{limit}",
    ttl="best_sellers_cache_ttl",
    tables=[],
)
def top_selling_in(length: str, limit: int) -> bytes:
    return _first_sales(units_sold(length), limit)


def _first_sales(report: bytes, limit: int) -> bytes:
    whole = orjson.loads(report)
    sales = zip(whole["ids"][:limit], whole["units"][:limit], strict=True)
    return dump({"as_of": whole["as_of"], "sales": list(sales)})


@cache.memoize(key="products:sales:{period}", ttl="redis_cache_ttl", tables=[])
def units_sold(period: str) -> bytes:
    """Return the longest list of a period; shorter ones are its beginning.

    So requests for many lengths add up all orders once. Products are also sorted by the list of all
    orders, which has many thousand products. It is two lists of numbers, because Python's garbage
    collector would visit a pair for each product.
    """
    now = datetime.now(UTC)
    units = func.sum(OrderLine.quantity).label("units")
    sold = (
        select(OrderLine.product_id, units)
        .where(_is_sold(now, PERIODS[period]))
        .group_by(OrderLine.product_id)
        .subquery()
    )
    statement = (
        select(sold)
        .join(Product, Product.id == sold.c.product_id)
        .where(Product.active)
        .order_by(sold.c.units.desc(), sold.c.product_id)
        .limit(REPORT_MAX if period == "all" else BEST_SELLERS_PAGE_SIZE[1])
    )
    rows = db.session.execute(statement).all()
    ids, sold_units = ([row[at] for row in rows] for at in (0, 1))
    return dump({"as_of": instant(now), "ids": ids, "units": sold_units})


def _is_sold(now: datetime, days: int | None) -> ColumnElement[bool]:
    """Return the condition that a line's order is paid, within the last days if given.

    Of all orders, fewer are not sold: without `days`, the condition excludes these.
    """
    its_order = select(Order).where(Order.id == OrderLine.order_id)
    if days is None:
        return ~its_order.where(Order.status.not_in(SOLD_STATUSES)).exists()
    recent = Order.paid_at >= now - timedelta(days=days)
    return its_order.where(Order.status.in_(SOLD_STATUSES), recent).exists()


def trending(limit: int) -> bytes:
    """Return the products that sell best now."""
    scores = dict(leaderboard.top(SPARE_FACTOR * limit))
    items = [
        {"score": round(scores[product["id"]], 3), "product": product}
        for product in _public_products(list(scores))
    ]
    return dump({"items": items[:limit]})


@cache.memoize(key="stats:dashboard", ttl="dashboard_cache_ttl", tables=[])
def dashboard() -> bytes:
    """Return the numbers of products and orders, and the revenue."""
    now = datetime.now(UTC)
    report = {
        "as_of": now,
        "products": _product_counts(),
        "orders": dict.fromkeys(STATUSES, 0) | _orders_by_status(),
        "revenue": _revenue(),
    }
    return dump(dashboard_schema.dump(report))


def _product_counts() -> dict[str, int]:
    active = func.count().filter(Product.active)
    out_of_stock = func.count().filter(Product.active, Product.stock == 0)
    row = db.session.execute(select(func.count(), active, out_of_stock).select_from(Product)).one()
    return dict(zip(("total", "active", "out_of_stock"), row, strict=True))


def _orders_by_status() -> dict[str, int]:
    counts = select(Order.status, func.count().label("orders")).group_by(Order.status)
    return {row.status: row.orders for row in db.session.execute(counts)}


def _revenue(*conditions: ColumnElement[bool]) -> list[dict[str, Any]]:
    statement = (
        select(
            Order.currency.label("currency"),
            func.count().label("orders"),
            func.sum(Order.total).label("revenue"),
        )
        .where(Order.status.in_(SOLD_STATUSES), *conditions)
        .group_by(Order.currency)
        .order_by(Order.currency)
    )
    return [
        {**row, "average_order": rounded_amount(row["revenue"] / row["orders"], row["currency"])}
        for row in db.session.execute(statement).mappings()
    ]


def sales_since(begin: datetime) -> dict[str, Any]:
    """Return the orders placed since a time, those of them that were cancelled, and the payments.

    Each is found by an index. Not for requests of customers: a day has many orders.
    """
    cancelled = func.count().filter(Order.status == "cancelled")
    placed = select(func.count(), cancelled).where(Order.created_at >= begin)
    row = db.session.execute(placed).one()
    revenue = _revenue(Order.paid_at >= begin)
    return {
        "since": begin,
        "placed": row[0],
        "cancelled": row[1],
        "paid": sum(one["orders"] for one in revenue),
        "revenue": [{"currency": one["currency"], "amount": one["revenue"]} for one in revenue],
    }
