"""The Flask-Caching backend: the documents of memoized functions, and plain values, in Redis."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flask_caching.backends.base import BaseCache
from sqlalchemy.exc import SQLAlchemyError

from shop.redis import RedisConnection, RedisUnavailable, redis_connection

from .protocol import Entry, Protocol, State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from flask import Flask

ATTEMPTS = 5


class RedisBackend(BaseCache):
    """Documents of memoized functions, and plain values for `cache.get` and `cache.set`."""

    def __init__(self, connection: RedisConnection, protocol: Protocol, ttl: int) -> None:
        super().__init__(default_timeout=ttl)
        self.connection = connection
        self.protocol = protocol
        self._vouched = 0  # connections that had been made when the outbox was last seen empty

    @classmethod
    def factory(
        cls, app: Flask, config: dict[str, Any], _args: list[Any], _kwargs: dict[str, Any]
    ) -> RedisBackend:
        connection = redis_connection(app)
        protocol = Protocol(connection, app.config["SETTINGS"].cache_stale_if_error)
        return cls(connection, protocol, config["CACHE_DEFAULT_TIMEOUT"])

    def read(
        self, generation: str, keys: Sequence[str], token: str, replay: Callable[[], object]
    ) -> list[Entry]:
        """Read entries through connections that were made before the outbox was seen empty.

        A new connection may lead to a Redis that was away while somebody wrote: what was read
        through it counts only once `replay` has been called. Raises RedisUnavailable.
        """
        for _ in range(ATTEMPTS):
            made = self.connection.made
            if made != self._vouched:
                try:
                    replay()
                except SQLAlchemyError:
                    return self._unvouched(generation, keys, token)
                self._vouched = made
            entries = self.protocol.read(generation, keys, token)
            if self.connection.made == made:
                return entries
        raise RedisUnavailable

    def _unvouched(self, generation: str, keys: Sequence[str], token: str) -> list[Entry]:
        """Without the database: entries that may be served in need, but are no hits."""
        entries = self.protocol.read(generation, keys, token)
        return [
            entry._replace(state=State.SUSPENDED) if entry.state is State.HIT else entry
            for entry in entries
        ]

    def suspend(self, names: Sequence[str], writer: str) -> bool:
        """Suspend names before a COMMIT; tell whether Redis has confirmed it.

        This tries Redis even with the breaker open: others may reach it by now. A Redis that hangs
        is left the command, and does it before it answers any reader that comes later.
        """
        if self.protocol.suspend_unheard(names, writer):
            return False
        try:
            self.protocol.suspend(names, writer)
        except RedisUnavailable:
            return False
        return True

    # Flask-Caching's own interface. Without Redis: nothing found, nothing stored.

    def get(self, key: str) -> Any:
        entry = self._try(lambda client: client.get(key))
        return None if entry is None else json.loads(entry.rpartition(b"\n")[2])

    def set(self, key: str, value: Any, timeout: int | timedelta | None = None) -> bool | None:
        return self._store(key, value, timeout)

    def add(self, key: str, value: Any, timeout: int | timedelta | None = None) -> bool:
        return self._store(key, value, timeout, nx=True)

    def has(self, key: str) -> bool:
        return bool(self._try(lambda client: client.exists(key)))

    def delete(self, key: str) -> bool:
        return bool(self._try(lambda client: client.delete(key)))

    def clear(self) -> bool:
        """Do nothing: the database holds more than the cache. Use `delete_memoized`."""
        return False

    def _store(
        self, key: str, value: Any, timeout: int | timedelta | None, *, nx: bool = False
    ) -> bool:
        ttl = self.default_timeout if timeout is None else timeout
        data = json.dumps(value, separators=(",", ":"))
        return bool(self._try(lambda client: client.set(key, data, ex=ttl or None, nx=nx)))

    def _try(self, command: Any) -> Any:
        try:
            return self.connection.call(command)
        except RedisUnavailable:
            return None
