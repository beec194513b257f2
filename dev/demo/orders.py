"""The demo history of orders, in the database."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import click
from sqlalchemy import func, insert, select, text

from shop.extensions import db
from shop.orders.models import STATUSES, Order
from shop.products.models import Product

from .history import Item, past_orders, shelves

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .history import PastOrder, Shelf

BATCH = 2000  # orders
SOLD_MAX = 100_000  # products that orders are of: they are kept in memory


def insert_orders(count: int, number: int) -> int:
    """Add `count` orders of the products that are there, and return how many lines they have.

    Within a transaction, and without taking from the stock: that is what is left of it. Raises
    ClickException where nothing is sold.
    """
    lines = 0
    now = db.session.scalars(select(func.now())).one()  # later orders are later by this clock
    made = past_orders(_shelves(number), count, number, now)
    with click.progressbar(length=count, label="orders") as bar:
        while batch := list(islice(made, BATCH)):
            lines += _insert_some(batch)
            bar.update(len(batch))
    # The planner must not take these tables for the small ones that they were.
    db.session.execute(text("ANALYZE categories, products, orders, order_lines"))
    return lines


def _shelves(number: int) -> list[Shelf]:
    """Return what is sold, in an order of popularity that is the same for the same number."""
    shuffled = func.md5(func.concat(number, ":", Product.id))
    statement = (
        select(
            *(Product.id, Product.sku, Product.name, Product.price),
            *(Product.currency, Product.created_at),
        )
        .where(Product.active)
        .order_by(shuffled)
        .limit(SOLD_MAX)
    )
    rows = db.session.execute(statement)
    if found := shelves((row.currency, Item(*row[:4]), row.created_at) for row in rows):
        return found
    raise click.ClickException("there are no products to order")


def _insert_some(batch: Sequence[PastOrder]) -> int:
    tables = db.metadata.tables  # inserting models takes half as long again
    ids = db.session.scalars(
        insert(tables["orders"]).returning(Order.id, sort_by_parameter_order=True),
        list(map(_order, batch)),
    )
    lines = [row for one, order_id in zip(batch, ids, strict=True) for row in _lines(one, order_id)]
    db.session.execute(insert(tables["order_lines"]), lines)
    return len(lines)


def _order(one: PastOrder) -> dict[str, Any]:
    return {
        "status": one.status,
        "customer_name": one.customer.name,
        "customer_email": one.customer.email,
        "customer_address": one.customer.address,
        "currency": one.currency,
        "total": one.total,
        "created_at": one.created_at,
        "updated_at": one.updated_at,
    } | {f"{status}_at": one.steps.get(status) for status in STATUSES[1:]}


def _lines(one: PastOrder, order_id: int) -> Iterator[dict[str, Any]]:
    for position, (item, quantity) in enumerate(one.lines):
        yield {
            "order_id": order_id,
            "position": position,
            "quantity": quantity,
            **item._asdict(),
        }
