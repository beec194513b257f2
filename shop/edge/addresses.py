"""What a process has learnt of addresses, from the answers that Flask gave to them."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

from flask import g, request

from shop.cache import MemoizedMany, MemoizedOne, cache_outcome
from shop.etags import etag_of
from shop.limits.decision import usages
from shop.logs import request_id

from .answers import compose
from .asked import read_request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask import Response

    from shop.cache import Memoized
    from shop.limits.decision import Charge

    from .asked import Asked, Place

ADDRESSES_MAX = 512  # that a process knows
BODY_REMEMBERED = range(2048, 65_536)  # bytes of a body whose ETag is kept with it


@dataclass
class Address:
    """What was learnt of an address."""

    route: str
    charges: Sequence[Charge]
    entry: Memoized
    key: str  # of the entry; of a row only what comes before its id
    rows: MemoizedMany[int]  # of which its answers are made
    skip: int = 0
    limit: int = 0  # of a page; 0 for a row
    last: tuple[bytes, str] = (b"", "")  # what everybody may see, and its ETag

    def last_etag(self, body: bytes) -> str | None:
        """Return the ETag of the last body, None of another: to compare is cheaper than to hash."""
        last, etag = self.last
        return etag if body == last else None

    def new_etag(self, body: bytes) -> str:
        """Return the ETag of another body that everybody may see, which is the last then."""
        etag = etag_of(body)
        if len(body) in BODY_REMEMBERED:
            self.last = (body, etag)
        return etag


class Addresses:
    """The addresses that a process knows: those that it learnt last."""

    def __init__(self) -> None:
        self._known: dict[Place, Address] = {}
        self._learning = Lock()

    def find(self, place: Place) -> Address | None:
        return self._known.get(place)

    def expect(self) -> None:
        """Before a request that can be learnt from: let its reads be noted."""
        asked = read_request(request.environ)
        if asked and asked.place not in self._known:
            g.cache_reads = []

    def learn(self, response: Response) -> Response:
        """Learn from an answer of Flask's, if the edge can give the same."""
        asked = read_request(request.environ) if g.get("cache_reads") else None
        understood = _understand(asked) if asked else None
        if asked and understood:
            address, found = understood
            asked = asked._replace(identifier=request_id())
            same = compose(asked, address, usages(), found, cache_outcome())
            answer = (response.status_code, list(response.headers))
            if same and (same.status, same.headers) == answer:
                self._remember(asked.place, address)
        return response

    def _remember(self, place: Place, address: Address) -> None:
        with self._learning:
            while len(self._known) >= ADDRESSES_MAX:
                del self._known[next(iter(self._known))]  # the oldest
            self._known[place] = address


def _understand(asked: Asked) -> tuple[Address, list[Any]] | None:
    """Return how the current answer was made, and of which documents."""
    route = request.url_rule.rule if request.url_rule else ""
    charges = g.get("rate_limit_charges", [])
    match g.cache_reads:
        case [(MemoizedMany() as rows, _, [key], documents)] if key == rows.prefix + asked.row:
            return Address(route, charges, rows, rows.prefix, rows), [documents[0]]
        case [
            (MemoizedOne() as ids, [_], [key], page),
            (MemoizedMany() as rows, _, _, documents),
        ] if not asked.row and "page" in g:
            address = Address(route, charges, ids, key, rows, g.page.skip, g.page.limit)
            return address, [page[0], [documents[i] for i in sorted(documents)]]
    return None
