"""Insert the demo history of orders into the database."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import click
from sqlalchemy import func, insert, select, text

from shop.extensions import db
from shop.orders.models import STATUSES, Order
from shop.products.models import Product

from .history import Item, build_assortments, past_orders

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .history import Assortment, PastOrder

BATCH_SIZE = 2000  # orders
PRODUCTS_MAX = 100_000  # products in the orders; they are kept in memory


def insert_orders(count: int, seed: int) -> int:
    """Add `count` orders of the present products within a transaction; return the number of lines.

    The stock stays as it is, as if the orders had been taken from it before. Raises ClickException
    if there are no active products.
    """
    lines = 0
    now = db.session.scalars(
        select(func.now())
    ).one()  # orders of the service come later by this clock
    made = past_orders(_read_assortments(seed), count, seed, now)
    with click.progressbar(length=count, label="orders") as bar:
        while batch := list(islice(made, BATCH_SIZE)):
            lines += _insert_batch(batch)
            bar.update(len(batch))
    # The planner must not plan for the small tables of before.
    db.session.execute(text("ANALYZE categories, products, orders, order_lines"))
    return lines


def _read_assortments(seed: int) -> list[Assortment]:
    """Return the active products, with a popularity that is the same for the same seed."""
    shuffled = func.md5(func.concat(seed, ":", Product.id))
    statement = (
        select(
            *(Product.id, Product.sku, Product.name, Product.price),
            *(Product.currency, Product.created_at),
        )
        .where(Product.active)
        .order_by(shuffled)
        .limit(PRODUCTS_MAX)
    )
    rows = db.session.execute(statement)
    if assortments := build_assortments(
        (row.currency, Item(*row[:4]), row.created_at) for row in rows
    ):
        return assortments
    raise click.ClickException("there are no products to order")


def _insert_batch(batch: Sequence[PastOrder]) -> int:
    tables = db.metadata.tables  # to insert models takes half as long again
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
    } | {f"{status}_at": one.transitions.get(status) for status in STATUSES[1:]}


def _lines(one: PastOrder, order_id: int) -> Iterator[dict[str, Any]]:
    for position, (item, quantity) in enumerate(one.lines):
        yield {
            "order_id": order_id,
            "position": position,
            "quantity": quantity,
            **item._asdict(),
        }
