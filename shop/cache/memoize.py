"""Memoize functions that return JSON documents; forget what a write changes.

    @cache.memoize_many(key="products:id:{product_id}", ttl="redis_cache_ttl")
    def product_documents(product_ids): ...      # -> {product_id: JSON bytes}

    cache.delete_memoized(product_documents, 7)  # forget one
    cache.delete_memoized(product_documents)     # forget all, at once

A memoized function is what it was without Redis: when Redis is off or cannot be reached, every
call computes. A document is encoded once, when it is computed; a hit returns those bytes.
"""

from __future__ import annotations

import functools
import inspect
import logging
import re
from enum import IntEnum
from string import Formatter
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, cast

from flask import g, has_app_context
from flask_caching import Cache as FlaskCache
from flask_caching.signals import cache_memoize_hit, cache_memoize_miss

from shop.config import current_settings
from shop.redis import RedisUnavailable

from .metrics import ERRORS, INVALIDATIONS, READS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .backend import RedisBackend

logger = logging.getLogger("shop.cache")

P = ParamSpec("P")


class Outcome(IntEnum):
    """How a request's documents were had; the least favourable one counts."""

    HIT = 1
    MISS = 2
    BYPASS = 3


def cache_outcome() -> Outcome | None:
    """Return the outcome of the current request so far, None if it read no document."""
    return g.get("cache_outcome") if has_app_context() else None


