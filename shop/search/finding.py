"""Cached reads of a search: pages of ids, totals and facets, each under its query.

A page is made of ids and rows, as plain ones are. An entry has the tags of what it depends on;
what a write forgets of them is in `shop/products/lists.py`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from shop.categories.models import Category
from shop.extensions import cache, db
from shop.money import LADDER, smallest, text
from shop.pages import dump
from shop.products.models import Product

from . import statements
from .rows import StepsChangedError, conditions_of, page_of, steps_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from .query import Filters, Query

STEPS_MAX = 8  # of prices that a page depends on; one with more depends on all
MANY_CATEGORIES = 2000  # to look for each would take longer than to group the products

memoized = partial(
    cache.memoize,
    ttl="redis_cache_ttl",
    tables=[Product, Category],
    needs_admission=True,
    log_keys=False,
)


@memoized(key="products:found:{query}", tags=lambda query, steps: query.tags(steps))
def found(query: Query, steps: Collection[int] | None = None) -> bytes:
    """Return what `page_of` does, as JSON. `steps` are those that it depends on, None all."""
    return dump(page_of(query, steps))


@memoized(key="products:priced:{query}", tags=lambda query: query.tags(query.steps_of_place))
def priced(query: Query) -> bytes:
    """Return in which steps the prices of a page are; null for more than `STEPS_MAX`."""
    steps = steps_of(query)
    return dump({"steps": steps if len(steps) <= STEPS_MAX else None})


def page(query: Query) -> list[bytes]:
    """Return the documents that tell the ids of a page, the one that has them last.

    A page in the order of prices has a hint before it: the steps that it depends on. The hint may
    be outdated. The page is stored only if its prices are in these steps, and they stay there until
    one of its tags is forgotten. Otherwise the page depends on all prices.
    """
    if not query.depends_on_steps:
        return [found(query)]
    hint = priced(query)
    try:
        return [hint, found(query, orjson.loads(hint)["steps"])]
    except StepsChangedError:
        return [hint, found(query)]


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
    where = conditions_of(filters)
    one_by_one = not _finds_few(filters) and not _are_many_categories()
    count = statements.counts_of_each_category if one_by_one else statements.counts_by_category
    shown = sorted(db.session.execute(count(where)), key=lambda row: (-row[1], row[0]))
    return dump([{"id": one, "count": products} for one, products in shown])


def _finds_few(filters: Filters) -> bool:
    """Tell of products with words, and of inactive ones, which are looked up first."""
    return filters.q is not None or filters.active is False


def _are_many_categories() -> bool:
    return db.session.scalar(statements.category_beyond(MANY_CATEGORIES)) is not None


@memoized(key="products:facet:price:{filters}", tags=lambda filters: filters.tags(steps=True))
def price_facet(filters: Filters) -> bytes:
    """Return how many products have a price in each step of a ladder, by currency.

    Both ends of a step are amounts that are in it: as `min_price` and `max_price` they find as many
    products.
    """
    steps = statements.counts_by_price(conditions_of(filters))
    return dump([_price_count(*row) for row in db.session.execute(steps)])


def _price_count(currency: str, step: int, count: int) -> dict[str, Any]:
    unit = smallest(currency)
    first = LADDER[step - 1] if step else unit
    return {
        "currency": currency,
        "from": text(first, currency),
        "to": text(LADDER[step] - unit, currency),
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
