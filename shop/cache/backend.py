"""The Flask-Caching backend: JSON in Redis.

An entry of a memoized function is two lines: the generation that it belongs to, and the JSON.
Each function has one current generation, a unique value under a key of its own. Giving the
function a new one forgets all its entries at once; a lost one costs hits, and never brings an
old entry back.
"""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

import redis
from flask_caching.backends.base import BaseCache

from shop.redis import RedisConnection, RedisUnavailable, redis_connection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from flask import Flask


class Entries(NamedTuple):
    """What was read: the generation to fill with, and each key's document or None."""

    generation: bytes
    documents: list[bytes | None]


class RedisBackend(BaseCache):
    """Documents of memoized functions, and plain values for `cache.get` and `cache.set`."""

    def __init__(self, connection: RedisConnection, default_timeout: int) -> None:
        super().__init__(default_timeout=default_timeout)
        self._connection = connection

    @classmethod
    def factory(
        cls, app: Flask, config: dict[str, Any], _args: list[Any], _kwargs: dict[str, Any]
    ) -> RedisBackend:
        return cls(redis_connection(app), config["CACHE_DEFAULT_TIMEOUT"])

    @property
    def enabled(self) -> bool:
        return self._connection.enabled

    # Documents. These raise RedisUnavailable.

    def read(self, generation_key: str, keys: Sequence[str]) -> Entries:
        """Read the current documents under `keys`, in one round trip."""
        generation, *entries = self._connection.call(
            lambda client: _get_many(client, [generation_key, *keys])
        )
        if generation is None:
            return Entries(new_generation(), [None] * len(keys))
        return Entries(generation, [_document(entry, generation) for entry in entries])

    def fill(
        self, generation_key: str, generation: bytes, documents: Mapping[str, bytes], ttl: int
    ) -> None:
        """Store documents read in `generation`, for `ttl` seconds, in one round trip.

        If the generation has moved since, they are stored in vain: no read takes them.
        """

        def command(client: Any) -> None:
            pipeline = client.pipeline(transaction=False)
            pipeline.set(generation_key, generation, nx=True)
            for key, document in documents.items():
                pipeline.set(key, generation + b"\n" + document, ex=ttl)
            pipeline.execute()

        self._connection.call(command)

    def forget(self, key: str) -> None:
        self._connection.call(lambda client: client.delete(key))

    def forget_all(self, generation_key: str) -> None:
        """Forget every document of the generation, however many there are, in one command."""

        def command(client: Any) -> None:
            try:
                client.set(generation_key, new_generation())
            except redis.OutOfMemoryError:
                client.delete(generation_key)  # which a full Redis still does

        self._connection.call(command)

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
            return self._connection.call(command)
        except RedisUnavailable:
            return None


def new_generation() -> bytes:
    return secrets.token_hex(8).encode()


def _document(entry: bytes | None, generation: bytes) -> bytes | None:
    stamp, _, document = (entry or b"").partition(b"\n")
    return document if stamp == generation and document else None


def _get_many(client: Any, keys: list[str]) -> list[bytes | None]:
    if isinstance(client, redis.RedisCluster):
        return client.mget_nonatomic(keys)
    values: list[bytes | None] = client.mget(keys)
    return values
