"""The positive control: the same calls, cached as Flask-Caching's documentation shows.

A function is memoized, and a write calls `delete_memoized` after its commit.
"""

from __future__ import annotations

import os
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
    "products": "id, name, description, stock, category_id, active",
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


def write(table: str, statement: str, values: dict[str, Any]) -> int | None:
    with engine.begin() as connection:
        identifier: int | None = connection.execute(text(statement), values).scalar()
    if identifier:
        cache.delete_memoized(row, table, identifier)
    cache.delete_memoized(page)
    return identifier


@app.get("/health_check")
def health_check() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/products")
def list_products() -> dict[str, Any]:
    return {"items": page("products")}


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
    write(table, statement, {**fields, "id": identifier})
    return {"id": identifier}


@app.delete("/<any(products, categories):table>/<int:identifier>")
def delete(table: str, identifier: int) -> Any:
    found = write(table, f"DELETE FROM {table} WHERE id = :id RETURNING id", {"id": identifier})
    return ("", 204) if found else ({"status": 404}, 404)
