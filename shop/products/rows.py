"""Rows of products, read and changed by statements that are made once.

For one row the ORM costs more than all else of a write: it makes each statement anew, keeps the
row, compares it with what it was, and refreshes it (docs/performance.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, insert, inspect, select, update

from shop.extensions import db
from shop.pages import dump

from .models import Product
from .schemas import ProductSchema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import RowMapping

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


def document(row: RowMapping) -> bytes:
    """Return what readers get of a row."""
    return dump(schema.dump(row))


def read(product_ids: Sequence[int]) -> Sequence[RowMapping]:
    return db.session.execute(READ, {"these": product_ids}).mappings().all()


def lock(product_id: int) -> RowMapping | None:
    """Lock a row, within a transaction, and return it; None if it is not there."""
    return db.session.execute(LOCK, {"this": product_id}).mappings().one_or_none()


def create(values: Mapping[str, Any]) -> RowMapping:
    return db.session.execute(CREATE, values).mappings().one()


def change(row: RowMapping, values: Mapping[str, Any]) -> RowMapping:
    """Give a locked row these values, and return it as it is then.

    One that has them already is not written: nothing has updated it.
    """
    differing = {name: value for name, value in values.items() if row[name] != value}
    if not differing:
        return row
    return db.session.execute(CHANGE, {"this": row["id"], **differing}).mappings().one()


def remove(row: RowMapping) -> None:
    db.session.execute(DELETE, {"this": row["id"]})
