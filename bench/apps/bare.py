"""A bare WSGI function with one round trip to Redis: the least that an answer can cost.

The bench stores the whole answer of each address beforehand. There is no limit, no miss, no write.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

import redis

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

store = redis.from_url(os.environ["REDIS_URL"], socket_timeout=1, socket_connect_timeout=1)


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    query = environ["QUERY_STRING"]
    address = environ["PATH_INFO"] + (f"?{query}" if query else "")
    body: Any = store.get(address)
    if body is None:
        start_response("404 Not Found", [("Content-Length", "0")])
        return []
    if wanted := environ.get("HTTP_IF_NONE_MATCH"):
        etag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
        if wanted == etag:
            start_response("304 Not Modified", [("ETag", etag)])
            return []
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]
