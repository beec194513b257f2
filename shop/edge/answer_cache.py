"""The answers that a worker keeps, each until a name that it depends on changes.

Redis sends the loop's connection every name that changes (client-side caching, `CLIENT TRACKING` in
broadcasting mode), in the order in which it also answers that connection. So when a call is
answered, the worker has received all changes before that call. docs/cache.md has the proof.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shop.answers import Document
    from shop.facts import UrlKey

CACHE_BYTES = 32 * 1024 * 1024  # memory of all copies
COPY_SECONDS = 1.0  # time to live of a copy: a row that was deleted by hand is gone after it
CHANGES_MAX = 4096  # the latest names that have changed
NAME_BYTES, COPY_BYTES = 128, 512  # memory of a name and of a copy, about

Key = tuple["UrlKey", str]


@dataclass(slots=True, eq=False)
class Copy:
    """A composed answer."""

    document: Document
    reads: Sequence[tuple[str, int]]  # documents, by function
    epoch: bytes
    origin: bytes
    names: frozenset[bytes]  # that it depends on
    until: float
    change_count: int  # that of the cache, when the copy was last known to be whole

    @property
    def size(self) -> int:
        return len(self.document.body) + len(self.names) * NAME_BYTES + COPY_BYTES


class AnswerCache:
    def __init__(self) -> None:
        self._copies: dict[Key, Copy] = {}
        self._bytes = 0
        self._changes: deque[bytes] = deque(maxlen=CHANGES_MAX)
        self.change_count = 0  # changes since the beginning

    def find(self, key: Key) -> Copy | None:
        """Return a copy that is whole by the changes received so far."""
        copy = self._copies.get(key)
        if copy is None or (time.monotonic() < copy.until and self.is_whole(copy)):
            return copy
        self._drop(key)
        return None

    def is_whole(self, copy: Copy) -> bool:
        """Return whether no change received so far is of the copy's names."""
        new = self.change_count - copy.change_count
        if not new:
            return True
        if new > len(self._changes) or not copy.names.isdisjoint(
            islice(reversed(self._changes), new)
        ):
            return False
        copy.change_count = self.change_count
        return True

    def keep(self, key: Key, copy: Copy) -> None:
        self._drop(key)
        self._copies[key] = copy
        self._bytes += copy.size
        while self._bytes > CACHE_BYTES:
            self._drop(next(iter(self._copies)))  # the oldest

    def invalidate(self, names: Iterable[bytes] | None) -> None:
        """End the copies of names that have changed; None: of all names."""
        if names is None:
            self.clear()
            return
        for name in names:
            self._changes.append(name)
            self.change_count += 1

    def clear(self) -> None:
        """Drop all copies, and those that are about to be kept."""
        self._copies.clear()
        self._changes.clear()
        self._bytes = 0
        self.change_count += 1  # a change that nobody knows the name of

    def _drop(self, key: Key) -> None:
        if copy := self._copies.pop(key, None):
            self._bytes -= copy.size
