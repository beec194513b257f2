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

from sqlalchemy import and_, func, or_, select, true

from shop.extensions import db
from shop.fields import INTEGER_MAX
from shop.products.models import Product

from .statements import all_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import CTE, ColumnElement, Select

    from .text import Understood

CANDIDATES = 1000
GROWTH_MAX = 2  # times as many are ranked if they have become so many during a walk
WINDOW = 2048  # ids to look at first
WINDOWS_MAX = 96  # as many as are looked at next; beyond them it is quicker to look at all
WINDOWS_READ = 4  # up to as many are read row by row, without an index of words
MARGIN = 1.3  # by which the next ids are more than those that would do, if all were alike


class Row(NamedTuple):
    id: int
    score: int | None  # None: it follows those that are ranked


class Place(NamedTuple):
    """Where a page ends: after which row, and up to which id rows are ranked."""

    row: Row
    boundary: int


def ranked_page(
    understood: Understood,
    filters: Sequence[ColumnElement[bool]],
    after: Place | None,
    limit: int,
) -> tuple[list[Row], int]:
    """Return at most `limit` rows that are understood and meet the filters, and the boundary.

    A row whose score does not change is on one page, whatever else comes and goes.
    """
    last, boundary = after or (None, INTEGER_MAX)
    rows: list[Row] = []
    if last is None or last.score is not None:
        rows, boundary = _ranked(understood, filters, after, limit)
        last = Row(boundary, None)
    if len(rows) < limit and last.id < INTEGER_MAX:
        following = _following(understood, filters, last.id, limit - len(rows))
        rows += [Row(one, None) for one in following]
    return rows, boundary


def _ranked(
    understood: Understood,
    filters: Sequence[ColumnElement[bool]],
    after: Place | None,
    limit: int,
) -> tuple[list[Row], int]:
    """Return rows up to the boundary, the best first, and the boundary.

    Anybody can write a cursor with any boundary, so only a bounded number of rows is ranked, and
    the last of them is the boundary then. It leaves room for rows that enter during a walk.
    """
    last, boundary = after or (None, INTEGER_MAX)
    most = CANDIDATES if last is None else CANDIDATES * GROWTH_MAX
    ranges = _Ranges(understood, 0, boundary, most)
    for condition, end in ranges:
        found = all_of(Product.id, where=[condition, *filters, Product.id <= end])
        statement = _best(found, most, understood.score, last, limit)
        rows = db.session.execute(statement).all()
        ranges.found = rows[0].candidates
    if ranges.found == most:
        boundary = rows[0].boundary  # of fewer the old one stays, and rows that come are ranked
    return [Row(row.id, row.score) for row in rows if row.id is not None], boundary


def _best(
    found: CTE[Any], most: int, score: ColumnElement[int], last: Row | None, limit: int
) -> Select[Any]:
    """Select a page of the first rows found, ranked; each with their number and the last id.

    A page without rows is one row that has these alone.
    """
    first = select(found.c.id).order_by(found.c.id).limit(most).cte("first")
    ids = func.array(select(first.c.id).scalar_subquery())
    score = score.label("score")
    scored = all_of(Product.id, score, where=[Product.id == func.any(ids)], name="scored")
    page = select(scored).order_by(scored.c.score.desc(), scored.c.id).limit(limit)
    if last is not None:
        same = and_(scored.c.score == last.score, scored.c.id > last.id)
        page = page.where(or_(scored.c.score < last.score, same))
    best = page.subquery("best")
    candidates = select(
        func.count().label("candidates"), func.max(first.c.id).label("boundary")
    ).subquery("candidates")
    return (
        select(*candidates.c, *best.c)
        .select_from(candidates.outerjoin(best, true()))
        .order_by(best.c.score.desc(), best.c.id)
    )


def _following(
    understood: Understood, filters: Sequence[ColumnElement[bool]], last: int, limit: int
) -> list[int]:
    """Return the first ids after one."""
    ids: list[int] = []
    ranges = _Ranges(understood, last, INTEGER_MAX, limit)
    for condition, end in ranges:
        where = [condition, *filters, Product.id > last, Product.id <= end]
        found = all_of(Product.id, where=where)
        ids += db.session.scalars(select(found).order_by(found.c.id).limit(limit - len(ids)))
        last, ranges.found = end, len(ids)
    return ids


class _Ranges:
    """Ends of ranges of ids to look at until enough rows are `found` up to one.

    The first is short, the second as long as is likely to do, the third has all. Each comes with
    the condition to look by: to read a few thousand rows is cheaper than to look up a frequent
    word, or all that begin so.
    """

    def __init__(self, understood: Understood, first: int, until: int, wanted: int) -> None:
        self.found = 0
        self._understood = understood
        self._first = first
        self._until = until
        self._wanted = wanted

    def __iter__(self) -> Iterator[tuple[ColumnElement[bool], int]]:
        condition = self._understood.condition
        is_long = self._until - self._first > WINDOW * WINDOWS_MAX
        if is_long and not self._understood.is_few:
            yield self._understood.unindexed, self._first + WINDOW
            windows = MARGIN * self._wanted / max(self.found, 1)
            if self.found < self._wanted and windows <= WINDOWS_MAX:
                next_look = self._understood.unindexed if windows <= WINDOWS_READ else condition
                yield next_look, self._first + int(WINDOW * windows)
        if self.found < self._wanted:
            yield condition, self._until
