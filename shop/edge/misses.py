"""Reads of which something is not cached: the memoized functions alone, in a thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask.globals import app_ctx

from shop.fields import INTEGER_MAX
from shop.pages import row_ids

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flask import Flask

    from shop.answers import Document
    from shop.cache import Found, MemoizedMany
    from shop.facts import Asked, Facts
    from shop.pages import Join

    from .address import Address


def compute(app: Flask, known: Facts, asked: Asked, address: Address) -> Document | None:
    """Return what Flask would answer with; None where that is no document.

    Raises what the memoized functions do.
    """
    with app.app_context():
        app_ctx.g.facts = known
        try:
            found = _read(asked, address)
        except BaseException:
            known.outcome = None  # whoever answers instead begins anew
            raise
        return address.compose(found) if found else None


def read_rows(
    app: Flask, known: Facts, rows: MemoizedMany[int], ids: Sequence[int]
) -> tuple[Mapping[int, Found], Exception | None]:
    """Return rows, each for another request, and why the others could not be read."""
    with app.app_context():
        app_ctx.g.facts = known
        return rows.read_apart(ids)


def _read(asked: Asked, address: Address) -> list[Any] | None:
    """Read the documents, in the form in which the script returns them."""
    if address.is_row and int(asked.row) > INTEGER_MAX:
        return None  # no row has such an id
    entries = [document for one in address.entries for document in one.again()]
    if address.rows is None:
        return [entries, []]
    ids = (
        [int(asked.row)]
        if address.is_row
        else row_ids(list(map(int, address.ids)), filter(None, entries))
    )
    rows = list(address.rows(ids).values())
    return [entries, rows, *(_joined(join, rows) for join in address.joins)]


def _joined(join: Join, rows: Sequence[bytes]) -> list[bytes]:
    """Return the numbers that rows have and the documents with these, in turn."""
    found = join.function(join.numbers(rows)).items()
    return [part for number, document in found for part in (str(number).encode(), document)]
