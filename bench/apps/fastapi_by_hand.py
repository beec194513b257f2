"""FastAPI written by hand to be fast: one round trip for a hit, its limit and its headers.

A fixed window, a stored ETag, answers that are bytes, no model on the way of a hit. A change
forgets the product; the pages that show it stay until they expire.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import asyncpg
from fastapi import FastAPI, Request, Response
from redis import asyncio as aioredis

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Load = Callable[[Request], Awaitable[Any]]

QUOTA, PERIOD = int(os.environ["QUOTA"]), os.environ["PERIOD"]
AUTHORIZATION = f"Bearer {os.environ['WRITE_KEY']}"
TTL = 300  # seconds
ETAG = 26  # bytes before the JSON of a stored document

# Charge a client's window, and get the document if it may have it.
CHARGE_AND_GET = """
local used = redis.call('INCR', KEYS[1])
if used == 1 then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
local found = used <= tonumber(ARGV[1]) and redis.call('GET', KEYS[2])
return {used, redis.call('TTL', KEYS[1]), found}
"""
# The other columns are what the service finds products by.
SHOWN = "id,name,description,sku,price,currency,stock,category_id,active,created_at,updated_at"
PRODUCT = f"SELECT {SHOWN} FROM products WHERE id = $1"  # noqa: S608  (all of it is in this file)
PAGE = f"SELECT {SHOWN} FROM products ORDER BY id OFFSET $1 LIMIT $2"  # noqa: S608  (the same)
CHANGE = f"""
UPDATE products SET stock = $1, updated_at = clock_timestamp() WHERE id = $2 RETURNING {SHOWN}
"""  # noqa: S608  (the same)

store = aioredis.from_url(os.environ["REDIS_URL"], socket_timeout=1, socket_connect_timeout=1)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.script = await store.script_load(CHARGE_AND_GET)
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=1, max_size=8) as pool:
        app.state.database = pool
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/products/{product_id:int}")
async def product(request: Request) -> Response:
    return await _read(request, f"product:{request.path_params['product_id']}", _load_product)


@app.get("/products")
async def products(request: Request) -> Response:
    return await _read(request, f"products:{request.url.query}", _load_page)


@app.patch("/products/{product_id:int}")
async def change(request: Request) -> Response:
    product_id = request.path_params["product_id"]
    used, _, headers = await _charge(request, "")
    if used > QUOTA:
        return Response(status_code=429, headers=headers)
    if request.headers.get("authorization") != AUTHORIZATION:
        return Response(status_code=401, headers=headers)
    stock = int((await request.json())["stock"])
    row = await app.state.database.fetchrow(CHANGE, stock, product_id)
    if row is None:
        return Response(status_code=404, headers=headers)
    await store.delete(f"product:{product_id}")
    return Response(_json(dict(row)), headers=headers, media_type="application/json")


async def _read(request: Request, key: str, load: Load) -> Response:
    used, stored, headers = await _charge(request, key)
    if used > QUOTA:
        headers["Retry-After"] = headers["X-RateLimit-Reset"]
        return Response(b'{"detail":"Too many requests"}', 429, headers, "application/json")
    if stored is None:
        stored = await _fill(key, await load(request))
    if stored is None:
        return Response(status_code=404, headers=headers)
    headers["ETag"] = etag = stored[:ETAG].decode()
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(stored[ETAG:], headers=headers, media_type="application/json")


async def _charge(request: Request, key: str) -> tuple[int, bytes | None, dict[str, str]]:
    """Charge the client; return what it has used, the document at `key`, and the headers."""
    client = f"limit:{request.client.host}"
    used, left, stored = await store.evalsha(app.state.script, 2, client, key, QUOTA, PERIOD)
    headers = {
        "X-RateLimit-Limit": str(QUOTA),
        "X-RateLimit-Remaining": str(max(0, QUOTA - used)),
        "X-RateLimit-Reset": str(left),
    }
    return used, stored, headers


async def _load_product(request: Request) -> Any:
    row = await app.state.database.fetchrow(PRODUCT, request.path_params["product_id"])
    return row and dict(row)


async def _load_page(request: Request) -> Any:
    skip = int(request.query_params.get("skip", 0))
    limit = int(request.query_params.get("limit", 10))
    rows = await app.state.database.fetch(PAGE, skip, limit)
    return {"items": [dict(row) for row in rows], "skip": skip, "limit": limit}


async def _fill(key: str, value: Any) -> bytes | None:
    if value is None:
        return None
    body = _json(value)
    stored = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'.encode() + body
    await store.set(key, stored, ex=TTL)
    return stored


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), default=_plain).encode()


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
