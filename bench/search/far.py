"""Page 5,000 against page 1: both cold, in turn, in every order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench import BenchError

from .draw import SORTS
from .questions import PRODUCTS, address

if TYPE_CHECKING:
    from .draw import Parameters
    from .ground import Ground

PAGE, STRIDE = 20, 100  # products of a page, and of those that lead to the far one
STRIDES = 1_000  # to page 5,001
PAIRS = 40  # of each order
TIMES = 1.2  # as long as page 1 may page 5,000 take


def measure(ground: Ground, products: int) -> list[dict[str, Any]]:
    """Return the milliseconds of each pair, without waits for a core.

    In a small catalogue the far page is a nearer one.
    """
    strides = min(STRIDES, products // STRIDE // 2)
    samples = []
    for sort in SORTS:
        # Without anything else, id order is that of plain pages.
        order: Parameters = {"in_stock": "true"} if sort == "id" else {"sort": sort}
        first, far = _page(order, 0, ground), _page(order, strides, ground)
        ground.look_anew()
        for number in range(PAIRS):
            pair = {"first": first, "far": far}
            names = list(pair) if number % 2 else list(pair)[::-1]
            found = {name: ground.ask_cold(pair[name]) for name in names}
            times = {name: round(one.milliseconds - one.waited, 2) for name, one in found.items()}
            page = 1 + strides * STRIDE // PAGE + number
            samples.append({"sort": sort, "page": page, **times})
            far = _next(far, found["far"].next)
        print(f"page {page:,} against page 1, sort={sort}", flush=True)
    return samples


def _page(order: Parameters, strides: int, ground: Ground) -> str:
    """Return the address of the page after so many long ones."""
    here = address(PRODUCTS, {**order, "limit": STRIDE})
    for _ in range(strides):
        here = _next(here, ground.ask(here).next)
    return here.replace(f"limit={STRIDE}", f"limit={PAGE}")


def _next(here: str, following: str | None) -> str:
    if following is None:
        raise BenchError(f"no page follows {here}")
    return following
