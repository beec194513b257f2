"""Catalogues with much that is equal: few names, prices, times and categories."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from sqlalchemy import text

from shop.extensions import db
from shop.redis import redis_connection

from .oracle import BEGINNING, Oracle, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from conftest import Shop

CATEGORIES = {1: "Möbel", 2: "Garden", 3: "Café & Küche", 67: "Déco"}  # 3 and 67 share a bucket
NAMES = [
    "Oak desk", "Oak Desk", "ÖAK desk", "oak  desk", "Café table", "Cafe tables", "Garden table",
    "Æther lamp", "Aether Lamp", "Straße", "Strasse sign", "Zebra rug", "zebra", "éclair",
    "10 pegs", "9 pegs", "L'étagère d'angle", "Tea-pot",
]  # fmt: skip
DESCRIPTIONS = ["", "Solid oak.", "For the garden: a table, or a desk", "Crème brûlée", "Été"]
# Ends of ranges of the price facet, and what is beside them.
PRICES = ["0.01", "0.99", "1", "1.99", "2", "5", "9.99", "10", "10.01", "19.90", "20", "4999.99"]
PRICES_OF = {"EUR": PRICES, "USD": PRICES, "JPY": ["1", "2", "5", "9", "10", "5000"]}

PRODUCT = """
    INSERT INTO products (id, name, description, sku, price, currency, stock, category_id, active,
                          created_at, updated_at)
    VALUES (:id, :name, :description, :sku, :price, :currency, :stock, :category_id, :active,
            :created_at, :created_at)
"""
CATEGORY = """
    INSERT INTO categories (id, name, created_at, updated_at) VALUES (:id, :name, :made, :made)
"""
ORDER = """
    INSERT INTO orders (id, status, customer_name, customer_email, customer_address,
                        currency, total)
    VALUES (1, 'paid', 'A', 'a@example.com', '', 'EUR', 1)
"""
LINE = """
    INSERT INTO order_lines (order_id, product_id, position, name, price, quantity)
    VALUES (1, :id, :id, 'A', 1, :units)
"""
TABLES = ["order_lines", "orders", "products", "categories", "search_words"]


@st.composite
def rows(draw: st.DrawFn, *, most: int = 30) -> list[Row]:
    """Draw the products of a catalogue in one currency, or in two or three."""
    currencies = draw(st.sampled_from([["EUR"], ["EUR", "USD"], ["EUR", "JPY", "USD"]]))
    few_prices = draw(st.booleans())
    made: list[Row] = []
    for number in range(1, draw(st.integers(0, most)) + 1):
        currency = draw(st.sampled_from(currencies))
        prices = PRICES_OF[currency]
        row = Row(
            id=number,
            name=draw(st.sampled_from(NAMES)),
            description=draw(st.sampled_from(DESCRIPTIONS)),
            sku=draw(st.sampled_from([None, f"TAB-{number:03}", f"x{number}.Y"])),
            price=Decimal(draw(st.sampled_from(prices[:3] if few_prices else prices))),
            currency=currency,
            stock=draw(st.sampled_from([0, 1, 7])),
            category_id=draw(st.sampled_from(list(CATEGORIES))),
            active=draw(st.integers(0, 4)) > 0,
            made=draw(st.integers(0, 4)),
            units=draw(st.sampled_from([0, 0, 1, 3])),
        )
        made.append(row)
    return made


def fill(shop: Shop, rows: Iterable[Row], categories: Mapping[int, str] = CATEGORIES) -> Oracle:
    """Put a catalogue in the place of what the shop has, and return what knows of it."""
    oracle = Oracle(rows, categories)
    with shop.app.app_context(), db.engine.begin() as connection:
        for table in TABLES:
            connection.execute(text(f"DELETE FROM {table}"))

        def insert(statement: str, values: list[dict[str, Any]]) -> None:
            if values:
                connection.execute(text(statement), values)

        insert(CATEGORY, [{"id": i, "name": n, "made": BEGINNING} for i, n in categories.items()])
        insert(PRODUCT, [_columns(row) for row in oracle.rows])
        connection.execute(text(ORDER))
        insert(LINE, [{"id": row.id, "units": row.units} for row in oracle.rows if row.units])
        for table in ("products", "categories"):
            connection.execute(text(f"SELECT setval('{table}_id_seq', 1000)"))
    forget(shop)
    return oracle


def forget(shop: Shop) -> None:
    """Empty Redis, because rows were inserted with SQL."""
    redis_connection(shop.app).client.flushall()


def _columns(row: Row) -> dict[str, Any]:
    columns = ("id", "name", "description", "sku", "price", "currency", "stock", "category_id")
    return {name: getattr(row, name) for name in (*columns, "active", "created_at")}
