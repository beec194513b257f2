"""What a process has learnt of addresses, from the answers that Flask gave to them."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from flask import g, request

from shop.cache import cache_outcome
from shop.limits.decision import usages
from shop.logs import request_id

from .answers import compose
from .asked import read_request
from .bodies import Bodies
from .understanding import understand

if TYPE_CHECKING:
    from flask import Response

    from .address import Address
    from .asked import Place

ADDRESSES_MAX = 4096  # that a process knows
ADDRESSES_BYTES = 16 * 1024 * 1024  # of their names, and of those of their documents


class Addresses:
    """The addresses that a process knows: those that it learnt last."""

    def __init__(self) -> None:
        self._known: dict[Place, Address] = {}
        self._bytes = 0
        self._bodies = Bodies()
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
        understood = understand(asked, self._bodies) if asked else None
        if asked and understood:
            address, found = understood
            asked = asked._replace(identifier=request_id())
            same = compose(asked, address, usages(), found, cache_outcome())
            answer = (response.status_code, list(response.headers))
            if same and (same.status, same.headers) == answer:
                self._remember(asked.place, address)
            else:
                self._bodies.drop(address)
        return response

    def _remember(self, place: Place, address: Address) -> None:
        with self._learning:
            self._forget(place)
            self._known[place] = address
            self._bytes += _size(place, address)
            while len(self._known) > ADDRESSES_MAX or self._bytes > ADDRESSES_BYTES:
                self._forget(next(iter(self._known)))  # the oldest

    def _forget(self, place: Place) -> None:
        if address := self._known.pop(place, None):
            self._bytes -= _size(place, address)
            self._bodies.drop(address)


def _size(place: Place, address: Address) -> int:
    path, _, query = place
    return len(path) + len(query) + address.size
