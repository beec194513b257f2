"""`flask leaderboard` and `flask purge`: what is rebuilt, and what is thrown away."""

from __future__ import annotations

import click
from flask.cli import AppGroup, with_appcontext

from shop import idempotency
from shop.orders import leaderboard as trending
from shop.sessions import service as sessions
from shop.terminal import needs_database, needs_redis

leaderboard = AppGroup("leaderboard", help="The products that sell best just now.")


@leaderboard.command()
@needs_database
def rebuild() -> None:
    """Make the leaderboard anew, from the orders. The service does this by itself each hour."""
    with needs_redis():
        click.echo(f"{trending.rebuild()} products")


@click.command()
@with_appcontext
@needs_database
def purge() -> None:
    """Delete sessions that have ended, with their carts, and answers kept for a day.

    To be run once a day or so; nothing but the size of the database depends on it.
    """
    click.echo(f"{sessions.purge()} sessions, {idempotency.purge()} idempotency keys")
