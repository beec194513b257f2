"""The cache: JSON documents memoized in Redis, under keys that an operator can read."""

from .library import LibraryCache
from .memoize import Found, Memoized, MemoizedMany, MemoizedOne, Reading
from .reader import cache_outcome
from .tags import Tag

__all__ = [
    "Found",
    "LibraryCache",
    "Memoized",
    "MemoizedMany",
    "MemoizedOne",
    "Reading",
    "Tag",
    "cache_outcome",
]
