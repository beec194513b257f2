"""The migration to the search columns: beside requests, again after a failure."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING, Any

import flask_migrate
import pytest
from faults import before_statement
from sqlalchemy import event, inspect, text
from sqlalchemy.exc import DBAPIError

from shop import create_app
from shop.extensions import db

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask

from conftest import await_true
from migrating import MIGRATIONS, execute

INSERT = "INSERT INTO products (name, price, stock, category_id) VALUES ('{}', 1, {}, 1)"
BACKFILL = "DO $$ DECLARE\n    batch"
FOUND = "SELECT id FROM products WHERE words @@ 'teapot' ORDER BY id"


def column(statement: str) -> list[Any]:
    with db.engine.connect() as connection:
        return list(connection.scalars(text(statement)))


@pytest.fixture
def before(empty: Flask) -> Flask:
    """A database of the version before, with two products."""
    flask_migrate.upgrade(MIGRATIONS, revision="0006")
    execute(
        "INSERT INTO categories (name) VALUES ('Küche')",
        INSERT.format("Théière / Teapot", 0),
        INSERT.format("Kettle", 7),
    )
    return empty


def test_rows_that_are_there_are_found_after_the_upgrade(before: Flask) -> None:
    execute("UPDATE products SET updated_at = '2020-01-01'")
    flask_migrate.upgrade(MIGRATIONS)
    assert column(FOUND) == [1]
    assert column("SELECT name_key FROM products ORDER BY id") == ["theiere / teapot", "kettle"]
    assert column("SELECT in_stock FROM products ORDER BY id") == [False, True]
    assert column("SELECT id FROM categories WHERE words @@ 'kuche'") == [1]
    assert column("SELECT word FROM search_words ORDER BY word") == [
        *("kettle", "kuche", "teapot", "theiere")
    ]
    assert column("SELECT DISTINCT extract(year FROM updated_at) FROM products") == [2020]


def test_rows_that_the_version_before_writes_meanwhile_are_found(before: Flask) -> None:
    def write() -> None:
        execute(
            INSERT.format("A second teapot", 1),
            "UPDATE products SET name = 'A third teapot', stock = 0 WHERE id = 2",
        )

    with before_statement(db.engine, BACKFILL, write):
        flask_migrate.upgrade(MIGRATIONS)
    execute(INSERT.format("A fourth teapot", 1))
    assert column(FOUND) == [1, 2, 3, 4]
    assert column("SELECT in_stock FROM products ORDER BY id") == [False, False, True, True]


def test_no_table_is_locked_while_rows_are_read_and_indexes_made(before: Flask) -> None:
    strong = (
        "SELECT mode FROM pg_locks WHERE granted AND relation = 'products'::regclass "
        "AND mode IN ('AccessExclusiveLock', 'ExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock')"
    )
    held: list[Any] = []
    for beginning in (BACKFILL, "ALTER TABLE products VALIDATE", "CREATE INDEX"):
        with before_statement(db.engine, beginning, lambda: held.extend(column(strong))):
            flask_migrate.upgrade(MIGRATIONS)
        flask_migrate.downgrade(MIGRATIONS, revision="0006")
    assert not held
    made: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        made.append(statement)

    event.listen(db.engine, "before_cursor_execute", note)
    flask_migrate.upgrade(MIGRATIONS)
    event.remove(db.engine, "before_cursor_execute", note)
    indexes = [one for one in made if one.startswith("CREATE INDEX")]
    assert len(indexes) > 10
    assert all(one.startswith("CREATE INDEX CONCURRENTLY") for one in indexes)


def test_a_row_that_another_holds_is_filled_when_it_is_free(before: Flask) -> None:
    """Later rows are filled meanwhile."""
    holder = db.engine.connect()

    def hold_it() -> None:
        holder.execute(text("SELECT FROM products WHERE id = 1 FOR UPDATE"))
        watcher.start()

    def free_it_after_the_next() -> None:
        with before.app_context():
            await_true(lambda: column("SELECT id FROM products WHERE words IS NOT NULL") == [2])
        holder.close()

    watcher = Thread(target=free_it_after_the_next)
    with before_statement(db.engine, BACKFILL, hold_it):
        flask_migrate.upgrade(MIGRATIONS)
    watcher.join()
    assert column(FOUND) == [1]


def test_an_upgrade_that_stopped_in_the_middle_can_be_run_again(before: Flask) -> None:
    def leave_an_invalid_index() -> None:
        connection = db.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        with connection, pytest.raises(DBAPIError):
            connection.execute(
                text("CREATE UNIQUE INDEX CONCURRENTLY ix_products_category ON products (price)")
            )
        raise InterruptedError

    stopped = "CREATE INDEX CONCURRENTLY ix_products_name_key"
    with (
        before_statement(db.engine, stopped, leave_an_invalid_index),
        pytest.raises(InterruptedError),
    ):
        flask_migrate.upgrade(MIGRATIONS)
    invalid = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"
    assert column(invalid) == ["ix_products_category"]
    assert column("SELECT version_num FROM alembic_version") == ["0006"]
    execute(INSERT.format("Another teapot", 1))
    flask_migrate.upgrade(MIGRATIONS)
    assert column(invalid) == []
    assert column(FOUND) == [1, 3]


TRIGGERS = (
    *("mark_stock", "learn_new", "learn_changed", "index_product"),
    *("learn_new AFTER INSERT ON categories", "learn_changed AFTER UPDATE OF name, words ON categ"),
    "index_category",
)


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_an_upgrade_that_stopped_between_two_triggers_can_be_run_again(
    before: Flask, trigger: str
) -> None:
    """Rows that were written meanwhile are found, and their words are known."""

    def stop() -> None:
        raise InterruptedError

    stopped = f"CREATE OR REPLACE TRIGGER {trigger}"
    with before_statement(db.engine, stopped, stop), pytest.raises(InterruptedError):
        flask_migrate.upgrade(MIGRATIONS)
    execute(
        INSERT.format("Samovar", 0),
        "UPDATE products SET name = 'Percolator', stock = 0 WHERE id = 2",
        "INSERT INTO categories (name) VALUES ('Pantry')",
        "UPDATE categories SET name = 'Scullery' WHERE id = 1",
    )
    flask_migrate.upgrade(MIGRATIONS)
    assert column("SELECT name_key FROM products WHERE words @@ 'samovar'") == ["samovar"]
    assert column("SELECT id FROM categories WHERE words @@ 'pantry'") == [2]
    assert column("SELECT in_stock FROM products ORDER BY id") == [False, False, False]
    known = set(column("SELECT word FROM search_words"))
    assert {"pantry", "percolator", "samovar", "scullery"} <= known


@pytest.mark.parametrize("trigger", ["mark_stock", "index_product"])
def test_a_row_that_has_some_of_its_columns_gets_the_others(before: Flask, trigger: str) -> None:
    def write_without_it() -> None:
        execute(f"DROP TRIGGER {trigger} ON products", INSERT.format("Samovar", 3))
        raise InterruptedError

    with before_statement(db.engine, BACKFILL, write_without_it), pytest.raises(InterruptedError):
        flask_migrate.upgrade(MIGRATIONS)
    flask_migrate.upgrade(MIGRATIONS)
    written = "SELECT name_key FROM products WHERE in_stock AND words @@ 'samovar'"
    assert column(written) == ["samovar"]


@pytest.fixture
def owner_of_nothing(before: Flask, settings: dict[str, str]) -> Iterator[Flask]:
    """The same database, for a role that owns its tables, and may create no extension."""
    execute(
        "CREATE ROLE tenant LOGIN",
        "GRANT CREATE, USAGE ON SCHEMA public TO tenant",
        *(f"ALTER TABLE {table} OWNER TO tenant" for table in inspect(db.engine).get_table_names()),
    )
    url = settings["DATABASE_URL"].replace("//shop@/shop?", "//tenant@/empty?")
    app = create_app(settings | {"DATABASE_URL": url})
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()
    execute("REASSIGN OWNED BY tenant TO CURRENT_USER", "DROP OWNED BY tenant", "DROP ROLE tenant")


def test_a_role_that_may_not_create_extensions_gets_the_statement_to_run(
    before: Flask, owner_of_nothing: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = ["db", "upgrade", "--directory", MIGRATIONS]
    with owner_of_nothing.app_context():
        assert owner_of_nothing.test_cli_runner().invoke(args=arguments).exit_code == 1
    assert caplog.messages[-1] == (
        "Error: The role tenant may not create extensions (docs/operations.md, Upgrade): in the "
        "database empty, as a superuser, run: CREATE EXTENSION pg_trgm; CREATE EXTENSION unaccent;"
    )
    told = caplog.messages[-1].partition("run: ")[2]
    with before.app_context():
        changed = "SELECT count(*) FROM pg_proc WHERE proname LIKE 'shop%'"
        assert column(changed) == [0]
        assert column("SELECT version_num FROM alembic_version") == ["0006"]
        execute(told)
    with owner_of_nothing.app_context():
        assert owner_of_nothing.test_cli_runner().invoke(args=arguments).exit_code == 0
        assert column(FOUND) == [1]
