"""The rows of one page: which statement finds them, and where the page ends."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from shop.extensions import db
from shop.money import step
from shop.problems import CurrencyRequiredError
from shop.stats import service as stats

from . import statements
from .cursor import write_cursor
from .query import Filters
from .ranking import Place, ranked_page
from .ranking import Row as Ranked
from .text import read, understand

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from .query import Query
    from .statements import Conditions

    Rows = Sequence[Sequence[Any]]  # of each the id, and what it is sorted by

UNRANKED = -1
LOOKED_AT, LOOKED_AT_MAX = 1000, 10_000  # rows in the order of a page, for those with words
MARGIN = 1.5  # by which more are looked at than would do, if words were spread evenly
LINES, LINES_MAX = 500, 2000  # of the report of sales that are looked up first, one by one
FEW = 1000  # products that are sorted by their sales, rather than looked up line by line


class Sales(NamedTuple):
    """Lines of a report in its order: products, and how many units of each were sold."""

    ids: Sequence[int]
    units: Sequence[int]

    def lines(self, first: int, last: int | None = None) -> Sales:
        return Sales(self.ids[first:last], self.units[first:last])

    def after(self, place: Sequence[int]) -> Sales:
        """Return the lines that follow a place in the order of sales; without one, all."""
        if not place:
            return self
        units, last = place
        at = bisect_right(
            range(len(self.ids)),
            (-units, last),
            key=lambda line: (-self.units[line], self.ids[line]),
        )
        return self.lines(at)


class StepsChangedError(Exception):
    """The prices of a page are in other steps than those that it is to depend on."""


def page_of(query: Query, steps: Collection[int] | None = None) -> dict[str, Any]:
    """Return the ids of a page, the cursor of the next one, and of when a report is.

    Raises StepsChangedError unless its prices are in these steps, and CurrencyRequiredError. What
    is refused is no entry, so that no answer is made of one.
    """
    filters = _of_one_currency(query.filters) if query.compares_prices else query.filters
    page: dict[str, Any] = {}
    match query.sort:
        case "relevance":
            rows = _by_relevance(query, filters)
        case "best_selling":
            report = orjson.loads(stats.units_sold("all"))
            page["as_of"] = report["as_of"]
            rows = _by_sales(query, filters, Sales(report["ids"], report["units"]))
        case _:
            rows = _by_column(query, filters)
    if steps is not None and steps != _steps(query, rows):
        raise StepsChangedError
    rows = rows[query.skip :]
    page = {"ids": [row[0] for row in rows[: query.limit]]} | page
    if len(rows) > query.limit:
        one, *values = rows[query.limit - 1]
        page["next"] = write_cursor(query.question, [*values, one])
    return page


def steps_of(query: Query) -> list[int]:
    """Return the steps between which the prices of a page are, and the place where it begins.

    Raises CurrencyRequiredError.
    """
    return _steps(query, _by_column(query, _of_one_currency(query.filters)))


def _steps(query: Query, rows: Rows) -> list[int]:
    found = [*query.steps_of_place, *(step(row[1]) for row in (*rows[:1], *rows[-1:]))]
    return list(range(min(found), max(found) + 1)) if found else []


def conditions_of(filters: Filters) -> Conditions:
    """Return what a product must meet. Raises CurrencyRequiredError."""
    if filters.by_price:
        filters = _of_one_currency(filters)
    words = None if filters.q is None else understand(read(filters.q)).condition
    return statements.conditions(filters, words)


def _of_one_currency(filters: Filters) -> Filters:
    """Say the currency that all products have, with which an index of prices begins.

    Raises CurrencyRequiredError where they have several, and none is named.
    """
    if filters.currency is not None:
        return filters
    currencies = _currencies(filters)
    if len(currencies) > 1:
        message = f"There are prices in {' and '.join(currencies)}: say in which they are compared."
        raise CurrencyRequiredError(message, {"currency": message}, currencies=currencies)
    return replace(filters, currency=currencies[0]) if currencies else filters


def _currencies(filters: Filters) -> list[str]:
    """Return the currency of the products in these categories, or two of several."""
    where = statements.conditions(Filters(active=filters.active))
    row = db.session.execute(statements.currencies(filters.category_ids, where)).one()
    return sorted(set(filter(None, row)))


def _by_column(query: Query, filters: Filters) -> Rows:
    if filters.q is None:
        return db.session.execute(_in_order(query, filters, query.rows)).all()
    words, order = understand(read(filters.q)).condition, statements.ORDERS.get(query.sort)
    rows: list[Any] = []
    for looked_at in _lengths(query.rows, rows):
        first = _in_order(query, replace(filters, q=None), looked_at)
        rows[:] = db.session.execute(statements.among(first, words, order, query.rows))
        if len(rows) == query.rows:
            return rows
    where = statements.conditions(filters, words)
    found = statements.page_of_words(where, order, query.place, query.rows)
    return db.session.execute(found).all()


def _in_order(query: Query, filters: Filters, rows: int) -> Any:
    """Select the first rows after a place in the order of a column, by settled filters alone."""
    order, categories = statements.ORDERS.get(query.sort), filters.category_ids
    if len(categories) > 1:
        where = statements.conditions(replace(filters, category_ids=()))
        return statements.page_of_categories(categories, where, order, query.place, rows)
    return statements.page(statements.conditions(filters), order, query.place, rows)


def _lengths(wanted: int, rows: list[Any]) -> Iterator[int]:
    """Yield how many rows to look at for those that have the words: few, then as many as may do.

    `rows` are those that the last look has found. Where they are too few the words are rare, and
    to be looked up is cheaper.
    """
    yield LOOKED_AT
    if rows and (likely := int(MARGIN * LOOKED_AT * wanted / len(rows))) <= LOOKED_AT_MAX:
        yield likely


def _by_relevance(query: Query, filters: Filters) -> Rows:
    """Return the best first; a score of UNRANKED is that of rows which follow by id."""
    understood = understand(read(filters.q or ""))
    after = None
    if query.place:
        boundary, score, last = query.place
        after = Place(Ranked(last, None if score == UNRANKED else score), boundary)
    where = statements.conditions(filters)
    rows, boundary = ranked_page(understood, where, after, query.rows)
    return [(one, boundary, UNRANKED if score is None else score) for one, score in rows]


def _by_sales(query: Query, filters: Filters, sales: Sales) -> Rows:
    """Return the products of a report in its order, and after them all others by id.

    The beginning of the report is often enough to fill a page. If it is not, few products may meet
    the conditions; if they are not few, more lines are looked up, and at last all are.
    """
    where, left = conditions_of(filters), sales.after(query.place)
    more, rest = left.lines(LINES, LINES_MAX), left.lines(LINES_MAX)
    rows = _sold(where, left.lines(0, LINES), query.rows)
    if len(rows) < query.rows and more.ids:
        found = db.session.scalars(statements.some(where, FEW + 1)).all()
        if len(found) <= FEW:
            return _in_order_of_sales(found, sales, query)
        rows += _sold(where, more, query.rows - len(rows))
        rows += _sold(where, rest, query.rows - len(rows), one_by_one=False)
    if len(rows) < query.rows:
        others = [*where, statements.is_not_sold(sales.ids)]
        place = query.place[1:] if query.place and query.place[0] == 0 else ()
        select = statements.page if filters.q is None else statements.page_of_words
        page = select(others, None, place, query.rows - len(rows))
        rows += [(one, 0) for one in db.session.scalars(page)]
    return rows


def _sold(
    where: Conditions, sales: Sales, rows: int, *, one_by_one: bool = True
) -> list[Sequence[Any]]:
    """Return those of some lines of a report that meet the conditions, until there are enough."""
    if not sales.ids or not rows:
        return []
    found = statements.page_of_sold(where, *sales, rows, one_by_one=one_by_one)
    return list(db.session.execute(found))


def _in_order_of_sales(ids: Sequence[int], sales: Sales, query: Query) -> Rows:
    """Return the page of the ids, which are all that there are."""
    units = dict(zip(*sales, strict=True))
    rows = sorted(((one, units.get(one, 0)) for one in ids), key=lambda row: (-row[1], row[0]))
    if query.place:
        sold, last = query.place
        rows = [row for row in rows if (-row[1], row[0]) > (-sold, last)]
    return rows[: query.rows]
