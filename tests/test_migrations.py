"""The tables: made, unmade, and guarding what they hold."""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import flask_migrate
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from faults import before_statement
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError, OperationalError

from dev.embedded import programs
from shop.extensions import Base, db
from shop.orders import expiry

if TYPE_CHECKING:
    from flask import Flask
    from sqlalchemy import Connection

from conftest import ROOT
from migrating import MIGRATIONS, execute, rows

INSERT_PRODUCT = (
    "INSERT INTO products (name, price, stock, category_id, sku) VALUES ('{}', 1, 1, 1, 'x')"
)
INSERT_ORDER = (
    "INSERT INTO orders (total, currency, customer_name, customer_email, customer_address) "
    "VALUES ({}, '{}', 'A', 'a@example.com', '')"
)
INSERT_LINE = (
    "INSERT INTO order_lines (order_id, product_id, position, name, price, quantity) "
    "VALUES (1, 1, 0, 'a', {}, 1)"
)


def database_url() -> str:
    return db.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


def tables_of_models() -> set[str]:
    """Return the names of all tables; an application has imported the models of every feature."""
    return {"alembic_version", *Base.metadata.tables}


def tables() -> set[str]:
    return set(inspect(db.engine).get_table_names())


def test_upgrade_makes_the_tables_and_downgrade_unmakes_them(empty: Flask) -> None:
    for _ in range(2):
        flask_migrate.upgrade(MIGRATIONS)
        assert tables() == tables_of_models()
        flask_migrate.downgrade(MIGRATIONS, revision="base")
        assert tables() == {"alembic_version"}


def test_the_migrations_make_the_tables_of_the_models(empty: Flask) -> None:
    flask_migrate.upgrade(MIGRATIONS)
    with db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_the_migrations_make_the_checks_of_the_models(empty: Flask) -> None:
    flask_migrate.upgrade(MIGRATIONS)
    with db.engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA models"))
        Base.metadata.create_all(
            connection.execution_options(schema_translate_map={None: "models"})
        )
        checks = {schema: checks_of(connection, schema) for schema in ("models", "public")}
    assert checks["public"] == checks["models"]
    assert len(checks["public"]) > 10


def checks_of(connection: Connection, schema: str) -> set[tuple[str, ...]]:
    """Return the CHECKs of a schema's tables, with NOT VALID for those not validated."""
    found = connection.execute(
        text(
            "SELECT relname, conname, pg_get_constraintdef(pg_constraint.oid) FROM pg_constraint "
            "JOIN pg_class ON pg_class.oid = conrelid WHERE contype = 'c' "
            "AND connamespace = CAST(:schema AS regnamespace)"
        ),
        {"schema": schema},
    )
    return {tuple(row) for row in found}


