"""The cost of finding products, in requests."""

from __future__ import annotations

from flask import request

from shop.config import CHOSEN_MAX
from shop.limits import PerRows


class PerQuery(PerRows):
    """As a page costs, and 1 more each for words and for facets, which the database looks up."""

    def __call__(self) -> int:
        chosen = [request.args[name] for name in ("id", "sku") if name in request.args]
        named = sum(text.count(",") + 1 for text in chosen)
        rows = -(-min(named, CHOSEN_MAX) // self.rows) if chosen else super().__call__()
        return rows + sum(name in request.args for name in ("q", "facets"))

    def __str__(self) -> str:
        return f"{super().__str__()}, 1 more with q, 1 more with facets"
