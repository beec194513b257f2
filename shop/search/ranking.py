"""Read pages of matches, the best first, at a cost that frequent words do not raise.

The first `CANDIDATES_MAX` matches by id are ranked, and the others follow by id. The last id that
is ranked is the boundary: the cursor carries it, so that no row moves from one part to the other
from page to page.

PostgreSQL plans a statement with LIMIT for rows that it expects to meet soon, and reads a whole
index where it is wrong. So each statement here is planned for all its rows, within a range of ids
or by the words, and the limit is applied to the result (MATERIALIZED).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import and_, func, or_, select, true

from shop.extensions import db
from shop.fields import INTEGER_MAX
from shop.products.models import Product

from .statements import materialized

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import CTE, ColumnElement, Select

    from .matching import Matcher
    from .statements import Conditions

CANDIDATES_MAX = 1000  # matches that are ranked
GROWTH_MAX = 2  # times CANDIDATES_MAX that a later page ranks, if matches came since the first page
WINDOW = 2048  # ids in the first range
WINDOWS_MAX = 96  # windows in the second range; instead of more, all ids are quicker
WINDOWS_READ = 4  # windows up to which rows are read without the index of words
MARGIN = 1.3  # times the ids that would do, if matches were spread evenly


class RankedRow(NamedTuple):
    id: int
    score: int | None  # None for a row that follows the ranked ones


class RankingCursor(NamedTuple):
    """The last row of a page, and the last id that is ranked."""

    row: RankedRow
    boundary: int


def read_ranked_page(
    matcher: Matcher, conditions: Conditions, cursor: RankingCursor | None, limit: int
) -> tuple[list[RankedRow], int]:
    """Return at most `limit` matches that meet the conditions, and the boundary.

    A row whose score does not change is on one page, whatever rows come and go.
    """
    last, boundary = cursor or (None, INTEGER_MAX)
    rows: list[RankedRow] = []
    if last is None or last.score is not None:
        rows, boundary = _read_ranked(matcher, conditions, cursor, limit)
        last = RankedRow(boundary, None)
    if len(rows) < limit and last.id < INTEGER_MAX:
        following = _read_unranked_ids(matcher, conditions, last.id, limit - len(rows))
        rows += [RankedRow(product_id, None) for product_id in following]
    return rows, boundary


def _read_ranked(
    matcher: Matcher, conditions: Conditions, cursor: RankingCursor | None, limit: int
) -> tuple[list[RankedRow], int]:
    """Return matches up to the boundary, the best first, and the boundary.

    A client can forge a cursor with any boundary. So the number of candidates is bounded, and if
    there are more the last candidate becomes the boundary. GROWTH_MAX leaves room for products that
    are added between two pages.
    """
    last, boundary = cursor or (None, INTEGER_MAX)
    most = CANDIDATES_MAX if last is None else CANDIDATES_MAX * GROWTH_MAX
    ranges = _IdRanges(matcher, 0, boundary, most)
    for condition, end in ranges:
        matches = materialized(Product.id, where=[condition, *conditions, Product.id <= end])
        statement = _select_best(matches, most, matcher.score, last, limit)
        rows = db.session.execute(statement).all()
        ranges.found = rows[0].candidates
    if ranges.found == most:
        boundary = rows[0].boundary  # with fewer, it stays, and rows that come are ranked
    return [RankedRow(row.id, row.score) for row in rows if row.id is not None], boundary


def _select_best(
    matches: CTE[Any], most: int, score: ColumnElement[int], last: RankedRow | None, limit: int
) -> Select[Any]:
    """Rank the first matches, and select a page of them.

    Each row also has the number of candidates and the last id of them. An empty page is one row
    that has these two alone.
    """
    first = select(matches.c.id).order_by(matches.c.id).limit(most).cte("first")
    ids = func.array(select(first.c.id).scalar_subquery())
    score = score.label("score")
    scored = materialized(Product.id, score, where=[Product.id == func.any(ids)], name="scored")
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


def _read_unranked_ids(
    matcher: Matcher, conditions: Conditions, last_id: int, limit: int
) -> Sequence[int]:
    """Return the ids of the first matches after an id."""
    ids: list[int] = []
    ranges = _IdRanges(matcher, last_id, INTEGER_MAX, limit)
    for condition, end in ranges:
        where = [condition, *conditions, Product.id > last_id, Product.id <= end]
        matches = materialized(Product.id, where=where)
        ids += db.session.scalars(select(matches).order_by(matches.c.id).limit(limit - len(ids)))
        last_id, ranges.found = end, len(ids)
    return ids


class _IdRanges:
    """Ends of ranges of ids to read, until `found` rows are enough.

    The first range is short, the second is as long as will probably do, and the third has all ids.
    Each comes with the condition to read by: to read a few thousand rows is cheaper than to look up
    a frequent word or prefix in the index.
    """

    def __init__(self, matcher: Matcher, first_id: int, last_id: int, wanted: int) -> None:
        self.found = 0
        self._matcher = matcher
        self._first_id = first_id
        self._last_id = last_id
        self._wanted = wanted

    def __iter__(self) -> Iterator[tuple[ColumnElement[bool], int]]:
        condition, unindexed = self._matcher.condition, self._matcher.unindexed_condition
        is_long = self._last_id - self._first_id > WINDOW * WINDOWS_MAX
        if is_long and not self._matcher.lists_ids:
            yield unindexed, self._first_id + WINDOW
            windows = MARGIN * self._wanted / max(self.found, 1)
            if self.found < self._wanted and windows <= WINDOWS_MAX:
                by = unindexed if windows <= WINDOWS_READ else condition
                yield by, self._first_id + int(WINDOW * windows)
        if self.found < self._wanted:
            yield condition, self._last_id
