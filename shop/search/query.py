"""A query for a page of products in one canonical form: equal queries have the same name."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from shop.categories.service import search_texts
from shop.money import has_whole_steps, step
from shop.problems import InvalidFieldsError
from shop.products import lists

from .cursor import read_cursor

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from shop.cache import Tag

# The orders of a page, and the types of the values that each sorts by; the id comes last.
SORTS: dict[str, tuple[type, ...]] = {
    "id": (int,),
    "price": (Decimal, int),
    "-price": (Decimal, int),
    "name": (str, int),
    "created_at": (datetime, int),
    "-created_at": (datetime, int),
    "best_selling": (int, int),
    "relevance": (int, int, int),
}
PRICE_SORTS = {"price", "-price"}
NAME_MAX = 200  # characters; a longer name is hashed


@dataclass(frozen=True)
class Filters:
    """The filters of a list of products. Without any, the list has all active products."""

    q: str | None = None
    category_ids: tuple[int, ...] = ()  # sorted, each once
    min_price: Decimal | None = None
    max_price: Decimal | None = None
    currency: str | None = None
    in_stock: bool | None = None
    active: bool | None = True  # None for active and inactive ones

    def __str__(self) -> str:
        return shorten(":".join(self._parts()) or "all")

    def _parts(self) -> Iterator[str]:
        if self.active is not True:
            yield f"active:{'any' if self.active is None else 'false'}"
        if self.category_ids:
            yield f"category_id:{','.join(map(str, self.category_ids))}"
        if self.currency:
            yield f"currency:{self.currency}"
        if self.in_stock is not None:
            yield f"in_stock:{str(self.in_stock).lower()}"
        for name, price in (("min_price", self.min_price), ("max_price", self.max_price)):
            if price is not None:
                yield f"{name}:{price.normalize():f}"
        if self.q is not None:
            yield f"q:{quote(self.q, safe='', errors='replace')}"

    def without_facet(self, facet: str) -> Filters:
        """Return the filters without those that the facet counts by."""
        match facet:
            case "category":
                return replace(self, category_ids=())
            case "price":
                return replace(self, min_price=None, max_price=None)
            case _:
                return replace(self, in_stock=None)

    @property
    def has_price_range(self) -> bool:
        return self.min_price is not None or self.max_price is not None

    @property
    def has_whole_price_steps(self) -> bool:
        """Return whether the price range consists of whole steps; an unbounded range does."""
        return has_whole_steps(self.min_price, self.max_price, self.currency)

    @property
    def scopes(self) -> list[str]:
        return lists.scopes(self.category_ids)

    def scoped_tags(self, tag: Tag, *rest: object) -> list[str]:
        """Return the names of a tag in each scope of the categories."""
        return [tag.generation_key(scope, *rest) for scope in self.scopes]

    def tags(
        self,
        *,
        prices: bool = False,
        price_steps: bool = False,
        stock: bool = False,
        category: bool = False,
    ) -> list[str]:
        """Return the tags of an entry that is made of the products that meet the filters.

        The arguments say what else of the products the entry depends on: their prices, or only the
        price steps; whether they are in stock; their category.
        """
        prices = prices or not self.has_whole_price_steps
        tags = self.scoped_tags(lists.members)
        if prices:
            tags += self.scoped_tags(lists.prices)
        elif price_steps or self.has_price_range or self.currency is not None:
            tags += self.scoped_tags(lists.steps)
        if stock or self.in_stock is not None:
            tags += self.scoped_tags(lists.stock)
        if self.q is not None:
            tags.append(search_texts.generation_key())
        if category or (self.category_ids and self.scopes == [lists.ALL_PRODUCTS]):
            tags.append(lists.category_moves.generation_key())
        return tags


@dataclass(frozen=True)
class Query:
    """A query for one page: the filters, the order, and where the page begins."""

    filters: Filters
    sort: str
    limit: int
    skip: int = 0
    cursor: str | None = None
    cursor_values: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return shorten(":".join(self._parts()))

    def _parts(self) -> Iterator[str]:
        yield self.list_name
        if self.skip:
            yield f"skip:{self.skip}"
        if self.cursor:
            yield f"after:{self.cursor}"
        yield f"limit:{self.limit}"

    @property
    def list_name(self) -> str:
        """Return the part of the name that all pages of a list share."""
        return f"{self.filters}:sort:{self.sort}"

    @property
    def rows_needed(self) -> int:
        """Return how many rows to find: up to the end of the page, and one that follows."""
        return self.skip + self.limit + 1

    @property
    def compares_prices(self) -> bool:
        return self.filters.has_price_range or self.sort in PRICE_SORTS

    @property
    def depends_on_price_steps(self) -> bool:
        """Return whether the page is in the order of prices, and depends on some steps alone.

        With words, or a price range that ends within a step, it depends on all prices: to find its
        rows twice would cost more than is gained.
        """
        filters = self.filters
        is_simple = filters.q is None and filters.has_whole_price_steps and len(filters.scopes) == 1
        return self.sort in PRICE_SORTS and is_simple

    @property
    def cursor_price_steps(self) -> list[int]:
        """Return the step of the cursor's price; without a cursor, none."""
        return [step(self.cursor_values[0])] if self.cursor_values else []

    def tags(self, price_steps: Collection[int] | None = None) -> list[str]:
        """Return the tags of the page. In the order of prices, None stands for all prices."""
        by_price = self.sort in PRICE_SORTS
        tags = self.filters.tags(prices=by_price and price_steps is None, price_steps=by_price)
        if self.sort == "name":
            tags += self.filters.scoped_tags(lists.names)
        for one in price_steps or ():
            tags += self.filters.scoped_tags(lists.step_prices, one)
        return tags


def read_query(parameters: Mapping[str, Any], *, active: bool | None) -> Query:
    """Return the query of the parameters.

    Raises InvalidFieldsError for a cursor of another list.
    """
    text = parameters.get("q")
    query = Query(
        Filters(
            None if text is None else " ".join(text.lower().split()),
            tuple(sorted(set(parameters.get("category_id", ())))),
            parameters.get("min_price"),
            parameters.get("max_price"),
            parameters.get("currency"),
            parameters.get("in_stock"),
            active,
        ),
        parameters.get("sort", "id" if text is None else "relevance"),
        parameters["limit"],
        parameters.get("skip", 0),
    )
    if cursor := parameters.get("after"):
        try:
            values = read_cursor(query.list_name, cursor, SORTS[query.sort])
        except ValueError:
            message = "Not from a page of the same query and order."
            raise InvalidFieldsError(message, {"after": message}) from None
        query = replace(query, cursor=cursor, cursor_values=values)
    return query


def shorten(name: str) -> str:
    """Return the name, or its hash if the name is longer than NAME_MAX."""
    if len(name) <= NAME_MAX:
        return name
    return f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"
