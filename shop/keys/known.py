"""The credentials that were valid when this process last looked them up."""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

KNOWN_MAX = 10_000  # credentials: those that were used last; some 200 bytes each
TURNS = 64  # locks that all credentials share

Holder = TypeVar("Holder")


class Known:
    """The hashes of credentials that were valid, the latest ones."""

    def __init__(self) -> None:
        self._hashes: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()
        self._turns = [threading.Lock() for _ in range(TURNS)]

    def __contains__(self, credential: str) -> bool:
        return credential in self._hashes

    def note(self, credential: str, holder: Holder | None) -> Holder | None:
        """Note whether anybody holds a credential, and return who does."""
        with self._lock:
            if holder is None:
                self._hashes.pop(credential, None)
            else:
                self._hashes[credential] = None
                self._hashes.move_to_end(credential)
                if len(self._hashes) > KNOWN_MAX:
                    self._hashes.popitem(last=False)
        return holder

    @contextmanager
    def turn(self, credential: str) -> Iterator[None]:
        """Let requests with one credential take turns: the first looks at it, for all of them."""
        with self._turns[int(credential[:8], 16) % TURNS]:
            yield
