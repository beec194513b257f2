"""Find products in the order of the sales report, however many of them a filter leaves."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any, NamedTuple

from shop.extensions import db

from . import statements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .query import Query
    from .statements import Conditions

    Rows = list[Sequence[Any]]  # of each row the id of a product, and its units sold

LINES_FIRST, LINES_MAX = 500, 2000  # lines of the report that are looked up one by one
SORTED_MAX = 1000  # products that are sorted by their sales, rather than looked up by lines


class Sales(NamedTuple):
    """Lines of the sales report in its order: products, and the units sold of each."""

    ids: Sequence[int]
    units: Sequence[int]

    def lines(self, first: int, last: int | None = None) -> Sales:
        return Sales(self.ids[first:last], self.units[first:last])

    def after(self, cursor_values: Sequence[int]) -> Sales:
        """Return the lines after a cursor; without a cursor, all lines."""
        if not cursor_values:
            return self
        units, last_id = cursor_values
        at = bisect_right(
            range(len(self.ids)),
            (-units, last_id),
            key=lambda line: (-self.units[line], self.ids[line]),
        )
        return self.lines(at)


def find_best_sellers(query: Query, where: Conditions, sales: Sales) -> Rows:
    """Return the products of the report in its order, and after them all others by id.

    The beginning of the report often fills a page. If it does not, few products may meet the
    conditions, and these are sorted by their sales. Otherwise more lines are looked up, then all.
    """
    wanted, left = query.rows_needed, sales.after(query.cursor_values)
    more, rest = left.lines(LINES_FIRST, LINES_MAX), left.lines(LINES_MAX)
    rows = _find_sold(where, left.lines(0, LINES_FIRST), wanted)
    if len(rows) < wanted and more.ids:
        few = db.session.scalars(statements.select_some_ids(where, SORTED_MAX + 1)).all()
        if len(few) <= SORTED_MAX:
            return _sort_by_sales(few, sales, query)
        rows += _find_sold(where, more, wanted - len(rows))
        rows += _find_sold(where, rest, wanted - len(rows), one_by_one=False)
    if len(rows) < wanted:
        rows += _find_unsold(query, where, sales, wanted - len(rows))
    return rows


def _find_sold(where: Conditions, sales: Sales, rows: int, *, one_by_one: bool = True) -> Rows:
    """Return the products of some lines that meet the conditions, `rows` at most."""
    if not sales.ids or not rows:
        return []
    page = statements.select_page_of_sold(where, *sales, rows, one_by_one=one_by_one)
    return list(db.session.execute(page))


def _find_unsold(query: Query, where: Conditions, sales: Sales, rows: int) -> Rows:
    """Return products that are in no line of the report, by id."""
    unsold = [*where, statements.is_unsold(sales.ids)]
    cursor = query.cursor_values
    after = cursor[1:] if cursor and cursor[0] == 0 else ()
    by_words = query.filters.q is not None
    select = statements.select_page_of_matches if by_words else statements.select_page
    return [(one, 0) for one in db.session.scalars(select(unsold, None, after, rows))]


def _sort_by_sales(ids: Sequence[int], sales: Sales, query: Query) -> Rows:
    """Return the page of these products, which are all that meet the conditions."""
    units = dict(zip(*sales, strict=True))
    rows: Rows = [(one, units.get(one, 0)) for one in ids]
    rows.sort(key=lambda row: (-row[1], row[0]))
    if query.cursor_values:
        sold, last_id = query.cursor_values
        rows = [row for row in rows if (-row[1], row[0]) > (-sold, last_id)]
    return rows[: query.rows_needed]
