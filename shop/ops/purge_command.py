"""`flask purge`: deletes by hand what `flask worker` deletes each hour."""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from shop import idempotency
from shop.cli import needs_database
from shop.orders import open_orders
from shop.sessions import service as sessions


@click.command()
@with_appcontext
@needs_database
def purge() -> None:
    """Delete sessions that have ended, with their carts, and answers kept for a day.

    The worker does this by itself each hour.
    """
    open_orders.erase_addresses()
    click.echo(f"{sessions.purge()} sessions, {idempotency.purge()} idempotency keys")
