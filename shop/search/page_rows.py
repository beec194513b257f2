"""Find the rows of one page: choose the statement for its order, and end the page with a cursor."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson

from shop.extensions import db
from shop.money import step
from shop.problems import CurrencyRequiredError
from shop.stats import service as stats

from . import statements
from .best_sellers import Sales, find_best_sellers
from .cursor import write_cursor
from .matching import build_matcher
from .query import Filters
from .ranking import RankedRow, RankingCursor, read_ranked_page

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from .query import Query
    from .statements import Conditions

    Rows = Sequence[Sequence[Any]]  # of each row its id, and the values that it is sorted by

UNRANKED_SCORE = -1  # in a cursor: the row follows those that are ranked
READ_FIRST, READ_MAX = 1000, 10_000  # rows of an order that are read to find those with the words
MARGIN = 1.5  # times the rows that would do, if matches were spread evenly


class StepsChangedError(Exception):
    """The prices of a page are in other price steps than those that it would be stored under."""


def find_page(query: Query, price_steps: Collection[int] | None = None) -> dict[str, Any]:
    """Return the ids of a page, the cursor of the next page, and the time of the sales report.

    Raises StepsChangedError unless the prices of the page are in these steps. Raises
    CurrencyRequiredError; an error is never cached.
    """
    filters = _with_currency(query.filters) if query.compares_prices else query.filters
    page: dict[str, Any] = {}
    match query.sort:
        case "relevance":
            rows = _find_by_relevance(query, filters)
        case "best_selling":
            report = orjson.loads(stats.units_sold("all"))
            page["as_of"] = report["as_of"]
            sales = Sales(report["ids"], report["units"])
            rows = find_best_sellers(query, build_conditions(filters), sales)
        case _:
            rows = _find_by_column(query, filters)
    if price_steps is not None and price_steps != _price_steps(query, rows):
        raise StepsChangedError
    rows = rows[query.skip :]
    page = {"ids": [row[0] for row in rows[: query.limit]]} | page
    if len(rows) > query.limit:
        last_id, *values = rows[query.limit - 1]
        page["next"] = write_cursor(query.list_name, [*values, last_id])
    return page


def find_price_steps(query: Query) -> list[int]:
    """Return the steps that the prices of a page span, from the cursor on where there is one.

    Raises CurrencyRequiredError.
    """
    return _price_steps(query, _find_by_column(query, _with_currency(query.filters)))


def _price_steps(query: Query, rows: Rows) -> list[int]:
    steps = [*query.cursor_price_steps, *(step(row[1]) for row in (*rows[:1], *rows[-1:]))]
    return list(range(min(steps), max(steps) + 1)) if steps else []


def build_conditions(filters: Filters) -> Conditions:
    """Return the conditions that a product must meet. Raises CurrencyRequiredError."""
    if filters.has_price_range:
        filters = _with_currency(filters)
    words = None if filters.q is None else build_matcher(filters.q).condition
    return statements.conditions(filters, words)


def _with_currency(filters: Filters) -> Filters:
    """Add the one currency of the products to the filters: an index of prices begins with it.

    Raises CurrencyRequiredError if the products have several currencies and the filters name none.
    """
    if filters.currency is not None:
        return filters
    currencies = _find_currencies(filters)
    if len(currencies) > 1:
        message = f"There are prices in {' and '.join(currencies)}: say in which they are compared."
        raise CurrencyRequiredError(message, {"currency": message}, currencies=currencies)
    return replace(filters, currency=currencies[0]) if currencies else filters


def _find_currencies(filters: Filters) -> list[str]:
    """Return the currency of the products in the categories, or two if they have several."""
    where = statements.conditions(Filters(active=filters.active))
    row = db.session.execute(statements.select_currencies(filters.category_ids, where)).one()
    return sorted(set(filter(None, row)))


def _find_by_column(query: Query, filters: Filters) -> Rows:
    """Find the rows in the order of a column.

    Products that match words are sought among the first rows of that order. If these have too few,
    the words are rare, and the matches are looked up and sorted.
    """
    if filters.q is None:
        return db.session.execute(_select_in_order(query, filters, query.rows_needed)).all()
    words, order = build_matcher(filters.q).condition, statements.ORDERS.get(query.sort)
    rows: list[Any] = []
    for count in _counts_to_read(query.rows_needed, rows):
        first = _select_in_order(query, replace(filters, q=None), count)
        rows[:] = db.session.execute(
            statements.select_matches_among(first, words, order, query.rows_needed)
        )
        if len(rows) == query.rows_needed:
            return rows
    where = statements.conditions(filters, words)
    page = statements.select_page_of_matches(where, order, query.cursor_values, query.rows_needed)
    return db.session.execute(page).all()


def _select_in_order(query: Query, filters: Filters, rows: int) -> Any:
    """Select the first rows after the cursor in the order of a column, without regard to words."""
    order, category_ids = statements.ORDERS.get(query.sort), filters.category_ids
    if len(category_ids) > 1:
        where = statements.conditions(replace(filters, category_ids=()))
        return statements.select_page_of_categories(
            category_ids, where, order, query.cursor_values, rows
        )
    return statements.select_page(statements.conditions(filters), order, query.cursor_values, rows)


def _counts_to_read(wanted: int, matches: list[Any]) -> Iterator[int]:
    """Yield how many rows of an order to read: few, then as many as will probably do.

    `matches` has the matches of the first reading by then. The second reading is left out if it
    would need more than READ_MAX rows.
    """
    yield READ_FIRST
    if matches and (likely := int(MARGIN * READ_FIRST * wanted / len(matches))) <= READ_MAX:
        yield likely


def _find_by_relevance(query: Query, filters: Filters) -> Rows:
    """Find the best rows first; those that follow the ranked ones have UNRANKED_SCORE."""
    cursor = None
    if query.cursor_values:
        boundary, score, last_id = query.cursor_values
        row = RankedRow(last_id, None if score == UNRANKED_SCORE else score)
        cursor = RankingCursor(row, boundary)
    where = statements.conditions(filters)
    matcher = build_matcher(filters.q or "")
    rows, boundary = read_ranked_page(matcher, where, cursor, query.rows_needed)
    return [(row.id, boundary, UNRANKED_SCORE if row.score is None else row.score) for row in rows]
