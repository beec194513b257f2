"""Cached reads in one round trip to Redis, ahead of Flask.

A wrapper of the WSGI application. One script charges the limits of a request and reads what it
asks for; the answer (200, 304 or 429) is the one that Flask would give, made by the same functions.

What an address needs is learnt from Flask's own answer: where it was routed, what it was charged,
which documents it was made of. It is learnt only if the edge would have answered the same, header
for header. The rows of a route are one address: each ends with the id that its key ends with.

Whatever is no plain hit goes on into Flask: another method, a body, an API key, a session that is
not cached, a miss, a writer under way, a Redis that is away. What has been charged by then is not
charged again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shop.redis import redis_connection

from .addresses import Addresses
from .middleware import Edge

if TYPE_CHECKING:
    from flask import Flask

__all__ = ["Edge", "init_app"]


def init_app(app: Flask) -> None:
    """Put an edge in front of the application, if one can help it.

    On a cluster a script does not reach every key; without Redis there is nothing to read.
    """
    connection = redis_connection(app)
    if not app.config["SETTINGS"].edge_enabled or connection.is_cluster or not connection.enabled:
        return
    addresses = Addresses()
    app.before_request(addresses.expect)
    app.after_request_funcs[None].insert(0, addresses.learn)  # it runs last: the answer is whole
    app.wsgi_app = Edge(app, addresses)  # type: ignore[method-assign]
