"""The cache: JSON documents memoized in Redis, under keys that an operator can read."""

from .flask_caching_calls import Cache
from .memoize import DocumentRead, Memoized, MemoizedMany, MemoizedOne, ReadResult
from .reader import cache_outcome
from .tags import Tag

__all__ = [
    "Cache",
    "DocumentRead",
    "Memoized",
    "MemoizedMany",
    "MemoizedOne",
    "ReadResult",
    "Tag",
    "cache_outcome",
]
