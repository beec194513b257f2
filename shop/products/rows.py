"""Rows of products, read and changed by statements that are built once.

For one row the ORM costs more than the rest of a write: it builds each statement anew, keeps the
row, compares it with its former values, and refreshes it (docs/performance.md).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from marshmallow import fields
from sqlalchemy import (
    ARRAY,
    Integer,
    any_,
    bindparam,
    delete,
    insert,
    inspect,
    or_,
    select,
    update,
)

from shop.extensions import cache, db
from shop.pages import dump

from .models import Product
from .schemas import ProductSchema

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy.sql.dml import ReturningUpdate

    Row = dict[str, Any]  # by the names of columns

# The columns of a document; by the others products are found.
DOCUMENT_COLUMNS = [one.columns[0] for one in inspect(Product).column_attrs if not one.deferred]
COLUMN_NAMES = [one.name for one in DOCUMENT_COLUMNS]
TABLE = db.metadata.tables[Product.__tablename__]
HAS_ID = TABLE.c.id == bindparam("this")

READ = select(*DOCUMENT_COLUMNS).where(TABLE.c.id == any_(bindparam("these", type_=ARRAY(Integer))))
LOCK = select(*DOCUMENT_COLUMNS).where(HAS_ID).with_for_update()
# These write the columns of their parameters.
CREATE = insert(TABLE).returning(*DOCUMENT_COLUMNS)
CHANGE = update(TABLE).where(HAS_ID).returning(*DOCUMENT_COLUMNS)
DELETE = delete(TABLE).where(HAS_ID)

schema = ProductSchema()
# A row has the names and the order of the schema. Values of these fields need no serialization.
PLAIN_FIELDS = fields.String | fields.Integer | fields.Boolean
SERIALIZED_FIELDS = [
    (name, field)
    for name, field in schema.dump_fields.items()
    if not isinstance(field, PLAIN_FIELDS)
]


def document(row: Row) -> bytes:
    """Return the document of a row: the same as the schema's dump, at a third of the cost."""
    return dump(row | {name: field.serialize(name, row) for name, field in SERIALIZED_FIELDS})


def read(product_ids: Sequence[int]) -> list[Row]:
    return list(map(_row, db.session.execute(READ, {"these": list(product_ids)})))


def lock(product_id: int) -> Row | None:
    """Lock a row within a transaction, and return it; None if it does not exist."""
    found = cache.execute(LOCK, {"this": product_id}).first()
    return None if found is None else _row(found)


def create(values: Mapping[str, Any]) -> Row:
    return _row(cache.execute(CREATE, values).one())


def change(row: Row, values: Mapping[str, Any]) -> Row:
    """Give a locked row these values, and return the new row.

    A row that has the values already is not written, so `updated_at` stays.
    """
    differing = {name: value for name, value in values.items() if row[name] != value}
    if not differing:
        return row
    return _row(cache.execute(CHANGE, {"this": row["id"], **differing}).one())


def lock_and_change(product_id: int, values: Mapping[str, Any]) -> tuple[Row, Row] | None:
    """Lock a row and change it in one statement; return the old and the new row.

    Return None if the row does not exist, or has these values already.
    """
    statement = _lock_and_change(tuple(sorted(values)))
    given = {_new_value(name): value for name, value in values.items()}
    found = cache.execute(statement, {"this": product_id, **given}).first()
    return None if found is None else (_row(found), _row(found[len(COLUMN_NAMES) :]))


def remove(row: Row) -> None:
    cache.execute(DELETE, {"this": row["id"]})


@lru_cache
def _lock_and_change(names: tuple[str, ...]) -> ReturningUpdate[Any]:
    """Return the statement that locks a row, changes these columns, and returns both states.

    The lock comes first, so the statement reads and changes the last committed row.
    """
    was = LOCK.cte("was")
    differs = or_(*(was.c[name].is_distinct_from(bindparam(_new_value(name))) for name in names))
    return (
        update(TABLE)
        .where(TABLE.c.id == was.c.id, differs)
        .values({name: bindparam(_new_value(name)) for name in names})
        .returning(*was.c, *DOCUMENT_COLUMNS)
    )


def _new_value(name: str) -> str:
    return f"given_{name}"  # SQLAlchemy uses the column's name itself


def _row(values: Iterable[Any]) -> Row:
    return dict(zip(COLUMN_NAMES, values, strict=False))
