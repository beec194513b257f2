"""Cached reads of lists: pages of ids, totals and facets, each under the name of its query.

Each entry has the tags of what it depends on; `shop/products/lists.py` says which write forgets
which tag. The names of the memoized functions are labels of metrics.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from shop.categories.models import Category
from shop.extensions import cache, db
from shop.money import LADDER, amount_text, smallest_unit
from shop.pages import dump
from shop.products.models import Product

from . import statements
from .page_rows import StepsChangedError, build_conditions, find_page, find_price_steps

if TYPE_CHECKING:
    from collections.abc import Collection

    from .query import Filters, Query

PRICE_STEPS_MAX = 8  # steps that a page depends on; a page with more depends on all prices
COUNTED_CATEGORIES_MAX = 2000  # categories to count one by one; with more, products are grouped

memoized = partial(
    cache.memoize,
    ttl="redis_cache_ttl",
    tables=[Product, Category],
    needs_admission=True,
    log_keys=False,
)


@memoized(key="products:found:{query}", tags=lambda query, price_steps: query.tags(price_steps))
def found(query: Query, price_steps: Collection[int] | None = None) -> bytes:
    """Return `find_page` as JSON. None for `price_steps` makes the page depend on all prices."""
    return dump(find_page(query, price_steps))


@memoized(key="products:priced:{query}", tags=lambda query: query.tags(query.cursor_price_steps))
def priced(query: Query) -> bytes:
    """Return the price steps of a page as JSON, or null if it has more than PRICE_STEPS_MAX."""
    steps = find_price_steps(query)
    return dump({"steps": steps if len(steps) <= PRICE_STEPS_MAX else None})


def page_entries(query: Query) -> list[bytes]:
    """Return the entries of a page; the last one names its ids.

    A page in the order of prices has a hint before it: the price steps that it depends on. The hint
    may be outdated. The page is stored only if its prices are in these steps, and they stay there
    until a write forgets one of its tags. Otherwise the page depends on all prices.
    """
    if not query.depends_on_price_steps:
        return [found(query)]
    hint = priced(query)
    try:
        return [hint, found(query, orjson.loads(hint)["steps"])]
    except StepsChangedError:
        return [hint, found(query)]


@memoized(key="products:total:{filters}", tags=lambda filters: filters.tags())
def total(filters: Filters) -> bytes:
    """Return the number of products, up to 10,000, and whether it is exact."""
    counted = db.session.scalars(statements.count_products(build_conditions(filters))).one()
    most = statements.TOTAL_MAX
    return dump({"count": min(counted, most), "exact": counted <= most})


@memoized(key="products:facet:category:{filters}", tags=lambda filters: filters.tags(category=True))
def category_facet(filters: Filters) -> bytes:
    """Return the number of products in each category, the largest first.

    The function does not read `active_counts`, which has some of these numbers. An entry must not
    be made of other entries: a write may release the tags of this entry before it forgets those
    counts, and then an outdated count would be stored.
    """
    where = build_conditions(filters)
    one_by_one = not _finds_few(filters) and not _has_many_categories()
    count = statements.counts_of_each_category if one_by_one else statements.counts_by_category
    rows = sorted(db.session.execute(count(where)), key=lambda row: (-row[1], row[0]))
    return dump([{"id": category_id, "count": products} for category_id, products in rows])


def _finds_few(filters: Filters) -> bool:
    """Return whether the filters find few products: those with words, and inactive ones."""
    return filters.q is not None or filters.active is False


def _has_many_categories() -> bool:
    statement = statements.select_category_beyond(COUNTED_CATEGORIES_MAX)
    return db.session.scalar(statement) is not None


@memoized(key="products:facet:price:{filters}", tags=lambda filters: filters.tags(price_steps=True))
def price_facet(filters: Filters) -> bytes:
    """Return the number of products in each price step, by currency.

    A step includes both of its ends: sent as `min_price` and `max_price`, they find as many
    products.
    """
    rows = db.session.execute(statements.counts_by_price(build_conditions(filters)))
    return dump([_price_count(*row) for row in rows])


def _price_count(currency: str, step: int, count: int) -> dict[str, Any]:
    unit = smallest_unit(currency)
    first = LADDER[step - 1] if step else unit
    return {
        "currency": currency,
        "from": amount_text(first, currency),
        "to": amount_text(LADDER[step] - unit, currency),
        "count": count,
    }


@memoized(key="products:facet:in_stock:{filters}", tags=lambda filters: filters.tags(stock=True))
def stock_facet(filters: Filters) -> bytes:
    """Return the numbers of products that are in stock, and that are not."""
    counts = statements.counts_by_stock(build_conditions(filters))
    in_stock, out_of_stock = db.session.execute(counts).one()
    return dump({"true": in_stock, "false": out_of_stock})


FACETS = {"category": category_facet, "price": price_facet, "in_stock": stock_facet}


def facet(name: str, filters: Filters) -> bytes:
    """Return the counts of a facet, which are not narrowed by the facet's own filter."""
    return FACETS[name](filters.without_facet(name))
