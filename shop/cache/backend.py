"""The Flask-Caching backend: reads of documents in Redis, while the cache may answer.

It has no `get` and no `set`: those of the extension obey the protocol (`flask_caching_calls.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shop.redis import RedisUnavailable, redis_connection

from .protocol import Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask import Flask

    from shop.redis import RedisConnection

    from .outbox_watcher import OutboxWatcher
    from .protocol import Entry


class RedisBackend:
    """One application's reads of documents in Redis."""

    watcher: OutboxWatcher

    def __init__(self, connection: RedisConnection, protocol: Protocol) -> None:
        self.connection = connection
        self.protocol = protocol

    def read(self, generations: Sequence[str], keys: Sequence[str]) -> list[Entry]:
        """Read entries, and lease those that are missing. Raises RedisUnavailable."""
        self._check()
        return self.protocol.read(generations, keys)

    def peek(self, generations: Sequence[str], key: str) -> bytes | None:
        """Return the document of an entry if it is a hit, else None. Raises RedisUnavailable."""
        self._check()
        return self.protocol.peek(generations, key)

    def _check(self) -> None:
        # Every read asks the watcher first, also when the breaker closes at this moment.
        if not (self.connection.available and self.watcher.may_answer()):
            raise RedisUnavailable


def make_backend(app: Flask, *_: Any) -> RedisBackend:
    """Return an application's backend; Flask-Caching calls the function that CACHE_TYPE names."""
    connection = redis_connection(app)
    protocol = Protocol(connection, app.config["SETTINGS"].cache_stale_if_error)
    return RedisBackend(connection, protocol)
