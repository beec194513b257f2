"""`flask db-identity`: the identity that tells apart installations that share a Redis."""

from __future__ import annotations

import click
from flask.cli import AppGroup

from shop.cli import needs_database
from shop.extensions import cache

db_identity = AppGroup("db-identity", help="The identity of this installation, in its database.")


@db_identity.command()
@needs_database
def show() -> None:
    """Print the identity."""
    click.echo(cache.installation.identity())


@db_identity.command()
@needs_database
def renew() -> None:
    """Make this database an installation of its own, after it was copied from another."""
    click.echo(cache.installation.renew())
    click.echo("Redis is not used if it belongs to the one before: flask cache claim", err=True)
