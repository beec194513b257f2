"""`flask orders` and `flask leaderboard`: run by hand what `flask worker` runs by the clock."""

from __future__ import annotations

import click
from flask.cli import AppGroup

from shop.cli import needs_database, needs_redis

from . import expiry
from . import leaderboard as trending

BATCH_SIZE = 100  # orders

orders = AppGroup("orders", help="Orders that were not paid in time.")
leaderboard = AppGroup("leaderboard", help="The products that sell best just now.")


@orders.command()
@needs_database
def expire() -> None:
    """Cancel the orders that were not paid in time, and give their stock back."""
    expired = 0
    while batch := expiry.expire_orders(BATCH_SIZE):
        expired += batch
    click.echo(f"{expired} orders")


@leaderboard.command()
@needs_database
def rebuild() -> None:
    """Make the leaderboard anew, from the orders. The worker does this by itself each hour."""
    with needs_redis():
        click.echo(f"{trending.rebuild()} products")