class Memoized:
    """What every memoized function has: its keys, its time to live, its place in the log."""

    def __init__(self, cache: Cache, function: Callable[..., Any], key: str, ttl: str) -> None:
        functools.update_wrapper(self, function)  # type: ignore[arg-type]
        self.name = f"{function.__module__.split('.')[-2]}.{function.__name__}"
        self.uncached = function
        self.key = key
        self.family = _family(key)
        self.pattern = re.sub("{.*?}", "*", key)
        self.generation_key = f"{self.family}:generation"
        self.ttl = ttl
        self._cache = cache

    def arguments(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Name the arguments of one document as the key's template does."""
        raise NotImplementedError

    def _read(
        self, keys: Sequence[str], compute: Callable[[list[int]], Mapping[int, bytes]]
    ) -> list[bytes | None]:
        """Return the documents under `keys`; `compute` gives those at the positions it is told.

        A position that `compute` leaves out has no document; nothing is stored for it.
        """
        backend = self._cache.backend
        try:
            generation, documents = backend.read(self.generation_key, keys)
        except RedisUnavailable:
            self._count(Outcome.BYPASS, keys)
            computed = compute(list(range(len(keys))))
            return [computed.get(position) for position in range(len(keys))]
        missing = [position for position, found in enumerate(documents) if found is None]
        self._count(
            Outcome.HIT, [keys[i] for i, found in enumerate(documents) if found is not None]
        )
        if missing:
            self._count(Outcome.MISS, [keys[position] for position in missing])
            computed = compute(missing)
            for position, document in computed.items():
                documents[position] = document
            self._fill(generation, {keys[i]: document for i, document in computed.items()})
        return documents

    def _fill(self, generation: bytes, documents: Mapping[str, bytes]) -> None:
        if not documents:
            return
        ttl: int = getattr(current_settings(), self.ttl)
        try:
            self._cache.backend.fill(self.generation_key, generation, documents, ttl)
        except RedisUnavailable as error:  # the answer is right without it
            ERRORS.labels(self.name).inc()
            if error.__cause__:
                logger.warning("Cache could not store %s: %s", self.family, error.__cause__)

    def _count(self, outcome: Outcome, keys: Sequence[str]) -> None:
        if not keys:
            return
        g.cache_outcome = max(outcome, g.get("cache_outcome", outcome))
        READS.labels(self.name, outcome.name.lower()).inc(len(keys))
        if logger.isEnabledFor(logging.DEBUG):
            for key in keys:
                logger.debug("Cache %s: %s", outcome.name, key)
        signal = {Outcome.HIT: cache_memoize_hit, Outcome.MISS: cache_memoize_miss}.get(outcome)
        if signal and signal.receivers:
            for key in keys:
                signal.send(self._cache, cache_key=key, f=self.uncached)

    def forget(self, **arguments: Any) -> None:
        """Forget the document of these arguments, or every document without arguments.

        Where Redis cannot be told, the write stands, and the log says what was not forgotten.
        """
        backend = self._cache.backend
        if not backend.enabled:
            return
        what = self.key.format(**arguments) if arguments else f"every {self.family} entry"
        try:
            if arguments:
                backend.forget(what)
            else:
                backend.forget_all(self.generation_key)
        except RedisUnavailable as error:
            ERRORS.labels(self.name).inc()
            reason = error.__cause__ or "Redis cannot be reached"
            logger.warning("Not invalidated, kept until it expires: %s (%s)", what, reason)
        else:
            INVALIDATIONS.labels(self.name).inc()
            logger.info("Invalidated %s", what)


def _family(key: str) -> str:
    """Return what all keys of a template share, in whole words.

    `products:id` for products:id:{product_id}, `products:list` for products:list:skip:{skip}.
    """
    literal, name, _, _ = next(iter(Formatter().parse(key)))
    return literal.rstrip(":").removesuffix(f":{name}")


class MemoizedOne(Memoized, Generic[P]):
    """A function whose arguments name one document."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> bytes:
        key = self.key.format(**self.arguments(*args, **kwargs))
        [document] = self._read([key], lambda _: {0: self.uncached(*args, **kwargs)})
        return cast("bytes", document)

    def arguments(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        bound = inspect.signature(self.uncached).bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments


class MemoizedMany(Memoized):
    """A function that takes ids and returns the documents of those that exist."""

    def __init__(self, cache: Cache, function: Callable[..., Any], key: str, ttl: str) -> None:
        super().__init__(cache, function, key, ttl)
        [self._placeholder] = [name for _, name, _, _ in Formatter().parse(key) if name]

    def __call__(self, ids: Sequence[int]) -> dict[int, bytes]:
        if not ids:
            return {}
        keys = [self.key.format(**self.arguments(one)) for one in ids]

        def compute(positions: list[int]) -> dict[int, bytes]:
            found = self.uncached([ids[position] for position in positions])
            return {i: found[ids[i]] for i in positions if ids[i] in found}

        documents = self._read(keys, compute)
        return {one: document for one, document in zip(ids, documents, strict=True) if document}

    def arguments(self, one: int) -> dict[str, Any]:
        return {self._placeholder: one}


class Cache(FlaskCache):
    """Flask-Caching's Cache, whose memoized functions have readable keys and JSON values."""

    def __init__(self) -> None:
        super().__init__(with_jinja2_ext=False)
        self.memoized: list[Memoized] = []

    @property
    def backend(self) -> RedisBackend:
        return cast("RedisBackend", self.cache)

    def memoize(  # type: ignore[override]
        self, *, key: str, ttl: str
    ) -> Callable[[Callable[P, bytes]], MemoizedOne[P]]:
        """Memoize a function from arguments to one document (JSON bytes).

        `key` is a template over the function's parameters, `ttl` names a setting in seconds.
        """

        def decorate(function: Callable[P, bytes]) -> MemoizedOne[P]:
            memoized: MemoizedOne[P] = MemoizedOne(self, function, key, ttl)
            self.memoized.append(memoized)
            return memoized

        return decorate

    def memoize_many(
        self, *, key: str, ttl: str
    ) -> Callable[[Callable[[Sequence[int]], dict[int, bytes]]], MemoizedMany]:
        """Memoize a function from ids to their documents; an id without one is left out.

        Reading many documents takes one round trip, and those missing are computed in one call.
        """

        def decorate(function: Callable[[Sequence[int]], dict[int, bytes]]) -> MemoizedMany:
            memoized = MemoizedMany(self, function, key, ttl)
            self.memoized.append(memoized)
            return memoized

        return decorate

    def delete_memoized(  # type: ignore[override]
        self, f: Memoized, *args: Any, **kwargs: Any
    ) -> None:
        """Forget one document of `f`, or all of them without further arguments."""
        f.forget(**(f.arguments(*args, **kwargs) if args or kwargs else {}))
