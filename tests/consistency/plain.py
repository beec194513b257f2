"""The positive control: the same calls, cached as Flask-Caching's documentation shows.

A function is memoized, and a write calls `delete_memoized` after its commit.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

from flask import Flask, request
from flask_caching import Cache
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

app = Flask(__name__)
app.config["CACHE_TYPE"] = "RedisCache"
app.config["CACHE_REDIS_URL"] = os.environ["REDIS_URL"]
cache = Cache(app)
engine = create_engine(
    make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+psycopg2"), pool_size=8
)

TABLES = {
    "products": "id, name, description, sku, price::text, stock, category_id, active",
    "categories": "id, name",
}


@cache.memoize(timeout=300)
def row(table: str, identifier: int) -> dict[str, Any] | None:
    with engine.connect() as connection:
        found = (
            connection.execute(
                text(f"SELECT {TABLES[table]} FROM {table} WHERE id = :id"), {"id": identifier}
            )
            .mappings()
            .one_or_none()
        )
    return dict(found) if found else None


@cache.memoize(timeout=300)
def page(table: str) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        rows = connection.execute(text(f"SELECT {TABLES[table]} FROM {table} ORDER BY id"))
        return [dict(one) for one in rows.mappings()]


CONDITIONS = {
    "category_id": "category_id = :category_id",
    "min_price": "price >= :min_price",
    "max_price": "price <= :max_price",
    "in_stock": "(stock > 0) = :in_stock",
    "active": "active = :active",
    "q": "name ILIKE '%' || :q || '%' OR sku ILIKE '%' || :q || '%'",
    "sku": "sku = :sku",
    "id": "id = :id",
}
LISTED = {"name", "price", "category_id", "active", "sku"}
ORDERS = {"price": "price, id", "-price": "price DESC, id", "name": "name, id"}


@cache.memoize(timeout=300)
def found(query: tuple[tuple[str, str], ...]) -> list[dict[str, Any]]:
    sent = {"active": "true", **dict(query)}
    sent["sku"] = sent.get("sku", "").partition(",")[0]
    where = " AND ".join(
        f"({CONDITIONS[name]})" for name in sent if sent[name] and name in CONDITIONS
    )
    order = ORDERS.get(sent.get("sort", ""), "id")
    statement = f"SELECT {TABLES['products']} FROM products WHERE {where} ORDER BY {order}"
    with engine.connect() as connection:
        return [dict(one) for one in connection.execute(text(statement), sent).mappings()]


def counts(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what a page of these rows counts."""
    categories, prices = (Counter(row[name] for row in rows) for name in ("category_id", "price"))
    there = sum(row["stock"] > 0 for row in rows)
    return {
        "category": [{"id": one, "count": n} for one, n in categories.items()],
        "price": [{"from": one, "count": n} for one, n in prices.items()],
        "in_stock": {"true": there, "false": len(rows) - there},
    }


def changes_lists(table: str, identifier: int, fields: dict[str, Any]) -> bool:
    """Tell whether a change brings a product into a list, out of one, or to another place."""
    if table != "products":
        return False
    if fields.keys() & LISTED:
        return True
    before = row(table, identifier)
    return "stock" in fields and (not before or (before["stock"] > 0) != (fields["stock"] > 0))


def write(table: str, statement: str, values: dict[str, Any], *, lists: bool = True) -> int | None:
    with engine.begin() as connection:
        identifier: int | None = connection.execute(text(statement), values).scalar()
    if identifier:
        cache.delete_memoized(row, table, identifier)
    cache.delete_memoized(page)
    if lists:
        cache.delete_memoized(found)
    return identifier


@app.get("/health_check")
def health_check() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/products")
def list_products() -> dict[str, Any]:
    sent = request.args.to_dict()
    if sent.keys() <= {"skip", "limit"}:
        return {"items": page("products")}
    rows = found(tuple(sorted(sent.items())))
    body: dict[str, Any] = {"items": rows}
    if "total" in sent:
        body["total"] = {"count": len(rows)}
    if "facets" in sent:
        body["facets"] = {sent["facets"]: counts(rows)[sent["facets"]]}
    return body


@app.get("/categories")
def list_categories() -> dict[str, Any]:
    counted = counts(found(()))["category"]
    return {"items": [{"id": one["id"], "product_count": one["count"]} for one in counted]}


@app.get("/search/suggest")
def suggest() -> dict[str, Any]:
    rows = found((("q", request.args["q"]),))
    return {"items": [{"kind": "product", "id": row["id"], "text": row["name"]} for row in rows]}


@app.get("/<any(products, categories):table>/<int:identifier>")
def get(table: str, identifier: int) -> Any:
    return row(table, identifier) or ({"status": 404}, 404)


@app.post("/<any(products, categories):table>")
def create(table: str) -> tuple[dict[str, Any], int]:
    fields = request.get_json()
    names = ", ".join(fields)
    values = ", ".join(f":{name}" for name in fields)
    statement = f"INSERT INTO {table} ({names}) VALUES ({values}) RETURNING id"
    return {"id": write(table, statement, fields)}, 201


@app.patch("/<any(products, categories):table>/<int:identifier>")
def change(table: str, identifier: int) -> Any:
    fields = request.get_json()
    changes = ", ".join(f"{name} = :{name}" for name in fields)
    statement = f"UPDATE {table} SET {changes} WHERE id = :id RETURNING id"
    lists = changes_lists(table, identifier, fields)
    write(table, statement, {**fields, "id": identifier}, lists=lists)
    return {"id": identifier}


@app.delete("/<any(products, categories):table>/<int:identifier>")
def delete(table: str, identifier: int) -> Any:
    found = write(table, f"DELETE FROM {table} WHERE id = :id RETURNING id", {"id": identifier})
    return ("", 204) if found else ({"status": 404}, 404)
