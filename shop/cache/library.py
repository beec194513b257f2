"""The other calls of Flask-Caching: each obeys the protocol, or refuses.

A key that a memoized function has names one of its entries, which can be read, looked for and
forgotten by the key, and is stored by the function alone. Any other key names a value of the
caller's own.
"""

from __future__ import annotations

import json
from contextlib import nullcontext
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NoReturn

from flask import g

from shop.config import current_settings
from shop.facts import facts
from shop.redis import RedisUnavailable

from .extension import Cache
from .protocol import State
from .values import VALUES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .memoize import Memoized
    from .values import Values


class LibraryCache(Cache):
    """Memoized functions, and values of the caller's own by the methods of Flask-Caching."""

    def get(self, key: str) -> Any:
        """Return what JSON says under `key` if it is a hit, else None.

        A miss of a value leases it: the next `set` of this context stores it only if nobody has
        deleted or set it since. Within a transaction everything is a miss.
        """
        document = self._peek(key) if self._function_of(key) else self._look(key)
        return json.loads(document) if document else None

    def get_many(self, *keys: str) -> list[Any]:
        return [self.get(key) for key in keys]

    def get_dict(self, *keys: str) -> dict[str, Any]:
        return {key: self.get(key) for key in keys}

    def has(self, key: str) -> bool:
        """Tell whether `key` is a hit; nothing is leased."""
        return bool(self._peek(key))

    def set(self, key: str, value: Any, timeout: float | timedelta | None = None) -> bool:
        """Store a value of the caller's own for `timeout` seconds; tell whether it is stored.

        After a `get` that missed, it takes the place of the lease of that. Otherwise it replaces
        what is there. Raises RuntimeError for an entry of a memoized function, and within a
        transaction.
        """
        document, ttl = _encode(value), _seconds(timeout)
        name = self._own_name(key)
        leases = _leases()
        try:
            lease = leases.pop(key) if key in leases else self._replace(name)
            if not lease:
                return False
            return bool(self.backend.protocol.fill({name: (lease, ttl, document)}))
        except RedisUnavailable:
            return False

    def set_many(
        self, mapping: Mapping[str, Any], timeout: float | timedelta | None = None
    ) -> list[str]:
        """Set each, and return the keys of those that are stored."""
        return [key for key, value in mapping.items() if self.set(key, value, timeout)]

    def add(self, key: str, value: Any, timeout: float | timedelta | None = None) -> bool:
        """Store a value if there is none; tell whether it is stored. Raises what `set` does."""
        self._own_name(key)
        leases = _leases()
        if key not in leases:
            self._look(key)
        return key in leases and self.set(key, value, timeout)

    def delete(self, key: str) -> bool:
        """Forget an entry or a value, as `delete_memoized` does; it is gone then."""
        self.delete_many(key)
        return True

    def delete_many(self, *keys: str) -> list[str]:
        """Forget entries and values together, and return their keys."""
        names: list[tuple[str, Memoized | Values]] = []
        for key in keys:
            function = self._function_of(key)
            names.append((key, function) if function else (VALUES.name(key), VALUES))
        self._forget_all(names)
        return list(keys)

    unlink = delete_many

    def clear(self) -> bool:
        """Forget every entry and every value. Quotas stay."""
        everything: list[Memoized | Values] = [*self.memoized, VALUES]
        self._forget_all((one.generation_key, one) for one in everything)
        return True

    def cached(self, *_: Any, **__: Any) -> NoReturn:
        _refuse("cached", "memoize what the view reads with cache.memoize or cache.memoize_many")

    def delete_cached(self, *_: Any, **__: Any) -> NoReturn:
        _refuse("delete_cached", "cache.delete_memoized")

    def delete_memoized_verhash(self, *_: Any, **__: Any) -> NoReturn:
        _refuse("delete_memoized_verhash", "cache.delete_memoized with the function alone")

    def _function_of(self, key: str) -> Memoized | None:
        return next((one for one in self.memoized if fnmatchcase(key, one.pattern)), None)

    def _own_name(self, key: str) -> str:
        """Return the name of a value that may be stored. Raises RuntimeError."""
        if function := self._function_of(key):
            raise RuntimeError(f"{function.pattern} is stored by {function.name} alone: call it")
        if self.in_transaction:
            raise RuntimeError("a value is to be set after cache.transaction(): it may roll back")
        return VALUES.name(key)

    def _peek(self, key: str) -> bytes | None:
        function = self._function_of(key)
        if function and function.has_tags:
            raise RuntimeError(f"{function.pattern} depends on tags: call {function.name}")
        _let_nobody_learn()
        if self.in_transaction:
            return None
        name = key if function else VALUES.name(key)
        try:
            return self.backend.peek([(function or VALUES).generation_key], name)
        except RedisUnavailable:
            return None

    def _look(self, key: str) -> bytes | None:
        """Return a value if it is a hit; else note its lease, empty if this reader has none."""
        _let_nobody_learn()
        if self.in_transaction:
            return None
        leases = _leases()
        try:
            [entry] = self.backend.read([VALUES.generation_key], [VALUES.name(key)])
        except RedisUnavailable:
            leases.setdefault(key, b"")
            return None
        if entry.state is State.HIT:
            leases.pop(key, None)
            return entry.document
        if entry.state is State.LEASED:
            leases[key] = entry.lease
        leases.setdefault(key, b"")
        return None

    def _replace(self, name: str) -> bytes:
        """Drop what is under a name, and return a lease; empty where another has it."""
        self.backend.protocol.release([name])
        [entry] = self.backend.read([VALUES.generation_key], [name])
        return entry.lease if entry.state is State.LEASED else b""

    def _forget_all(self, names: Iterable[tuple[str, Memoized | Values]]) -> None:
        with nullcontext() if self.in_transaction else self.transaction():
            for name, of in names:
                self._forget(name, of)


def _let_nobody_learn() -> None:
    """Leave the current answer to Flask: the edge composes answers of documents alone."""
    facts().observer = None


def _leases() -> dict[str, bytes]:
    """Return the leases of the values that this context has missed, by key."""
    leases: dict[str, bytes] = g.setdefault("cache_leases", {})
    return leases


def _encode(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def _seconds(timeout: float | timedelta | None) -> float:
    if timeout is None:
        return current_settings().redis_cache_ttl
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if seconds <= 0:
        raise ValueError("a value has a time to live: give seconds above 0")
    return seconds


def _refuse(call: str, instead: str) -> NoReturn:
    raise RuntimeError(f"cache.{call} is not supported, it would answer what is stale: {instead}")
