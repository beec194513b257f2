"""What a caller looks for, in one canonical form: the same question has the same name."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from shop.categories.service import texts
from shop.problems import InvalidFieldsError
from shop.products import lists

from .cursor import read_cursor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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

    def tags(
        self, *, prices: bool = False, stock: bool = False, names: bool = False, moves: bool = False
    ) -> list[str]:
        """Return the tags of what is made of the products that meet the filters.

        The arguments say what it tells of them besides, or sorts them by: prices, whether they
        are in stock, names, which category they are in.
        """
        scopes = lists.scopes(self.category_ids)
        wanted = {
            lists.members: True,
            lists.prices: prices or self.by_price or self.currency is not None,
            lists.stock: stock or self.in_stock is not None,
            lists.names: names,
        }
        found = [tag.of(scope) for tag, is_one in wanted.items() if is_one for scope in scopes]
        if self.q is not None:
            found.append(texts.of())
        if moves or (self.category_ids and scopes == [lists.ALL]):
            found.append(lists.filing.of())
        return found


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
        """What all pages of a list have in common."""
        return f"{self.filters}:sort:{self.sort}"

    @property
    def rows(self) -> int:
        """How many rows tell what is in the page, and whether more follow."""
        return self.skip + self.limit + 1

    @property
    def compares_prices(self) -> bool:
        return self.filters.by_price or self.sort in BY_PRICE

    def tags(self) -> list[str]:
        return self.filters.tags(prices=self.sort in BY_PRICE, names=self.sort == "name")


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
