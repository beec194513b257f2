"""The event loop of a worker: cached reads in one round trip to Redis, ahead of Flask.

`Edge` is an ASGI application around the WSGI one. One script charges the limits of a request and
reads what it asks for; the answer (200, 304 or 429) is the one that Flask would give, made by the
same functions.

The edge learns the plan of a URL from Flask's own answer: its route, its charges, and the documents
that it was made of. It keeps a plan only if it would have answered the same, header for header. The
rows of a route share one plan: the id of a row ends both its path and its key.

Every other request goes on into Flask, in a thread: another method, a body, an API key, a session
that is not cached, a miss, a writer under way, a Redis that is away. A charge that was made before
that is not made again.

`worker.py` is gunicorn's worker class, `protocol.py` the rules of a connection.
"""

from __future__ import annotations

from .application import Edge

__all__ = ["Edge"]
