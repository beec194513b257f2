"""What Alembic runs for `flask db`: the models' tables, on the application's database."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
from alembic import context
from flask import current_app
from sqlalchemy import text

from shop.cli import needs_database
from shop.database.locks import try_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

db = current_app.extensions["migrate"].db

# Who waits for a table makes all that come later wait, too, so a migration gives up soon.
LOCK_TIMEOUT = "5s"
ASK_SECONDS = 0.2


def migrate_offline() -> None:
    """Print the SQL, for a database that this machine does not reach."""
    url = db.engine.url.render_as_string(hide_password=False)
    context.configure(
        url=url, target_metadata=db.metadata, literal_binds=True, transaction_per_migration=True
    )
    with context.begin_transaction():
        context.run_migrations()


def migrate_online() -> None:
    with db.engine.connect() as connection, one_at_a_time(connection):
        context.configure(
            connection=connection,
            target_metadata=db.metadata,
            compare_type=True,
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()


@contextmanager
def one_at_a_time(connection: Connection) -> Iterator[None]:
    """Let a second migration wait, and find nothing to do.

    Another connection has the lock: a migration may commit between its steps. The second one asks
    again and again, because a statement that waits would hold up an index that the first one makes
    concurrently, which waits for the end of all statements.
    """
    with db.engine.connect() as holder:
        while not try_lock(holder, "shop migrations"):
            holder.rollback()
            time.sleep(ASK_SECONDS)
        connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
        connection.commit()
        try:
            yield
        finally:
            connection.invalidate()  # and with it the setting


if context.is_offline_mode():
    migrate_offline()
elif click.get_current_context(silent=True):
    needs_database(migrate_online)()  # for an operator, who wants no traceback
else:
    migrate_online()
