"""Rows of products, read and changed by statements that are made once.

For one row the ORM costs more than all else of a write: it makes each statement anew, keeps the
row, compares it with what it was, and refreshes it (docs/performance.md).
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

# What a document is made of; the other columns are what products are found by.
SHOWN = [one.columns[0] for one in inspect(Product).column_attrs if not one.deferred]
NAMES = [one.name for one in SHOWN]
TABLE = db.metadata.tables[Product.__tablename__]
THIS = TABLE.c.id == bindparam("this")

READ = select(*SHOWN).where(TABLE.c.id == any_(bindparam("these", type_=ARRAY(Integer))))
LOCK = select(*SHOWN).where(THIS).with_for_update()
# These write the columns that they are given.
CREATE = insert(TABLE).returning(*SHOWN)
CHANGE = update(TABLE).where(THIS).returning(*SHOWN)
DELETE = delete(TABLE).where(THIS)

schema = ProductSchema()
# A row has the names and the order of the schema, and most of its values are shown as they are.
AS_THEY_ARE = fields.String | fields.Integer | fields.Boolean
SHOWN_OTHERWISE = [
    (name, field)
    for name, field in schema.dump_fields.items()
    if not isinstance(field, AS_THEY_ARE)
]


def document(row: Row) -> bytes:
    """Return what readers get of a row: what the schema makes of it, at a third of the cost."""
    return dump(row | {name: field.serialize(name, row) for name, field in SHOWN_OTHERWISE})


def read(product_ids: Sequence[int]) -> list[Row]:
    return list(map(_row, db.session.execute(READ, {"these": list(product_ids)})))


def lock(product_id: int) -> Row | None:
    """Lock a row, within a transaction, and return it; None if it is not there."""
    found = cache.execute(LOCK, {"this": product_id}).first()
    return None if found is None else _row(found)


def create(values: Mapping[str, Any]) -> Row:
    return _row(cache.execute(CREATE, values).one())


def change(row: Row, values: Mapping[str, Any]) -> Row:
    """Give a locked row these values, and return it as it is then.

    One that has them already is not written: nothing has updated it.
    """
    differing = {name: value for name, value in values.items() if row[name] != value}
    if not differing:
        return row
    return _row(cache.execute(CHANGE, {"this": row["id"], **differing}).one())


def exchange(product_id: int, values: Mapping[str, Any]) -> tuple[Row, Row] | None:
    """Lock a row and change it in one statement; return it as it was and as it is.

    Return None if it is not there, or has these values already.
    """
    statement = _exchange(tuple(sorted(values)))
    given = {_given(name): value for name, value in values.items()}
    found = cache.execute(statement, {"this": product_id, **given}).first()
    return None if found is None else (_row(found), _row(found[len(NAMES) :]))


def remove(row: Row) -> None:
    cache.execute(DELETE, {"this": row["id"]})


@lru_cache
def _exchange(names: tuple[str, ...]) -> ReturningUpdate[Any]:
    """Return the statement that exchanges these columns.

    What it locks first it reads as the transaction before has left it, so that it changes that.
    """
    was = LOCK.cte("was")
    differs = or_(*(was.c[name].is_distinct_from(bindparam(_given(name))) for name in names))
    return (
        update(TABLE)
        .where(TABLE.c.id == was.c.id, differs)
        .values({name: bindparam(_given(name)) for name in names})
        .returning(*was.c, *SHOWN)
    )


def _given(name: str) -> str:
    return f"given_{name}"  # SQLAlchemy has a parameter of each column's own name


def _row(values: Iterable[Any]) -> Row:
    return dict(zip(NAMES, values, strict=False))
