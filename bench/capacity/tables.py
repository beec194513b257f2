"""Bytes of PostgreSQL for each row, with its indexes and what is stored out of line."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg2

if TYPE_CHECKING:
    from bench.stage import Stage

SALES = 100_000
# A table, and how its rows are made where the catalogue does not make them.
ORDERS = """
    TRUNCATE orders, order_lines, sessions, cart_items CASCADE;
    INSERT INTO orders (status, customer_name, customer_email, customer_address, currency, total,
                        created_at, updated_at, paid_at)
    SELECT 'paid', 'Sample Customer', 'customer' || n || '@example.com',
           '1 Market Street, Exampleton', 'EUR', 10, now(), now(), now()
      FROM generate_series(1, %(rows)s) AS made (n);
    INSERT INTO order_lines (order_id, product_id, position, name, price, quantity)
    SELECT orders.id, products.id, line, products.name, products.price, 1
      FROM orders, generate_series(0, 1) AS line, products
     WHERE products.id = 1 + (orders.id * 7919 + line) %% 1000
"""
SESSIONS = """
    INSERT INTO sessions (token_hash, created_at, expires_at)
    SELECT encode(sha256(n::text::bytea), 'hex'), now(), now()
      FROM generate_series(1, %(rows)s) AS made (n);
    INSERT INTO cart_items (session_id, product_id, quantity, added_at)
    SELECT id, 1 + id %% 1000, 1, now() FROM sessions
"""
MADE = ("products", "orders", "order_lines", "sessions", "cart_items")
SIZES = """
    SELECT reltuples::bigint, pg_relation_size(oid), pg_indexes_size(oid),
           pg_total_relation_size(oid)
      FROM pg_class WHERE oid = %s::regclass
"""
INDEXES = """
    SELECT indexrelname, pg_relation_size(indexrelid) FROM pg_stat_user_indexes
     WHERE relname = 'products' ORDER BY 2 DESC
"""
# What grows with the catalogue, in one statement; seconds of CPU time are those of its process.
WORK = {
    "count all products": "SELECT count(*) FROM products",
    "make the index of words": "REINDEX INDEX ix_products_words",
    "make the index of names": "REINDEX INDEX ix_products_name_key",
    "VACUUM": "VACUUM products",
    "ANALYZE": "ANALYZE products",
}


def measure(this: Stage, *, sales: bool) -> dict[str, Any]:
    """Return the bytes of each row, and the seconds of what grows with the catalogue."""
    with closing(psycopg2.connect(this.database_url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            if sales:
                cursor.execute(ORDERS, {"rows": SALES})
                cursor.execute(SESSIONS, {"rows": SALES})
            cursor.execute("VACUUM ANALYZE")
            rows = [_row(cursor, table) for table in (MADE if sales else MADE[:1])]
            cursor.execute(INDEXES)
            products = rows[0]["rows"]
            indexes = {name: round(size / products) for name, size in cursor.fetchall()}
            work = {name: _seconds(cursor, statement) for name, statement in WORK.items()}
    return {"products": products, "rows": rows, "indexes": indexes, "seconds": work}


def _row(cursor: Any, table: str) -> dict[str, Any]:
    cursor.execute(SIZES, [table])
    rows, heap, indexes, total = cursor.fetchone()
    return {
        "table": table,
        "rows": rows,
        "bytes": round(total / rows),
        "heap": round(heap / rows),
        "indexes": round(indexes / rows),
    }


def _seconds(cursor: Any, statement: str) -> float:
    began = time.monotonic()
    cursor.execute(statement)
    return round(time.monotonic() - began, 2)
