"""Fill the database with a demo catalogue and its orders, the same for the same numbers."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING

import click
import orjson
from sqlalchemy import exists, func, insert, select, text

from shop.categories.models import Category
from shop.extensions import cache, db
from shop.orders import leaderboard
from shop.orders.models import Order
from shop.redis import RedisUnavailable

from .catalogue import CATALOGUE
from .orders import insert_orders
from .products import demo_products

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BATCH_SIZE = 2000  # rows of one INSERT

# One parameter for a whole batch takes half the time of a parameter for each value.
INSERT_PRODUCTS = text("""
    INSERT INTO products
        (name, description, sku, price, stock, category_id, created_at, updated_at)
    SELECT name, description, sku, price, stock, category_id, created_at, created_at
    FROM json_populate_recordset(NULL::products, :rows)
""")


def catalogue_is_empty() -> bool:
    return not db.session.scalar(select(exists(select(Category))))


def fill(
    count: int, seed: int, orders: int = 0, *, before: Callable[[], None] = lambda: None
) -> None:
    """Call `before`, then add the demo catalogue and its orders, and show the progress.

    Do all of it in one transaction.
    """
    with _refreshing_caches():
        before()
        _insert(count, seed)
        lines = insert_orders(orders, seed) if orders else 0
    click.echo(f"{len(CATALOGUE)} categories, {count} products")
    if orders:
        click.echo(f"{orders} orders, {lines} order lines")


def fill_orders(count: int, seed: int) -> None:
    """Add demo orders of the present products in one transaction, and show the progress.

    Raises ClickException if there are orders already, or no active products.
    """
    with _refreshing_caches():
        if db.session.scalar(select(exists(select(Order)))):
            raise click.ClickException(
                "there are orders already: --replace deletes them first, and the whole catalogue"
            )
        lines = insert_orders(count, seed)
    click.echo(f"{count} orders, {lines} order lines")


@contextmanager
def _refreshing_caches() -> Iterator[None]:
    """Commit the block's changes, then clear the cache and rebuild the leaderboard."""
    with cache.transaction():
        yield
        cache.clear()
    try:
        leaderboard.rebuild()
    except RedisUnavailable:  # a full Redis can still delete
        leaderboard.forget()


def _insert(count: int, seed: int) -> None:
    names = list(CATALOGUE)
    ids = db.session.scalars(
        insert(Category).returning(Category.id, sort_by_parameter_order=True),
        [{"name": name} for name in names],
    )
    now = db.session.scalars(select(func.now())).one()
    products = demo_products(count, seed, dict(zip(names, ids, strict=True)), now)
    with click.progressbar(length=count, label="products") as bar:
        while batch := list(islice(products, BATCH_SIZE)):
            rows = orjson.dumps(batch, default=str).decode()
            db.session.execute(INSERT_PRODUCTS, {"rows": rows})
            bar.update(len(batch))
