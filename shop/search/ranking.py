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
    if after is None:
        return _first_page(matching, score, limit)
    rows, (last, boundary) = [], after
    if last.score is not None:
        rows = _ranked(matching, score, after, limit)
        last = Row(boundary, None)
    if len(rows) < limit:
        rows += [Row(one, None) for one in _following(matching, last.id, limit - len(rows))]
    return rows, boundary


def _first_page(
    matching: ColumnElement[bool], score: ColumnElement[int], limit: int
) -> tuple[list[Row], int]:
    ids = _following(matching, 0, CANDIDATES)
    scored = select(Product.id, score).where(Product.id == func.any(_array(ids)))
    candidates = [Row(*row) for row in db.session.execute(scored)]
    boundary = ids[-1] if len(ids) == CANDIDATES else INTEGER_MAX  # of few, those that come count
    candidates.sort(key=lambda row: (-(row.score or 0), row.id))
    return candidates[:limit], boundary


def _ranked(
    matching: ColumnElement[bool], score: ColumnElement[int], after: Place, limit: int
) -> list[Row]:
    last, boundary = after
    found = _all_of(Product.id, score.label("score"), where=and_(matching, Product.id <= boundary))
    same = and_(found.c.score == last.score, found.c.id > last.id)
    page = select(found).where(or_(found.c.score < last.score, same))
    page = page.order_by(found.c.score.desc(), found.c.id).limit(limit)
    return [Row(*row) for row in db.session.execute(page)]


def _following(matching: ColumnElement[bool], last: int, limit: int) -> list[int]:
    """Return the first ids after one.

    It looks at some ids, then at as many as are likely to do, then at all.
    """
    ids: list[int] = []
    for end in _ends(last, limit, ids):
        found = _all_of(Product.id, where=and_(matching, Product.id > last, Product.id <= end))
        ids += db.session.scalars(select(found).order_by(found.c.id).limit(limit - len(ids)))
        last = end
    return ids


def _ends(first: int, limit: int, ids: Sequence[int]) -> Iterator[int]:
    """Yield ends of ranges to look at until there are enough ids."""
    yield min(first + WINDOW, INTEGER_MAX)
    if len(ids) < limit:
        likely = MARGIN * (limit - len(ids)) / max(len(ids), 1)
        if likely <= WINDOWS_MAX:
            yield min(first + WINDOW + int(WINDOW * likely), INTEGER_MAX)
    if len(ids) < limit:
        yield INTEGER_MAX


def _array(ids: Sequence[int]) -> Any:
    return bindparam(None, list(ids), ARRAY(Integer))


def _all_of(*columns: Any, where: ColumnElement[bool]) -> CTE[Any]:
    return select(*columns).where(where).cte("found").prefix_with("MATERIALIZED")
