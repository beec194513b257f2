"""Answers that a worker keeps, each as long as nothing that it was made of has changed.

Redis tells the loop's connection of every name that changes (client-side caching, `CLIENT TRACKING`
in broadcasting mode), in the order in which it also answers that connection. So when a call is
answered, the worker has been told of whatever had changed in Redis before that call was carried
out. docs/cache.md has the proof.
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
    from shop.facts import Place

KEPT_BYTES = 32 * 1024 * 1024  # of all copies
KEPT_SECONDS = 1.0  # that a copy serves: what was deleted by hand is gone after that, too
CHANGES_MAX = 4096  # names that were told last
NAME_BYTES, COPY_BYTES = 128, 512  # that a name and a copy need, about

Key = tuple["Place", str]


@dataclass(slots=True, eq=False)
class Copy:
    """A composed answer."""

    document: Document
    reads: Sequence[tuple[str, int]]  # documents, by function
    epoch: bytes
    origin: bytes
    names: frozenset[bytes]  # of all that it depends on
    until: float
    heard: int  # how many changes were told when it was last known to be whole

    @property
    def size(self) -> int:
        return len(self.document.body) + len(self.names) * NAME_BYTES + COPY_BYTES


class Kept:
    def __init__(self) -> None:
        self._copies: dict[Key, Copy] = {}
        self._bytes = 0
        self._changes: deque[bytes] = deque(maxlen=CHANGES_MAX)
        self.heard = 0  # changes, since the beginning

    def find(self, key: Key) -> Copy | None:
        """Return a copy that is whole as far as Redis has told by now."""
        copy = self._copies.get(key)
        if copy is None or (time.monotonic() < copy.until and self.is_whole(copy)):
            return copy
        self._drop(key)
        return None

    def is_whole(self, copy: Copy) -> bool:
        """Tell whether nothing of it has changed, as far as Redis has told by now."""
        new = self.heard - copy.heard
        if not new:
            return True
        if new > len(self._changes) or not copy.names.isdisjoint(
            islice(reversed(self._changes), new)
        ):
            return False
        copy.heard = self.heard
        return True

    def keep(self, key: Key, copy: Copy) -> None:
        self._drop(key)
        self._copies[key] = copy
        self._bytes += copy.size
        while self._bytes > KEPT_BYTES:
            self._drop(next(iter(self._copies)))  # the oldest

    def note(self, names: Iterable[bytes] | None) -> None:
        """Note which names have changed; None: all of them."""
        if names is None:
            self.clear()
            return
        for name in names:
            self._changes.append(name)
            self.heard += 1

    def clear(self) -> None:
        """Forget all copies, those too that are about to be kept."""
        self._copies.clear()
        self._changes.clear()
        self._bytes = 0
        self.heard += 1  # a change that nobody knows the name of

    def _drop(self, key: Key) -> None:
        if copy := self._copies.pop(key, None):
            self._bytes -= copy.size
