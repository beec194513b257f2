"""Reads with a missing document: call the memoized functions in a thread, without Flask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask.globals import app_ctx

from shop.fields import INTEGER_MAX
from shop.pages import row_ids

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flask import Flask

    from shop.answers import Document
    from shop.cache import MemoizedMany, ReadResult
    from shop.facts import Facts, ReadRequest
    from shop.pages import Join

    from .read_plan import ReadPlan


def compute(app: Flask, facts: Facts, read: ReadRequest, plan: ReadPlan) -> Document | None:
    """Return the document that Flask would answer with; None if there is none.

    Raises the errors of the memoized functions.
    """
    with app.app_context():
        app_ctx.g.facts = facts
        try:
            found = _read(read, plan)
        except BaseException:
            facts.outcome = None  # Flask, which answers then, begins anew
            raise
        return plan.compose(found) if found else None


def read_rows(
    app: Flask, facts: Facts, rows: MemoizedMany[int], ids: Sequence[int]
) -> tuple[Mapping[int, ReadResult], Exception | None]:
    """Return rows, each for another request, and the error for rows that could not be read."""
    with app.app_context():
        app_ctx.g.facts = facts
        return rows.read_coalesced(ids)


def _read(read: ReadRequest, plan: ReadPlan) -> list[Any] | None:
    """Read the documents, in the form in which the script returns them."""
    if plan.is_row and int(read.row) > INTEGER_MAX:
        return None  # no row has such an id
    entries = [document for one in plan.entries for document in one.read_again()]
    if plan.rows is None:
        return [entries, []]
    ids = (
        [int(read.row)] if plan.is_row else row_ids(list(map(int, plan.ids)), filter(None, entries))
    )
    rows = list(plan.rows(ids).values())
    return [entries, rows, *(_joined(join, rows) for join in plan.joins)]


def _joined(join: Join, rows: Sequence[bytes]) -> list[bytes]:
    """Return the numbers that rows name and the documents with these numbers, in turn."""
    found = join.function(join.numbers(rows)).items()
    return [part for number, document in found for part in (str(number).encode(), document)]
