"""`flask seed`: the command, which `wsgi.py` adds to those of the service."""

from __future__ import annotations

from functools import partial

import click
from flask.cli import with_appcontext

from shop.cli import needs_database

DEMO_PRODUCTS = 500
DEMO_ORDERS = 2000
DEMO_SEED = 1
PRODUCTS_MAX = 5_000_000
ORDERS_MAX = 1_000_000


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
    # Workers load this command and never run it: they do without the demo data.
    from .fill import catalogue_is_empty, fill, fill_orders  # noqa: PLC0415
    from .replace import ask, delete_all  # noqa: PLC0415

    if replace:
        ask(yes=yes, others_too=others_too)
        fill(count, number, orders, first=partial(delete_all, others_too=others_too))
    elif catalogue_is_empty():
        fill(count, number, orders)
    elif orders:
        fill_orders(orders, number)
    else:
        raise click.ClickException("the catalogue is not empty: --replace deletes it first")
