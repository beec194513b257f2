"""The event loop of a worker: cached reads in one round trip to Redis, ahead of Flask.

`Edge` is an ASGI application around the WSGI one. One script charges the limits of a request and
reads what it asks for; the answer (200, 304 or 429) is the one that Flask would give, made by the
same functions.

What an address needs is learnt from Flask's own answer: where it was routed, what it was charged,
which documents it was made of. It is learnt only if the edge would have answered the same, header
for header. The rows of a route are one address: each ends with the id that its key ends with.

Whatever is no plain hit goes on into Flask, in a thread: another method, a body, an API key, a
session that is not cached, a miss, a writer under way, a Redis that is away. What has been charged
by then is not charged again.

`worker.py` is the worker class of gunicorn that serves it, `protocol.py` what a connection may do.
"""

from __future__ import annotations

from .application import Edge

__all__ = ["Edge"]
