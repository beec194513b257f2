"""`flask orders`, `flask purge` and `flask leaderboard`: by hand, what `flask worker` does."""

from __future__ import annotations

import click
from flask.cli import AppGroup, with_appcontext

from shop import idempotency
from shop.orders import caps, expiry
from shop.orders import leaderboard as trending
from shop.sessions import service as sessions
from shop.terminal import needs_database, needs_redis

EXPIRED_TOGETHER = 100  # orders, between two looks

orders = AppGroup("orders", help="Orders that were not paid in time.")
leaderboard = AppGroup("leaderboard", help="The products that sell best just now.")


@orders.command()
@needs_database
def expire() -> None:
    """Cancel the orders that were not paid in time, and give their stock back."""
    expired = 0
    while some := expiry.expire(EXPIRED_TOGETHER):
        expired += some
    click.echo(f"{expired} orders")


@leaderboard.command()
@needs_database
def rebuild() -> None:
    """Make the leaderboard anew, from the orders. The worker does this by itself each hour."""
    with needs_redis():
        click.echo(f"{trending.rebuild()} products")


@click.command()
@with_appcontext
@needs_database
def purge() -> None:
    """Delete sessions that have ended, with their carts, and answers kept for a day.

    The worker does this by itself each hour.
    """
    caps.forget_addresses()
    click.echo(f"{sessions.purge()} sessions, {idempotency.purge()} idempotency keys")
