"""The cache: JSON documents memoized in Redis, under keys that an operator can read."""

from .extension import Cache
from .memoize import Memoized, MemoizedMany, MemoizedOne
from .reader import Outcome, cache_outcome

__all__ = ["Cache", "Memoized", "MemoizedMany", "MemoizedOne", "Outcome", "cache_outcome"]
