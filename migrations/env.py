"""What Alembic runs for `flask db`: the models' tables, on the application's database."""

from alembic import context
from flask import current_app

db = current_app.extensions["migrate"].db


def migrate_offline() -> None:
    """Print the SQL, for a database that this machine does not reach."""
    url = db.engine.url.render_as_string(hide_password=False)
    context.configure(url=url, target_metadata=db.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


def migrate_online() -> None:
    with db.engine.connect() as connection:
        context.configure(connection=connection, target_metadata=db.metadata, compare_type=True)
        with context.begin_transaction():
            # Two at once: the second waits, and finds nothing to do.
            context.execute("SELECT pg_advisory_xact_lock(hashtext('shop migrations'))")
            context.run_migrations()


if context.is_offline_mode():
    migrate_offline()
else:
    migrate_online()
