"""The tables: made, unmade, and guarding what they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import flask_migrate
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.exc import IntegrityError

from shop import create_app
from shop.extensions import Base, db

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask

from conftest import ROOT

MIGRATIONS = str(ROOT / "migrations")
INSERT_PRODUCT = (
    "INSERT INTO products (name, price, stock, category_id, sku) VALUES ('{}', 1, 1, 1, 'x')"
)
TABLES = {"alembic_version", *Base.metadata.tables}


@pytest.fixture
def empty(settings: dict[str, str]) -> Iterator[Flask]:
    """An application on a database of its own, without tables."""
    server = create_engine(
        settings["DATABASE_URL"].replace("postgresql:", "postgresql+psycopg2:"),
        isolation_level="AUTOCOMMIT",
    )
    with server.connect() as connection:
        connection.execute(text("CREATE DATABASE empty"))
        app = create_app(
            settings | {"DATABASE_URL": settings["DATABASE_URL"].replace("/shop?", "/empty?")}
        )
        with app.app_context():
            yield app
            db.session.remove()
            db.engine.dispose()
        connection.execute(text("DROP DATABASE empty WITH (FORCE)"))
    server.dispose()


def tables() -> set[str]:
    return set(inspect(db.engine).get_table_names())


def test_upgrade_makes_the_tables_and_downgrade_unmakes_them(empty: Flask) -> None:
    for _ in range(2):
        flask_migrate.upgrade(MIGRATIONS)
        assert tables() == TABLES
        flask_migrate.downgrade(MIGRATIONS, revision="base")
        assert tables() == {"alembic_version"}


def test_the_migrations_make_what_the_models_say(empty: Flask) -> None:
    flask_migrate.upgrade(MIGRATIONS)
    with db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


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