def test_the_printed_sql_makes_the_same_tables(empty: Flask) -> None:
    printed = empty.test_cli_runner().invoke(
        args=["db", "upgrade", "--sql", "--directory", MIGRATIONS]
    )
    psql = programs.find_postgres()[0] / "psql"
    command = [str(psql), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", database_url()]
    subprocess.run(command, input=printed.stdout, text=True, check=True)
    with db.engine.connect() as connected:
        context = MigrationContext.configure(connected, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_one_of_two_upgrades_at_once_waits_for_the_other(empty: Flask) -> None:
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "db", "upgrade"]
    environment = {**os.environ, "DATABASE_URL": database_url()}
    upgrades = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    told = [upgrade.communicate()[1].decode() for upgrade in upgrades]
    assert [upgrade.returncode for upgrade in upgrades] == [0, 0], told
    assert tables() == tables_of_models()


def test_orders_that_are_pending_when_expiry_comes_do_not_end_by_themselves(empty: Flask) -> None:
    flask_migrate.upgrade(MIGRATIONS, revision="0005")
    with db.engine.begin() as connection:
        connection.execute(text(INSERT_ORDER.format(1, "EUR")))
    flask_migrate.upgrade(MIGRATIONS)
    with db.engine.begin() as connection:
        connection.execute(
            text(INSERT_ORDER.format(1, "EUR"))
        )  # as the version before does, which still serves
        found = connection.execute(
            text("SELECT expires_at, session_id, client_address FROM orders")
        )
        assert list(found) == [(None, None, None)] * 2
    assert expiry.expire_orders(10) == 0
    flask_migrate.downgrade(MIGRATIONS, revision="0005")
    flask_migrate.upgrade(MIGRATIONS)
    with db.engine.connect() as connection:
        assert list(connection.scalars(text("SELECT status FROM orders"))) == ["pending"] * 2


def test_the_session_of_an_order_is_a_foreign_key_that_was_never_unchecked(empty: Flask) -> None:
    flask_migrate.upgrade(MIGRATIONS)
    statement = "SELECT convalidated, confdeltype FROM pg_constraint WHERE conname = :name"
    with db.engine.connect() as connection:
        found = connection.execute(text(statement), {"name": "fk_orders_session_id"})
        assert list(found) == [(True, "n")]


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("UPDATE products SET price = 0", "ck_products_price_positive"),
        ("UPDATE products SET stock = -1", "ck_products_stock_not_negative"),
        ("UPDATE products SET name = ''", "ck_products_name_not_empty"),
        ("UPDATE products SET category_id = 9", "fk_products_category_id"),
        ("UPDATE categories SET name = ''", "ck_categories_name_not_empty"),
        ("INSERT INTO categories (name) VALUES ('Garden')", "uq_categories_name"),
        ("DELETE FROM categories", "fk_products_category_id"),
        ("UPDATE products SET price = 1.001", "ck_products_price_decimals"),
        ("UPDATE products SET price = 1.5, currency = 'JPY'", "ck_products_price_decimals"),
        ("UPDATE products SET price = 1.0005, currency = 'KWD'", "ck_products_price_decimals"),
        ("UPDATE products SET price = 10000000000", "ck_products_price_limit"),
        ("UPDATE products SET price = 'NaN'", "ck_products_price_limit"),
        ("UPDATE products SET price = 'Infinity'", "ck_products_price_limit"),
        (INSERT_ORDER.format("1.5", "JPY"), "ck_orders_total_decimals"),
        (INSERT_ORDER.format("1.001", "EUR"), "ck_orders_total_decimals"),
        (INSERT_ORDER.format("1.0005", "KWD"), "ck_orders_total_decimals"),
        (INSERT_ORDER.format("10000000000000000", "EUR"), "ck_orders_total_limit"),
        (INSERT_ORDER.format("0", "EUR"), "ck_orders_total_positive"),
        (INSERT_LINE.format("0"), "ck_order_lines_price_positive"),
        (INSERT_LINE.format("1.0005"), "ck_order_lines_price_decimals"),
        (INSERT_LINE.format("10000000000"), "ck_order_lines_price_limit"),
        (INSERT_PRODUCT.format("b"), "uq_products_sku"),
    ],
)
def test_the_database_refuses_what_the_service_refuses(
    empty: Flask, statement: str, constraint: str
) -> None:
    flask_migrate.upgrade(MIGRATIONS)
    with db.engine.connect() as connection:
        connection.execute(text("INSERT INTO categories (name) VALUES ('Garden')"))
        connection.execute(text(INSERT_PRODUCT.format("a")))
        with pytest.raises(IntegrityError, match=constraint):
            connection.execute(text(statement))


@pytest.fixture
def before(empty: Flask) -> Flask:
    """A database as it was when amounts had two decimal places, with one of each kind."""
    flask_migrate.upgrade(MIGRATIONS, revision="0004")
    execute(
        "INSERT INTO categories (name) VALUES ('Garden')",
        INSERT_PRODUCT.format("a"),
        INSERT_ORDER.format("2.50", "EUR"),
        INSERT_LINE.format("2.50"),
    )
    return empty


FILES = "SELECT relname, relfilenode FROM pg_class WHERE relkind = 'r' ORDER BY relname"
TYPES = (
    "SELECT table_name, column_name, numeric_precision FROM information_schema.columns "
    "WHERE data_type = 'numeric' AND table_schema = 'public' ORDER BY 1"
)
PRICES = "SELECT price, currency FROM products"


def migrate(app: Flask, *arguments: str) -> Any:
    return app.test_cli_runner().invoke(args=["db", *arguments, "--directory", MIGRATIONS])


def test_amounts_of_all_currencies_need_no_new_files(before: Flask) -> None:
    files = rows(FILES)
    flask_migrate.upgrade(MIGRATIONS, revision="0005")
    assert rows(FILES) == files
    assert {precision for *_, precision in rows(TYPES)} == {None}


