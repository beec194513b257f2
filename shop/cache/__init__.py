"""The cache: JSON documents memoized in Redis, under keys that an operator can read."""

from .memoize import Cache, Memoized, MemoizedMany, Outcome, cache_outcome

__all__ = ["Cache", "Memoized", "MemoizedMany", "Outcome", "cache_outcome"]
