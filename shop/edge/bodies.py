"""The answers that a process has made last, each with the documents that it was made of."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from shop.etags import etag_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .address import Address

BODIES_BYTES = 16 * 1024 * 1024  # of all that is remembered
BODY_LONGEST = 65_536  # bytes of an answer that is remembered
DOCUMENT_BYTES = 64  # that a document needs besides its own
ROW_SHORTEST = 2048  # bytes of one that is: an address of rows has one for all of them


class Body(NamedTuple):
    """An answer that everybody may see."""

    found: list[Any]  # the documents that it is made of, as Redis returns them
    body: bytes
    links: str
    etag: str


NOTHING = Body([], b"", "", "")


class Bodies:
    """Remembers of each address the last answer: to compare is cheaper than to compose and hash.

    Those that were remembered first are forgotten when all need too much memory.
    """

    def __init__(self) -> None:
        self._sizes: dict[Address, int] = {}
        self._bytes = 0
        self._lock = Lock()

    def new(self, address: Address, found: list[Any], body: bytes, links: str) -> Body:
        """Return an answer, which is remembered if that helps."""
        made = Body(found, body, links, etag_of(body))
        shortest = ROW_SHORTEST if address.is_row else 0
        if shortest <= len(body) < BODY_LONGEST:
            self._remember(address, made)
        return made

    def drop(self, address: Address) -> None:
        with self._lock:
            self._drop(address)

    def _remember(self, address: Address, made: Body) -> None:
        with self._lock:
            self._drop(address)
            address.last = made
            self._sizes[address] = size = len(made.body) + _size(made.found)
            self._bytes += size
            while self._bytes > BODIES_BYTES:
                self._drop(next(iter(self._sizes)))  # the oldest

    def _drop(self, address: Address) -> None:
        self._bytes -= self._sizes.pop(address, 0)
        address.last = NOTHING


def _size(found: Iterable[Any]) -> int:
    return sum(len(document) + DOCUMENT_BYTES for documents in found for document in documents)
