"""Pages of what a search finds, the best first, at a cost that frequent words do not raise.

Of what is found, the first `CANDIDATES` by id are ranked, and the others follow by id. The last id
that is ranked is the boundary: the cursor carries it, so that no row moves from one part to the
other while somebody turns pages.

PostgreSQL plans a statement with LIMIT for rows that it expects to meet soon, and reads a whole
index where it is wrong. So each statement here is planned for all its rows, within a range of ids
or by the words, and the limit is applied to what that finds (MATERIALIZED).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import ARRAY, Integer, and_, bindparam, func, or_, select

from shop.extensions import db
from shop.fields import INTEGER_MAX
from shop.products.models import Product

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import CTE, ColumnElement

CANDIDATES = 2000
GROWTH_MAX = 2  # times as many are ranked if they have become so many during a walk
WINDOW = 16_384  # ids to look at first
WINDOWS_MAX = 4  # as many as are looked at next; beyond them it is quicker to look at all
MARGIN = 1.5  # by which the next ids are more than those that would do, if all were alike


class Row(NamedTuple):
    id: int
    score: int | None  # None: it follows those that are ranked


class Place(NamedTuple):
    """Where a page ends: after which row, and up to which id rows are ranked."""

    row: Row
    boundary: int


def ranked_page(
    condition: ColumnElement[bool],
    score: ColumnElement[int],
    filters: Sequence[ColumnElement[bool]],
    after: Place | None,
    limit: int,
) -> tuple[list[Row], int]:
    """Return at most `limit` rows that meet the condition and the filters, and the boundary.

    A row whose score does not change is on one page, whatever else comes and goes.
    """
    matching = and_(condition, *filters)
    last, boundary = after or (None, INTEGER_MAX)
    rows: list[Row] = []
    if last is None or last.score is not None:
        rows, boundary = _ranked(matching, score, after, limit)
        last = Row(boundary, None)
    if len(rows) < limit and last.id < INTEGER_MAX:
        rows += [Row(one, None) for one in _following(matching, last.id, limit - len(rows))]
    return rows, boundary


def _ranked(
    matching: ColumnElement[bool], score: ColumnElement[int], after: Place | None, limit: int
) -> tuple[list[Row], int]:
    """Return rows up to the boundary, the best first, and the boundary.

    Anybody can write a cursor with any boundary, so only a bounded number of rows is ranked, and
    the last of them is the boundary then. It leaves room for rows that enter during a walk.
    """
    last, boundary = after or (None, INTEGER_MAX)
    most = CANDIDATES if last is None else CANDIDATES * GROWTH_MAX
    ids = _following(matching, 0, most, boundary)
    if not ids:
        return [], boundary
    if len(ids) == most:
        boundary = ids[-1]  # of fewer rows the boundary stays, and those that come are ranked
    found = _all_of(Product.id, score.label("score"), where=Product.id == func.any(_array(ids)))
    page = select(found).order_by(found.c.score.desc(), found.c.id).limit(limit)
    if last is not None:
        same = and_(found.c.score == last.score, found.c.id > last.id)
        page = page.where(or_(found.c.score < last.score, same))
    return [Row(*row) for row in db.session.execute(page)], boundary


def _following(
    matching: ColumnElement[bool], last: int, limit: int, until: int = INTEGER_MAX
) -> list[int]:
    """Return the first ids after one, up to another.

    It looks at some ids, then at as many as are likely to do, then at all.
    """
    ids: list[int] = []
    for end in _ends(last, until, limit, ids):
        found = _all_of(Product.id, where=and_(matching, Product.id > last, Product.id <= end))
        ids += db.session.scalars(select(found).order_by(found.c.id).limit(limit - len(ids)))
        last = end
    return ids


def _ends(first: int, until: int, limit: int, ids: Sequence[int]) -> Iterator[int]:
    """Yield ends of ranges to look at until there are enough ids."""
    end = min(first + WINDOW, until)
    yield end
    if len(ids) < limit and end < until:
        likely = MARGIN * (limit - len(ids)) / max(len(ids), 1)
        if likely <= WINDOWS_MAX:
            end = min(end + int(WINDOW * likely), until)
            yield end
    if len(ids) < limit and end < until:
        yield until


def _array(ids: Sequence[int]) -> Any:
    return bindparam(None, list(ids), ARRAY(Integer))


def _all_of(*columns: Any, where: ColumnElement[bool]) -> CTE[Any]:
    return select(*columns).where(where).cte("found").prefix_with("MATERIALIZED")
