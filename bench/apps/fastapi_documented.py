"""fastapi-cache2 and slowapi on Redis, used as their documentation shows. It has no write."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi_cache import FastAPICache
from fastapi_cache.backends.redis import RedisBackend
from fastapi_cache.decorator import cache
from redis import asyncio as aioredis
from slowapi import Limiter, _rate_limit_exceeded_handler
from slowapi.errors import RateLimitExceeded
from slowapi.util import get_remote_address
from sqlalchemy import select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from bench.apps.model import Product, document

REDIS = os.environ["REDIS_URL"]
QUOTA = f"{os.environ['QUOTA']} per {os.environ['PERIOD']} second"

engine = create_async_engine(os.environ["DATABASE_URL"].replace(":", "+asyncpg:", 1))
Session = async_sessionmaker(engine)
limiter = Limiter(
    key_func=get_remote_address,
    storage_uri=REDIS.replace("unix:", "redis+unix:"),
    headers_enabled=True,
)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    FastAPICache.init(RedisBackend(aioredis.from_url(REDIS)), prefix="fastapi-cache")
    yield


app = FastAPI(lifespan=lifespan)
app.state.limiter = limiter
app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)


@app.get("/products/{product_id}")
@limiter.limit(QUOTA)
@cache(expire=300)
async def product(request: Request, response: Response, product_id: int) -> dict[str, Any]:
    async with Session() as session:
        row = await session.get(Product, product_id)
    if row is None:
        raise HTTPException(404)
    return document(row)


@app.get("/products")
@limiter.limit(QUOTA)
@cache(expire=300)
async def products(
    request: Request, response: Response, skip: int = 0, limit: int = 10
) -> dict[str, Any]:
    async with Session() as session:
        found = select(Product).order_by(Product.id).offset(skip).limit(limit)
        rows = (await session.scalars(found)).all()
    return {"items": [document(row) for row in rows], "skip": skip, "limit": limit}
