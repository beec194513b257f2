"""`flask search`: how products are found by words."""

from __future__ import annotations

import click
from flask.cli import AppGroup
from sqlalchemy.exc import OperationalError

from shop.config import current_settings
from shop.database.failures import is_held_up
from shop.database.locks import take_lock
from shop.extensions import db
from shop.terminal import needs_database

from . import index

search = AppGroup("search", help="How products are found by words.")


@search.command()
@needs_database
def rebuild() -> None:
    """Index all products anew for SEARCH_CONFIGURATION, while the shop serves.

    Also forgets the words that no product has any more.
    """
    wanted = current_settings().search_configuration
    if wanted not in (known := index.configurations()):
        raise click.ClickException(
            f"PostgreSQL has no SEARCH_CONFIGURATION {wanted}: it has {', '.join(known)}"
        )
    with db.engine.connect() as connection:
        if not take_lock(connection, "shop search rebuild"):
            raise click.ClickException("another flask search rebuild is at work")
        _rebuild(wanted)


def _rebuild(wanted: str) -> None:
    try:
        index.choose(wanted)
        index.await_writers()
        index.index_categories()
        with click.progressbar(length=index.count_products(), label="products") as bar:
            for some in index.index_products():
                bar.update(some)
        came, went = _learn_words()
    finally:
        index.forget_searches()  # what was indexed is found otherwise, whatever came after it
    click.echo(f"indexed for {wanted}; {came} words came, {went} went")


def _learn_words() -> tuple[int, int]:
    try:
        return index.learn_words()
    except OperationalError as error:
        if not is_held_up(error):
            raise
        raise click.ClickException("a writer holds the vocabulary: try again later") from None
