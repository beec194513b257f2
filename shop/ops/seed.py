"""`flask seed`: a demo catalogue, the same for the same numbers."""

from __future__ import annotations

import random
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any

import click
from flask.cli import with_appcontext
from sqlalchemy import exists, insert, select, text

from shop.categories.models import Category
from shop.extensions import cache, db
from shop.products.models import Product
from shop.terminal import needs_database

from .demo import CATALOGUE, DESCRIPTIONS, MAKERS, QUALITIES

if TYPE_CHECKING:
    from collections.abc import Iterator

DEMO_PRODUCTS = 500
DEMO_SEED = 1
BATCH = 2000  # rows of one INSERT
PRODUCTS_MAX = 5_000_000
REPLACED = "products, categories, orders, order_lines, cart_items"  # tables
OUT_OF_STOCK = 0.05


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
    "--seed",
    "number",
    default=DEMO_SEED,
    show_default=True,
    help="The same number makes the same catalogue.",
)
@click.option(
    "--replace",
    is_flag=True,
    help="Delete the whole catalogue first, with all orders and what is in carts.",
)
@with_appcontext
@needs_database
def seed(count: int, number: int, *, replace: bool) -> None:
    """Fill an empty catalogue with demo data."""
    if not replace and not catalogue_is_empty():
        raise click.ClickException("the catalogue is not empty: --replace deletes it first")
    fill(count, number, replace=replace)


def catalogue_is_empty() -> bool:
    return not db.session.scalar(select(exists(select(Category))))


def fill(count: int, number: int, *, replace: bool = False) -> None:
    """Add the demo catalogue, whole or not at all, and tell of the progress."""
    with cache.transaction():
        if replace:
            db.session.execute(text(f"TRUNCATE {REPLACED} RESTART IDENTITY"))
        _insert(count, number)
        for function in cache.memoized:
            cache.delete_memoized(function)
    click.echo(f"{len(CATALOGUE)} categories, {count} products")


def _insert(count: int, number: int) -> None:
    names = list(CATALOGUE)
    ids = db.session.scalars(
        insert(Category).returning(Category.id, sort_by_parameter_order=True),
        [{"name": name} for name in names],
    )
    made = demo_products(count, number, dict(zip(names, ids, strict=True)))
    with click.progressbar(length=count, label="products") as bar:
        while batch := list(islice(made, BATCH)):
            db.session.execute(insert(Product), batch)
            bar.update(len(batch))


def demo_products(
    count: int, number: int, category_ids: dict[str, int]
) -> Iterator[dict[str, Any]]:
    """Yield `count` products, spread unevenly over the categories."""
    chance = random.Random(number)  # noqa: S311  (a demo, and to be repeated)
    names = list(category_ids)
    weights = [1 / (rank + 1) for rank in range(len(names))]
    for serial in range(1, count + 1):
        [category] = chance.choices(names, weights)
        yield _demo_product(chance, serial, category, category_ids[category])


def _demo_product(
    chance: random.Random, serial: int, category: str, category_id: int
) -> dict[str, Any]:
    line = CATALOGUE[category]
    thing, maker = chance.choice(line.things), chance.choice(MAKERS)
    name = f"{maker} {chance.choice(QUALITIES)} {thing}, {chance.choice(line.finishes)}"
    # Most prices are near the low end, and end in 99, 95, 90 or 00 as in a shop.
    whole = int(line.cheapest + (line.dearest - line.cheapest) * chance.random() ** 2)
    return {
        "name": name,
        "description": chance.choice(DESCRIPTIONS).format(thing=thing, maker=maker),
        "sku": f"{category[:3].upper()}-{serial:07d}",
        "price": whole + Decimal(chance.choice(("0.99", "0.95", "0.90", "1.00"))),
        "stock": 0 if chance.random() < OUT_OF_STOCK else int(chance.expovariate(1 / 40)) + 1,
        "category_id": category_id,
    }
