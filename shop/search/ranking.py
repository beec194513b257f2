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

from sqlalchemy import and_, func, or_, select

from shop.extensions import db
from shop.fields import INTEGER_MAX
from shop.products.models import Product

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import CTE, ColumnElement

CANDIDATES = 2000
WINDOWS = (16_384, 131_072, INTEGER_MAX)  # ids to look at, one after the other


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
    boundary = after.boundary if after else _boundary(matching)
    last = after.row if after else None
    rows = []
    if last is None or last.score is not None:
        rows = _ranked(matching, score, boundary, last, limit)
        last = Row(boundary, None)
    if len(rows) < limit:
        rows += [Row(one, None) for one in _following(matching, last.id, limit - len(rows))]
    return rows, boundary


def _boundary(matching: ColumnElement[bool]) -> int:
    """Return the last id to rank; of few rows all are ranked, and those that come."""
    some = select(_all_of(Product.id, where=matching)).limit(CANDIDATES + 1).subquery()
    if (db.session.scalar(select(func.count()).select_from(some)) or 0) <= CANDIDATES:
        return INTEGER_MAX
    ids = _following(matching, 0, CANDIDATES)
    return ids[-1] if len(ids) == CANDIDATES else INTEGER_MAX


def _ranked(
    matching: ColumnElement[bool],
    score: ColumnElement[int],
    boundary: int,
    after: Row | None,
    limit: int,
) -> list[Row]:
    within = matching if boundary == INTEGER_MAX else and_(matching, Product.id <= boundary)
    found = _all_of(Product.id, score.label("score"), where=within)
    page = select(found).order_by(found.c.score.desc(), found.c.id).limit(limit)
    if after:
        same = and_(found.c.score == after.score, found.c.id > after.id)
        page = page.where(or_(found.c.score < after.score, same))
    return [Row(*row) for row in db.session.execute(page)]


def _following(matching: ColumnElement[bool], last: int, limit: int) -> list[int]:
    """Return the first ids after `last`, in ranges that grow: of frequent words one is enough."""
    ids: list[int] = []
    for window in WINDOWS:
        end = min(last + window, INTEGER_MAX)
        if last == end or len(ids) == limit:
            break
        found = _all_of(Product.id, where=and_(matching, Product.id > last, Product.id <= end))
        ids += db.session.scalars(select(found).order_by(found.c.id).limit(limit - len(ids)))
        last = end
    return ids


def _all_of(*columns: Any, where: ColumnElement[bool]) -> CTE[Any]:
    return select(*columns).where(where).cte("found").prefix_with("MATERIALIZED")
