"""The credentials that were valid when this process last looked them up."""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

CREDENTIALS_MAX = 10_000  # credentials: those that were used last; some 200 bytes each
LOCKS = 64  # locks that all credentials share

Holder = TypeVar("Holder")


class ValidCredentials:
    """The hashes of the credentials that were used last, and were valid."""

    def __init__(self) -> None:
        self._hashes: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()
        self._lookup_locks = [threading.Lock() for _ in range(LOCKS)]

    def __contains__(self, credential: str) -> bool:
        return credential in self._hashes

    def update(self, credential: str, holder: Holder | None) -> Holder | None:
        """Add a credential that has a holder, or remove one that has none; return the holder."""
        with self._lock:
            if holder is None:
                self._hashes.pop(credential, None)
            else:
                self._hashes[credential] = None
                self._hashes.move_to_end(credential)
                if len(self._hashes) > CREDENTIALS_MAX:
                    self._hashes.popitem(last=False)
        return holder

    @contextmanager
    def lock(self, credential: str) -> Iterator[None]:
        """Serialize the requests with one credential: the first looks it up for all of them."""
        with self._lookup_locks[int(credential[:8], 16) % LOCKS]:
            yield
