"""Flask-Caching and Flask-Limiter on Redis, used as their documentation shows."""

from __future__ import annotations

import os
from typing import Any

from flask import Flask, abort, request
from flask_caching import Cache
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import select

from bench.apps.model import Base, Product, document

REDIS = os.environ["REDIS_URL"]

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"].replace(
    "postgresql:", "postgresql+psycopg2:"
)
db = SQLAlchemy(app, model_class=Base)
cache = Cache(app, config={"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": REDIS})
limiter = Limiter(
    get_remote_address,
    app=app,
    default_limits=[f"{os.environ['QUOTA']} per {os.environ['PERIOD']} second"],
    storage_uri=REDIS.replace("unix:", "redis+unix:"),
    strategy="fixed-window",
    headers_enabled=True,
)


@cache.memoize(300)
def load(product_id: int) -> dict[str, Any] | None:
    row = db.session.get(Product, product_id)
    return document(row) if row else None


@app.get("/products/<int:product_id>")
def product(product_id: int) -> dict[str, Any]:
    return load(product_id) or abort(404)


@app.get("/products")
@cache.cached(timeout=300, query_string=True)
def products() -> dict[str, Any]:
    skip = request.args.get("skip", 0, type=int)
    limit = request.args.get("limit", 10, type=int)
    rows = db.session.scalars(select(Product).order_by(Product.id).offset(skip).limit(limit))
    return {"items": [document(row) for row in rows], "skip": skip, "limit": limit}


@app.patch("/products/<int:product_id>")
def change(product_id: int) -> dict[str, Any]:
    if request.headers.get("Authorization") != f"Bearer {os.environ['WRITE_KEY']}":
        abort(401)
    row = db.get_or_404(Product, product_id)
    row.stock = int(request.get_json()["stock"])
    db.session.commit()
    cache.delete_memoized(load, product_id)
    return document(row)
