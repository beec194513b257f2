"""The calls of Flask-Caching besides memoizing: each obeys the protocol, or refuses.

A key that matches a memoized function names an entry of that function: `get` and `has` read the
entry, `delete` forgets it, and only the function stores it. Any other key names a value that the
caller stores by itself.
"""

from __future__ import annotations

import json
from contextlib import nullcontext
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NoReturn

from flask import g

from shop.config import current_settings
from shop.facts import current_facts
from shop.redis import RedisUnavailable

from .extension import MemoizingCache
from .protocol import EntryState
from .values import VALUE_FAMILY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .memoize import Memoized
    from .values import ValueFamily


class Cache(MemoizingCache):
    """Memoized functions, and values that callers store by the methods of Flask-Caching."""

    def get(self, key: str) -> Any:
        """Return the JSON value under `key` if it is a hit, else None.

        A miss of a value leases its key: the next `set` of this context stores only if nobody has
        deleted or set the value since. Within a transaction every key is a miss.
        """
        document = self._peek(key) if self._function_of(key) else self._read_value(key)
        return json.loads(document) if document else None

    def get_many(self, *keys: str) -> list[Any]:
        return [self.get(key) for key in keys]

    def get_dict(self, *keys: str) -> dict[str, Any]:
        return {key: self.get(key) for key in keys}

    def has(self, key: str) -> bool:
        """Tell whether `key` is a hit; nothing is leased."""
        return bool(self._peek(key))

    def set(self, key: str, value: Any, timeout: float | timedelta | None = None) -> bool:
        """Store a value for `timeout` seconds; tell whether it is stored.

        After a `get` that missed, the value takes the place of the lease. Otherwise it replaces
        the present value. Raises RuntimeError for an entry of a memoized function, and within a
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
        """Store several values, and return the keys of those that are stored."""
        return [key for key, value in mapping.items() if self.set(key, value, timeout)]

    def add(self, key: str, value: Any, timeout: float | timedelta | None = None) -> bool:
        """Store a value if there is none; tell whether it is stored. Raises as `set` does."""
        self._own_name(key)
        leases = _leases()
        if key not in leases:
            self._read_value(key)
        return key in leases and self.set(key, value, timeout)

    def delete(self, key: str) -> bool:
        """Forget an entry or a value, as `delete_memoized` does. Returns True always."""
        self.delete_many(key)
        return True

    def delete_many(self, *keys: str) -> list[str]:
        """Forget entries and values together, and return their keys."""
        names: list[tuple[str, Memoized | ValueFamily]] = []
        for key in keys:
            function = self._function_of(key)
            names.append((key, function) if function else (VALUE_FAMILY.name(key), VALUE_FAMILY))
        self._forget_all(names)
        return list(keys)

    unlink = delete_many

    def clear(self) -> bool:
        """Forget every entry and every value. Quotas stay."""
        everything: list[Memoized | ValueFamily] = [*self.memoized, VALUE_FAMILY]
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
        return VALUE_FAMILY.name(key)

    def _peek(self, key: str) -> bytes | None:
        function = self._function_of(key)
        if function and function.has_tags:
            raise RuntimeError(f"{function.pattern} depends on tags: call {function.name}")
        _keep_edge_from_learning()
        if self.in_transaction:
            return None
        name = key if function else VALUE_FAMILY.name(key)
        try:
            return self.backend.peek([(function or VALUE_FAMILY).generation_key], name)
        except RedisUnavailable:
            return None

    def _read_value(self, key: str) -> bytes | None:
        """Return a value if it is a hit; else note its lease, empty if this reader got none."""
        _keep_edge_from_learning()
        if self.in_transaction:
            return None
        leases = _leases()
        try:
            [entry] = self.backend.read([VALUE_FAMILY.generation_key], [VALUE_FAMILY.name(key)])
        except RedisUnavailable:
            leases.setdefault(key, b"")
            return None
        if entry.state is EntryState.HIT:
            leases.pop(key, None)
            return entry.document
        if entry.state is EntryState.LEASED:
            leases[key] = entry.lease
        leases.setdefault(key, b"")
        return None

    def _replace(self, name: str) -> bytes:
        """Empty a name, and return a lease; the lease is empty if another reader holds it."""
        self.backend.protocol.release([name])
        [entry] = self.backend.read([VALUE_FAMILY.generation_key], [name])
        return entry.lease if entry.state is EntryState.LEASED else b""

    def _forget_all(self, names: Iterable[tuple[str, Memoized | ValueFamily]]) -> None:
        with nullcontext() if self.in_transaction else self.transaction():
            for name, owner in names:
                self._forget(name, owner)


def _keep_edge_from_learning() -> None:
    """Leave answers like this one to Flask: the edge composes answers of documents alone."""
    current_facts().observer = None


def _leases() -> dict[str, bytes]:
    """Return the leases of this context's missed values, by key."""
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
