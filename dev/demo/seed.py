"""The command `flask seed`, which `wsgi.py` adds to the commands of the service."""

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
    "seed_number",
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
    "delete_orders_of_others",
    is_flag=True,
    help="Replace without asking, even if orders were placed by others than this command.",
)
@with_appcontext
@needs_database
def seed(  # noqa: PLR0913  (each is an option)
    count: int,
    orders: int,
    seed_number: int,
    *,
    replace: bool,
    yes: bool,
    delete_orders_of_others: bool,
) -> None:
    """Fill an empty catalogue with demo data."""
    # Workers load this module and never run the command, so they need not load the demo data.
    from .fill import catalogue_is_empty, fill, fill_orders  # noqa: PLC0415
    from .replace import confirm_replacement, delete_all  # noqa: PLC0415

    if replace:
        confirm_replacement(yes=yes, delete_orders_of_others=delete_orders_of_others)
        fill(
            count,
            seed_number,
            orders,
            before=partial(delete_all, delete_orders_of_others=delete_orders_of_others),
        )
    elif catalogue_is_empty():
        fill(count, seed_number, orders)
    elif orders:
        fill_orders(orders, seed_number)
    else:
        raise click.ClickException("the catalogue is not empty: --replace deletes it first")
