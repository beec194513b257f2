"""A question for products, in one canonical form: the same question has the same name."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from shop.categories.service import texts
from shop.money import is_of_steps, step
from shop.problems import InvalidFieldsError
from shop.products import lists

from .cursor import read_cursor

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from shop.cache import Tag

# Each order of a page, and of which kind the values are that it sorts by; the id comes last.
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
BY_PRICE = {"price", "-price"}
NAME_MAX = 200  # characters; a longer one is hashed


@dataclass(frozen=True)
class Filters:
    """Which products; without any, all that everybody may see."""

    q: str | None = None
    category_ids: tuple[int, ...] = ()  # in order, each once
    min_price: Decimal | None = None
    max_price: Decimal | None = None
    currency: str | None = None
    in_stock: bool | None = None
    active: bool | None = True  # None: whether they are or not

    def __str__(self) -> str:
        return short(":".join(self._parts()) or "all")

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

    @property
    def by_price(self) -> bool:
        return self.min_price is not None or self.max_price is not None

    def without(self, facet: str) -> Filters:
        """Return the filters but for those of a facet."""
        match facet:
            case "category":
                return replace(self, category_ids=())
            case "price":
                return replace(self, min_price=None, max_price=None)
            case _:
                return replace(self, in_stock=None)

    @property
    def of_steps(self) -> bool:
        """Return whether the range of prices has whole steps; a range without ends has."""
        return is_of_steps(self.min_price, self.max_price, self.currency)

    def tags(
        self, *, prices: bool = False, steps: bool = False, stock: bool = False, moves: bool = False
    ) -> list[str]:
        """Return the tags of what is made of the products that meet the filters.

        The arguments say what it tells of them besides: prices, or only their steps; whether they
        are in stock; which category they are in.
        """
        prices = prices or not self.of_steps
        found = self.scoped(lists.members)
        if prices:
            found += self.scoped(lists.prices)
        elif steps or self.by_price or self.currency is not None:
            found += self.scoped(lists.steps)
        if stock or self.in_stock is not None:
            found += self.scoped(lists.stock)
        if self.q is not None:
            found.append(texts.generation_key())
        if moves or (self.category_ids and self.scopes == [lists.ALL]):
            found.append(lists.filing.generation_key())
        return found

    @property
    def scopes(self) -> list[str]:
        return lists.scopes(self.category_ids)

    def scoped(self, tag: Tag, *rest: object) -> list[str]:
        """Return a tag in the scopes of the categories."""
        return [tag.generation_key(scope, *rest) for scope in self.scopes]


@dataclass(frozen=True)
class Query:
    """One page: which products, in which order, from where on."""

    filters: Filters
    sort: str
    limit: int
    skip: int = 0
    after: str | None = None  # a cursor
    place: tuple[Any, ...] = ()  # what it says

    def __str__(self) -> str:
        return short(":".join(self._parts()))

    def _parts(self) -> Iterator[str]:
        yield self.question
        if self.skip:
            yield f"skip:{self.skip}"
        if self.after:
            yield f"after:{self.after}"
        yield f"limit:{self.limit}"

    @property
    def question(self) -> str:
        """The part of a query that all pages of a list share."""
        return f"{self.filters}:sort:{self.sort}"

    @property
    def rows(self) -> int:
        """How many rows tell what is in the page, and whether more follow."""
        return self.skip + self.limit + 1

    @property
    def compares_prices(self) -> bool:
        return self.filters.by_price or self.sort in BY_PRICE

    @property
    def depends_on_steps(self) -> bool:
        """Whether it is in the order of prices, and the steps of its rows tell which it depends on.

        To look up words twice, or prices within a step, costs more than is gained.
        """
        filters = self.filters
        is_simple = filters.q is None and filters.of_steps and len(filters.scopes) == 1
        return self.sort in BY_PRICE and is_simple

    @property
    def steps_of_place(self) -> list[int]:
        """The step of the price after which it begins; without a place, none."""
        return [step(self.place[0])] if self.place else []

    def tags(self, steps: Collection[int] | None = None) -> list[str]:
        """Return what the page depends on: in the order of prices, all or those of some steps."""
        by_price = self.sort in BY_PRICE
        found = self.filters.tags(prices=by_price and steps is None, steps=by_price)
        if self.sort == "name":
            found += self.filters.scoped(lists.names)
        for one in steps or ():
            found += self.filters.scoped(lists.step_prices, one)
        return found


def read_query(values: Mapping[str, Any], *, active: bool | None) -> Query:
    """Return the query that parameters make. Raises InvalidFieldsError for `after` of another."""
    words = values.get("q")
    query = Query(
        Filters(
            None if words is None else " ".join(words.lower().split()),
            tuple(sorted(set(values.get("category_id", ())))),
            values.get("min_price"),
            values.get("max_price"),
            values.get("currency"),
            values.get("in_stock"),
            active,
        ),
        values.get("sort", "id" if words is None else "relevance"),
        values["limit"],
        values.get("skip", 0),
    )
    if cursor := values.get("after"):
        try:
            place = read_cursor(query.question, cursor, SORTS[query.sort])
        except ValueError:
            message = "Not from a page of the same query and order."
            raise InvalidFieldsError(message, {"after": message}) from None
        query = replace(query, after=cursor, place=place)
    return query


def short(name: str) -> str:
    if len(name) <= NAME_MAX:
        return name
    return f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"
