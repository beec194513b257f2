"""`flask search`: maintain the index that searches use."""

from __future__ import annotations

import click
from flask.cli import AppGroup
from sqlalchemy.exc import OperationalError

from shop.cli import needs_database
from shop.config import current_settings
from shop.database.failures import is_busy
from shop.database.locks import try_lock
from shop.extensions import db

from . import reindexing

search = AppGroup("search", help="How products are found by words.")


@search.command()
@needs_database
def rebuild() -> None:
    """Index all products anew for SEARCH_CONFIGURATION, while the shop serves.

    Also forgets the words that no product has any more.
    """
    wanted = current_settings().search_configuration
    if wanted not in (available := reindexing.list_configurations()):
        raise click.ClickException(
            f"PostgreSQL has no SEARCH_CONFIGURATION {wanted}: it has {', '.join(available)}"
        )
    with db.engine.connect() as connection:
        if not try_lock(connection, "shop search rebuild"):
            raise click.ClickException("another flask search rebuild is at work")
        _rebuild(wanted)


def _rebuild(wanted: str) -> None:
    try:
        reindexing.set_configuration(wanted)
        reindexing.await_writers()
        reindexing.index_categories()
        with click.progressbar(length=reindexing.count_products(), label="products") as bar:
            for batch_size in reindexing.index_products():
                bar.update(batch_size)
        added, deleted = _update_vocabulary()
    finally:
        reindexing.forget_searches()  # also after an error: some products are already indexed anew
    click.echo(f"indexed for {wanted}; {added} words came, {deleted} went")


def _update_vocabulary() -> tuple[int, int]:
    try:
        return reindexing.update_vocabulary()
    except OperationalError as error:
        if not is_busy(error):
            raise
        raise click.ClickException("a writer holds the vocabulary: try again later") from None