def test_amounts_are_validated_while_the_tables_can_be_used(before: Flask) -> None:
    held: list[Any] = []
    locks = "SELECT relation::regclass::text FROM pg_locks WHERE mode = 'AccessExclusiveLock'"
    validation = "ALTER TABLE products VALIDATE"
    with before_statement(db.engine, validation, lambda: held.extend(rows(locks))):
        flask_migrate.upgrade(MIGRATIONS, revision="0005")
    assert not held


WRONG = (
    "UPDATE products SET price = 100.50, currency = 'JPY'",
    "UPDATE orders SET total = 0.50, currency = 'KRW'",
    "UPDATE order_lines SET price = 0.50",
)


def test_amounts_that_a_currency_does_not_have_stop_the_upgrade(
    before: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    execute(*WRONG)
    state = rows(TYPES), rows(PRICES), rows("SELECT * FROM orders JOIN order_lines ON true")
    assert migrate(before, "upgrade", "0005").exit_code == 1
    assert caplog.messages[-1] == (
        "Error: Amounts that their currency does not have (docs/operations.md, Upgrade): "
        "product 1 (100.50 JPY), order 1 (0.50 KRW), product 1 in order 1 (0.50 KRW)"
    )
    after = rows(TYPES), rows(PRICES), rows("SELECT * FROM orders JOIN order_lines ON true")
    assert after == state
    execute("UPDATE products SET price = 100", "UPDATE orders SET currency = 'EUR'")
    assert migrate(before, "upgrade", "0005").exit_code == 0
    assert rows(PRICES) == [(100, "JPY")]


def test_no_more_than_twenty_amounts_are_listed(
    before: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    execute(
        "INSERT INTO products (name, price, stock, category_id, currency) "
        "SELECT 'b', 0.50, 1, 1, 'JPY' FROM generate_series(1, 25)"
    )
    assert migrate(before, "upgrade", "0005").exit_code == 1
    assert caplog.messages[-1].count("(0.50 JPY)") == 20
    assert caplog.messages[-1].endswith("product 21 (0.50 JPY), and 5 more")


def test_an_amount_that_is_written_meanwhile_stops_the_upgrade_too(
    before: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    with before_statement(db.engine, "ALTER TABLE products", lambda: execute(WRONG[0])):
        assert migrate(before, "upgrade", "0005").exit_code == 1
    assert "product 1 (100.50 JPY)" in caplog.messages[-1]
    assert rows(PRICES) == [(Decimal("100.50"), "JPY")]
    execute("UPDATE products SET stock = stock - 1")  # the version before goes on selling it
    execute("UPDATE products SET currency = 'EUR'")
    assert migrate(before, "upgrade", "0005").exit_code == 0


def test_an_upgrade_that_cannot_have_a_table_gives_up_and_can_be_run_again(before: Flask) -> None:
    with db.engine.connect() as holder:
        holder.execute(text("SELECT FROM order_lines"))  # after products and orders were altered
        with pytest.raises(OperationalError, match="55P03"):  # lock_not_available
            flask_migrate.upgrade(MIGRATIONS, revision="0005")
    assert rows("SELECT version_num FROM alembic_version") == [("0004",)]
    flask_migrate.upgrade(MIGRATIONS, revision="0005")
    assert {precision for *_, precision in rows(TYPES)} == {None}


def test_the_version_before_can_write_its_amounts(before: Flask) -> None:
    flask_migrate.upgrade(MIGRATIONS, revision="0005")
    execute(
        "UPDATE products SET price = 100.00, currency = 'JPY'", "UPDATE orders SET total = 7.00"
    )
    assert rows(PRICES) == [(100, "JPY")]


def test_amounts_that_the_version_before_cannot_hold_stop_the_downgrade(
    before: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    flask_migrate.upgrade(MIGRATIONS, revision="0005")
    execute("UPDATE products SET price = 1.255, currency = 'KWD'")
    assert migrate(before, "downgrade", "0004").exit_code == 1
    assert caplog.messages[-1].endswith("before: product 1 (1.255 KWD)")
    assert rows(PRICES) == [(Decimal("1.255"), "KWD")]
    execute("UPDATE products SET price = 1.250")
    assert migrate(before, "downgrade", "0004").exit_code == 0
    assert rows(PRICES) == [(Decimal("1.25"), "KWD")]
    assert rows(TYPES) == [
        ("order_lines", "price", 12),
        ("orders", "total", 18),
        ("products", "price", 12),
    ]
