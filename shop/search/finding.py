"""What is cached of a search: pages of ids, totals and facets, each under what was asked for.

A page is made of ids and rows, as plain ones are. An entry has the tags of what it depends on;
what a write forgets of them is in `shop/products/lists.py`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from shop.categories.models import Category
from shop.extensions import cache, db
from shop.money import smallest, text
from shop.pages import dump
from shop.products.models import Product

from . import statements
from .rows import conditions_of, page_of

if TYPE_CHECKING:
    from .query import Filters, Query

memoized = partial(
    cache.memoize,
    ttl="redis_cache_ttl",
    tables=[Product, Category],
    bounded=True,
    is_told=False,
)


@memoized(key="products:found:{query}", tags=lambda query: query.tags())
def found(query: Query) -> bytes:
    """Return what `page_of` does, as JSON."""
    return dump(page_of(query))


@memoized(key="products:total:{filters}", tags=lambda filters: filters.tags())
def total(filters: Filters) -> bytes:
    """Return how many products there are, up to 10,000, and whether these are all."""
    counted = db.session.scalars(statements.total(conditions_of(filters))).one()
    most = statements.TOTAL_MAX
    return dump({"count": min(counted, most), "exact": counted <= most})


@memoized(key="products:facet:category:{filters}", tags=lambda filters: filters.tags(moves=True))
def category_facet(filters: Filters) -> bytes:
    """Return how many products each category has, those with most first.

    `active_counts` has some of these counts, but an entry is not made of other entries: the tags of
    this one may be released before those are forgotten, and then it would be stored with old ones.
    """
    counts = statements.counts(conditions_of(filters), Product.category_id)
    shown = sorted(db.session.execute(counts), key=lambda row: (-row[1], row[0]))
    return dump([{"id": one, "count": count} for one, count in shown])


@memoized(key="products:facet:price:{filters}", tags=lambda filters: filters.tags(prices=True))
def price_facet(filters: Filters) -> bytes:
    """Return how many products have a price in each step of a ladder, by currency.

    Both ends of a step are amounts that are in it: as `min_price` and `max_price` they find as many
    products.
    """
    steps = statements.counts_by_price(conditions_of(filters))
    return dump([_price_count(*row) for row in db.session.execute(steps)])


def _price_count(currency: str, step: int, count: int) -> dict[str, Any]:
    unit, ladder = smallest(currency), statements.LADDER
    first = ladder[step - 1] if step else unit
    return {
        "currency": currency,
        "from": text(first, currency),
        "to": text(ladder[step] - unit, currency),
        "count": count,
    }


@memoized(key="products:facet:in_stock:{filters}", tags=lambda filters: filters.tags(stock=True))
def stock_facet(filters: Filters) -> bytes:
    """Return how many products are in stock, and how many are not."""
    counts = statements.counts_by_stock(conditions_of(filters))
    yes, no = db.session.execute(counts).one()
    return dump({"true": yes, "false": no})


FACETS = {"category": category_facet, "price": price_facet, "in_stock": stock_facet}


def facet(name: str, filters: Filters) -> bytes:
    """Return the counts for a facet, which its own filter does not narrow."""
    return FACETS[name](filters.without(name))
