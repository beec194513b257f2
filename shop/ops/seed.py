"""`flask seed`: a demo catalogue and what it has sold, the same for the same numbers."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import click
import orjson
from flask.cli import with_appcontext
from sqlalchemy import exists, func, insert, select, text

from shop.categories.models import Category
from shop.extensions import cache, db
from shop.orders import leaderboard
from shop.orders.models import Order
from shop.redis import RedisUnavailable
from shop.terminal import needs_database

from .demo import CATALOGUE
from .demo_products import demo_products
from .seed_orders import insert_orders
from .seed_replace import ask, delete_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEMO_PRODUCTS = 500
DEMO_ORDERS = 2000
DEMO_SEED = 1
BATCH = 2000  # rows of one INSERT
PRODUCTS_MAX = 5_000_000
ORDERS_MAX = 1_000_000

# One parameter for a whole batch takes half the time of one for each value.
INSERT_PRODUCTS = text("""
    INSERT INTO products
        (name, description, sku, price, stock, category_id, created_at, updated_at)
    SELECT name, description, sku, price, stock, category_id, created_at, created_at
    FROM json_populate_recordset(NULL::products, :rows)
""")


@click.command()
@click.option(
    "--products",
    "count",
    default=DEMO_PRODUCTS,
    show_default=True,
    type=click.IntRange(1, PRODUCTS_MAX),
    help="How many products to make.",
)
@click.option(
    "--orders",
    default=0,
    show_default=True,
    type=click.IntRange(0, ORDERS_MAX),
    help="How many orders of the last half year to make; also for a catalogue that is there.",
)
@click.option(
    "--seed",
    "number",
    default=DEMO_SEED,
    show_default=True,
    help="The same number makes the same catalogue, and the same orders.",
)
@click.option(
    "--replace",
    is_flag=True,
    help="Delete the whole catalogue first, with all orders and what is in carts. Asks.",
)
@click.option("--yes", is_flag=True, help="Replace without asking.")
@click.option(
    "--yes-delete-orders",
    "others_too",
    is_flag=True,
    help="Replace without asking, even if orders were placed by others than this command.",
)
@with_appcontext
@needs_database
def seed(  # noqa: PLR0913  (each is an option)
    count: int, orders: int, number: int, *, replace: bool, yes: bool, others_too: bool
) -> None:
    """Fill an empty catalogue with demo data."""
    if replace:
        ask(yes=yes, others_too=others_too)
        fill(count, number, orders, first=partial(delete_all, others_too=others_too))
    elif catalogue_is_empty():
        fill(count, number, orders)
    elif orders:
        fill_orders(orders, number)
    else:
        raise click.ClickException("the catalogue is not empty: --replace deletes it first")


def catalogue_is_empty() -> bool:
    return not db.session.scalar(select(exists(select(Category))))


def fill(
    count: int, number: int, orders: int = 0, *, first: Callable[[], None] = lambda: None
) -> None:
    """Do what comes first, then add the demo catalogue and its orders, and tell of the progress.

    All of it or nothing.
    """
    with _forgetting_all():
        first()
        _insert(count, number)
        lines = insert_orders(orders, number) if orders else 0
    click.echo(f"{len(CATALOGUE)} categories, {count} products")
    if orders:
        click.echo(f"{orders} orders, {lines} order lines")


def fill_orders(count: int, number: int) -> None:
    """Add demo orders of the products that are there, all or none, and tell of the progress.

    Raises ClickException where there are orders already, or no products that are sold.
    """
    with _forgetting_all():
        if db.session.scalar(select(exists(select(Order)))):
            raise click.ClickException(
                "there are orders already: --replace deletes them first, and the whole catalogue"
            )
        lines = insert_orders(count, number)
    click.echo(f"{count} orders, {lines} order lines")


@contextmanager
def _forgetting_all() -> Iterator[None]:
    """Commit what the block does, and let neither the cache nor the leaderboard show the past."""
    with cache.transaction():
        yield
        cache.clear()
    try:
        leaderboard.rebuild()
    except RedisUnavailable:  # one that is full can still forget
        leaderboard.forget()


def _insert(count: int, number: int) -> None:
    names = list(CATALOGUE)
    ids = db.session.scalars(
        insert(Category).returning(Category.id, sort_by_parameter_order=True),
        [{"name": name} for name in names],
    )
    now = db.session.scalars(select(func.now())).one()
    made = demo_products(count, number, dict(zip(names, ids, strict=True)), now)
    with click.progressbar(length=count, label="products") as bar:
        while batch := list(islice(made, BATCH)):
            rows = orjson.dumps(batch, default=str).decode()
            db.session.execute(INSERT_PRODUCTS, {"rows": rows})
            bar.update(len(batch))
