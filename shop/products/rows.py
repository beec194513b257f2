"""Rows of products, read and changed by statements that are made once.

For one row the ORM costs more than all else of a write: it makes each statement anew, keeps the
row, compares it with what it was, and refreshes it (docs/performance.md).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, insert, inspect, or_, select, update

from shop.extensions import db
from shop.pages import dump

from .models import Product
from .schemas import ProductSchema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.sql.dml import ReturningUpdate

    Values = Mapping[Any, Any]  # by the names of columns

# What a document is made of; the other columns are what products are found by.
SHOWN = [one.columns[0] for one in inspect(Product).column_attrs if not one.deferred]
TABLE = db.metadata.tables[Product.__tablename__]
THIS = TABLE.c.id == bindparam("this")

READ = select(*SHOWN).where(TABLE.c.id.in_(bindparam("these", expanding=True)))
LOCK = select(*SHOWN).where(THIS).with_for_update()
# These write the columns that they are given.
CREATE = insert(TABLE).returning(*SHOWN)
CHANGE = update(TABLE).where(THIS).returning(*SHOWN)
DELETE = delete(TABLE).where(THIS)

schema = ProductSchema()


def document(row: Values) -> bytes:
    """Return what readers get of a row."""
    return dump(schema.dump(row))


def read(product_ids: Sequence[int]) -> Sequence[Values]:
    return db.session.execute(READ, {"these": product_ids}).mappings().all()


def lock(product_id: int) -> Values | None:
    """Lock a row, within a transaction, and return it; None if it is not there."""
    return db.session.execute(LOCK, {"this": product_id}).mappings().one_or_none()


def create(values: Values) -> Values:
    return db.session.execute(CREATE, values).mappings().one()


def change(row: Values, values: Values) -> Values:
    """Give a locked row these values, and return it as it is then.

    One that has them already is not written: nothing has updated it.
    """
    differing = {name: value for name, value in values.items() if row[name] != value}
    if not differing:
        return row
    return db.session.execute(CHANGE, {"this": row["id"], **differing}).mappings().one()


def exchange(product_id: int, values: Values) -> tuple[Values, Values] | None:
    """Lock a row and change it in one statement; return it as it was and as it is.

    Return None if it is not there, or has these values already.
    """
    given = {_new(name): value for name, value in values.items()}
    found = db.session.execute(_exchange(tuple(sorted(values))), {"this": product_id, **given})
    row = found.mappings().one_or_none()
    if row is None:
        return None
    return {one.name: row[_old(one.name)] for one in SHOWN}, row


@cache
def _exchange(names: tuple[str, ...]) -> ReturningUpdate[Any]:
    """Return the statement that exchanges these columns.

    What it locks first it reads as the transaction before has left it, so that it changes that.
    """
    was = LOCK.cte("was")
    differs = or_(*(was.c[name].is_distinct_from(bindparam(_new(name))) for name in names))
    return (
        update(TABLE)
        .where(TABLE.c.id == was.c.id, differs)
        .values({name: bindparam(_new(name)) for name in names})
        .returning(*SHOWN, *(was.c[one.name].label(_old(one.name)) for one in SHOWN))
    )


def _new(name: str) -> str:
    return f"new_{name}"


def _old(name: str) -> str:
    return f"old_{name}"


def remove(row: Values) -> None:
    db.session.execute(DELETE, {"this": row["id"]})
