"""Pages of a list: their ids are one cached document, their rows are others."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import orjson
from marshmallow import Schema
from sqlalchemy import select

from .extensions import db
from .fields import LIMIT, SKIPPED, WholeText

if TYPE_CHECKING:
    from sqlalchemy import ColumnExpressionArgument
    from sqlalchemy.orm import InstrumentedAttribute


class Page(NamedTuple):
    """Rows `skip` to `skip + limit` of a list, as JSON documents; `more` follow or do not."""

    documents: list[bytes]
    skip: int
    limit: int
    more: bool

    def to_json(self) -> bytes:
        """Compose the answer from the rows' documents, as they are."""
        items = b",".join(self.documents)
        return b'{"items":[%b],"skip":%d,"limit":%d}' % (items, self.skip, self.limit)


def select_page_ids(
    column: InstrumentedAttribute[int],
    skip: int,
    limit: int,
    *conditions: ColumnExpressionArgument[bool],
) -> bytes:
    """Return the ids of a page in id order, and whether more follow, as a JSON document.

    The page is one of the rows that meet all conditions.
    """
    statement = select(column).where(*conditions).order_by(column)
    ids = list(db.session.scalars(statement.offset(skip).limit(limit + 1)))
    return dump({"ids": ids[:limit], "more": len(ids) > limit})


def has_more(page_ids: bytes) -> bool:
    """Tell whether more rows follow those of that document."""
    return page_ids.endswith(b'"more":true}')


def dump(value: object) -> bytes:
    """Encode compact JSON in UTF-8."""
    return orjson.dumps(value)


def page_query(default: int, most: int) -> Schema:
    """Return the schema of `?skip=0&limit=…` for a list."""
    query = Schema.from_dict(
        {
            "skip": WholeText(0, load_default=0, metadata=SKIPPED),
            "limit": WholeText(1, most, load_default=default, metadata=LIMIT),
        }
    )
    return query()
