"""A bare ASGI function with one round trip to Redis: the least that an answer on a loop can cost.

All requests share one connection to Redis, as those of the product do. The script answers what
there is and charges a client; the answer has as many headers as the product's. The bench stores
the whole answer of each address beforehand. Nobody is refused; there is no miss, no write.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

import redis

from shop.redis.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Receive = Callable[[], Awaitable[Any]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]

CHARGE_AND_GET = "return {redis.call('GET', KEYS[1]), redis.call('INCR', KEYS[2])}"
HEADERS = [(b"x-header-%d" % number, b"a value of a header") for number in range(11)]


def connect() -> Any:
    connection: Any = redis.from_url(os.environ["REDIS_URL"]).connection_pool.make_connection()
    connection.connect()
    return connection


pipeline = Pipeline(connect, 1.0, when_lost=lambda _: None, when_pushed=lambda _: None)


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await pipeline.open()
        await send({"type": "lifespan.startup.complete"})
        return
    query: bytes = scope["query_string"]
    address = scope["path"] + (f"?{query.decode()}" if query else "")
    keys = [address, f"used:{scope['client'][0]}"]
    body, _ = await pipeline.evaluate(CHARGE_AND_GET, keys, [])
    status = 404 if body is None else 200
    wanted = dict(scope["headers"]).get(b"if-none-match")
    if body and wanted:
        etag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'.encode()
        status, body = (304, b"") if wanted == etag else (200, body)
    content = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body or b"")),
    ]
    start = {"type": "http.response.start", "status": status, "headers": [*content, *HEADERS]}
    await send(start)
    await send({"type": "http.response.body", "body": body or b""})
