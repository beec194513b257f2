"""The cache: JSON documents memoized in Redis, under keys that an operator can read."""

from .extension import Cache
from .memoize import Found, Memoized, MemoizedMany, MemoizedOne, Reading
from .reader import cache_outcome
from .tags import Tag

__all__ = [
    "Cache",
    "Found",
    "Memoized",
    "MemoizedMany",
    "MemoizedOne",
    "Reading",
    "Tag",
    "cache_outcome",
]
