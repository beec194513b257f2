"""The requests to the contenders, and the expected answers."""

from __future__ import annotations

import random
from http import HTTPStatus

from .contenders import ITEM, MISS, NOT_MODIFIED, PAGES, REFUSED, WRITE, WRITE_KEY
from .wrk import Request

HOT_ITEMS, HOT_PAGES = 250, 50
WRITTEN = range(601, 1001)  # no hot page shows these
EXPECTED = {
    **dict.fromkeys((ITEM, *PAGES, MISS, WRITE), HTTPStatus.OK),
    NOT_MODIFIED: HTTPStatus.NOT_MODIFIED,
    REFUSED: HTTPStatus.TOO_MANY_REQUESTS,
}


def hot(rung: str) -> list[Request]:
    """Return the requests of a rung whose answers are cached, in an order of no pattern."""
    if rung == REFUSED:
        return [Request("GET", "/products/1")]  # documented limits are per address
    if rung in PAGES:
        rows = rung.removeprefix("page")
        addresses = [f"/products?skip={10 * page}&limit={rows}" for page in range(HOT_PAGES)]
    else:
        addresses = [f"/products/{number}" for number in range(1, HOT_ITEMS + 1)]
    random.Random(1).shuffle(addresses)  # noqa: S311
    return [Request("GET", address) for address in addresses]


def misses(first: int, last: int) -> list[Request]:
    return [Request("GET", f"/products/{number}") for number in range(first, last + 1)]


def writes() -> list[Request]:
    """Return changes of the stock, each of them to another number than the one before."""
    headers = {"Authorization": f"Bearer {WRITE_KEY}"}
    return [
        Request("PATCH", f"/products/{number}", headers, f'{{"stock":{stock}}}')
        for stock in range(10)
        for number in WRITTEN
    ]
