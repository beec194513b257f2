"""Pages that were found and are cached, against plain pages of the same size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench import BenchError
from bench.measure import window
from bench.wrk import Request

from .draw import Draw, both, one_of
from .questions import PRODUCTS, SUGGEST, address

if TYPE_CHECKING:
    from collections.abc import Callable

    from .draw import Parameters
    from .ground import Ground

PLAIN, ITEM = "plain page", "one product"
PAGE = 20  # products
ADDRESSES = 50  # of each kind
LOOKS = 4  # until an address is answered from the cache
ROUNDS, SECONDS, CONNECTIONS = 6, 1, 16


def _page(_: Draw) -> Parameters:
    return {"limit": PAGE}


FOUND: dict[str, Callable[[Draw], Parameters]] = {
    "a category, sorted": both(Draw.category, Draw.sort, _page),
    "filters, sorted": both(Draw.categories, Draw.prices, Draw.stock, Draw.sort, _page),
    "words": both(one_of(Draw.one_word, Draw.two_words), _page),
    "a category, total and facets": both(Draw.category, Draw.total, Draw.facets, _page),
}
# What each is compared with.
AGAINST = {PLAIN: PLAIN, ITEM: ITEM, **dict.fromkeys(FOUND, PLAIN), "suggestions": ITEM}


def measure(ground: Ground, draw: Draw) -> list[dict[str, Any]]:
    """Load each kind in turn, each round beginning with another."""
    ground.served.store.flushdb()
    requests = {kind: _warm(ground, draw, kind) for kind in AGAINST}
    samples = []
    for number in range(ROUNDS):
        turn = number % len(AGAINST)
        for kind in [*AGAINST, *AGAINST][turn : turn + len(AGAINST)]:
            sample = window(ground.served, requests[kind], SECONDS, CONNECTIONS)
            if sample["broken"] or sample["refused"] or not sample["requests"]:
                raise BenchError(f"not every answer was 200: {kind}")
            samples.append({"kind": kind, "round": number, **sample})
        print(f"hits, round {number + 1} of {ROUNDS}", flush=True)
    return samples


def _warm(ground: Ground, draw: Draw, kind: str) -> list[Request]:
    """Return requests that are answered from the cache, and by full pages."""
    found: dict[str, None] = {}
    while len(found) < ADDRESSES:
        one = _address(draw, kind, len(found))
        answers = [ground.ask(one) for _ in range(LOOKS)]
        if answers[-1].outcome != "HIT":
            raise BenchError(f"{answers[-1].outcome} instead of HIT: {one}")
        if kind in {ITEM, "suggestions"} or answers[-1].body.count(b'"sku"') == PAGE:
            found[one] = None
    return [Request("GET", one) for one in found]


def _address(draw: Draw, kind: str, number: int) -> str:
    match kind:
        case "plain page":
            return address(PRODUCTS, {"skip": 10 * number, "limit": PAGE})
        case "one product":
            return f"{PRODUCTS}/{1 + number}"
        case "suggestions":
            return address(SUGGEST, draw.prefix())
        case _:
            return address(PRODUCTS, FOUND[kind](draw))
