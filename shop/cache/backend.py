"""The Flask-Caching backend: the documents of memoized functions, and plain values, in Redis."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flask_caching.backends.base import BaseCache

from shop.redis import RedisConnection, RedisUnavailable, redis_connection

from .protocol import Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from flask import Flask

    from .protocol import Entry
    from .watch import Watch


class RedisBackend(BaseCache):
    """Documents of memoized functions, and plain values for `cache.get` and `cache.set`."""

    watch: Watch

    def __init__(self, connection: RedisConnection, protocol: Protocol, ttl: int) -> None:
        super().__init__(default_timeout=ttl)
        self.connection = connection
        self.protocol = protocol

    @classmethod
    def factory(
        cls, app: Flask, config: dict[str, Any], _args: list[Any], _kwargs: dict[str, Any]
    ) -> RedisBackend:
        connection = redis_connection(app)
        protocol = Protocol(connection, app.config["SETTINGS"].cache_stale_if_error)
        return cls(connection, protocol, config["CACHE_DEFAULT_TIMEOUT"])

    def read(self, generations: Sequence[str], keys: Sequence[str]) -> list[Entry]:
        """Read entries, and lease those that are missing. Raises RedisUnavailable."""
        self._check()
        return self.protocol.read(generations, keys)

    def peek(self, generations: Sequence[str], key: str) -> bytes | None:
        """Return the document of an entry if it is a hit, else None. Raises RedisUnavailable."""
        self._check()
        return self.protocol.peek(generations, key)

    def _check(self) -> None:
        # Without asking the watch nothing is read, not even if the breaker closes at this moment.
        if not (self.connection.available and self.watch.vouches()):
            raise RedisUnavailable

    # Flask-Caching's own interface. Without Redis: nothing found, nothing stored.

    def get(self, key: str) -> Any:
        entry = self._try(key, lambda client, name: client.get(name))
        return None if entry is None else json.loads(entry.rpartition(b"\n")[2])

    def set(self, key: str, value: Any, timeout: int | timedelta | None = None) -> bool | None:
        return self._store(key, value, timeout)

    def add(self, key: str, value: Any, timeout: int | timedelta | None = None) -> bool:
        return self._store(key, value, timeout, nx=True)

    def has(self, key: str) -> bool:
        return bool(self._try(key, lambda client, name: client.exists(name)))

    def delete(self, key: str) -> bool:
        return bool(self._try(key, lambda client, name: client.delete(name)))

    def clear(self) -> bool:
        """Do nothing: the database holds more than the cache. Use `delete_memoized`."""
        return False

    def _store(
        self, key: str, value: Any, timeout: int | timedelta | None, *, nx: bool = False
    ) -> bool:
        ttl = self.default_timeout if timeout is None else timeout
        data = json.dumps(value, separators=(",", ":"))
        expires = ttl or None
        return bool(self._try(key, lambda client, name: client.set(name, data, ex=expires, nx=nx)))

    def _try(self, key: str, command: Callable[[Any, str], Any]) -> Any:
        name = f"{self.connection.prefix}{key}"
        try:
            return self.connection.call(lambda client: command(client, name), key=name)
        except RedisUnavailable:
            return None
