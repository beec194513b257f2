"""What a process has learnt of addresses, from the answers that Flask gave to them."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from shop import answers
from shop.facts import facts

from .understanding import Observation

if TYPE_CHECKING:
    from flask import Flask, Response

    from shop.answers import Document
    from shop.facts import Asked, Place

    from .address import Address

ADDRESSES_MAX = 4096  # that a process knows
ADDRESSES_BYTES = 16 * 1024 * 1024  # of their names, and of those of their documents


class Addresses:
    """The addresses that a process knows: those that it learnt last."""

    def __init__(self) -> None:
        self._known: dict[Place, Address] = {}
        self._bytes = 0
        self._learning = Lock()

    def learn_from(self, app: Flask) -> None:
        """Learn from the answers that Flask gives to requests of the loop."""
        app.before_request_funcs.setdefault(None, []).insert(0, self._expect)
        # It runs last: the answer is whole.
        app.after_request_funcs.setdefault(None, []).insert(0, self._learn)

    def find(self, place: Place) -> Address | None:
        return self._known.get(place)

    def _expect(self) -> None:
        """Before a request that can be learnt from: let its reads be noted."""
        known = facts()
        if known.asked and known.asked.place not in self._known:
            known.observer = Observation()

    def _learn(self, response: Response) -> Response:
        """Learn from an answer of Flask's, if the edge can give the same."""
        known = facts()
        asked, observer = known.asked, known.observer
        if not (asked and isinstance(observer, Observation)):
            return response
        if understood := observer.understand(known, asked):
            address, found = understood
            if self._is_same(response, asked, address.compose(found)):
                self._remember(asked.place, address)
        return response

    @staticmethod
    def _is_same(response: Response, asked: Asked, document: Document | None) -> bool:
        """Tell whether the edge would answer with the same status and headers, and so ETag."""
        if document is None:
            return False
        known = facts()
        own = answers.read(document, asked.path, asked.if_none_match, known.outcome)
        headers = [*own.headers, *answers.closing_headers(known)]
        return (own.status, headers) == (response.status_code, list(response.headers))

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


def _size(place: Place, address: Address) -> int:
    path, _, query = place
    return len(path) + len(query) + address.size
