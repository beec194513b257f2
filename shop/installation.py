"""The identity of an installation: a random text in its database, which names it in Redis.

A copy of a database has the identity of the original. Where both are to live, `renew` makes the
copy an installation of its own.
"""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, SmallInteger, String, Table, func, select, update

from .extensions import db

table = Table(
    "installation",
    db.metadata,
    Column("id", SmallInteger, primary_key=True, server_default="1"),
    Column("identity", String(16), nullable=False),
    CheckConstraint("id = 1", name="one"),
)


def identity() -> str:
    """Return the identity that this database has."""
    found: str = db.session.execute(select(table.c.identity)).scalar_one()
    return found


def renew() -> str:
    """Give this database an identity that no other has, and return it."""
    made = func.left(func.replace(func.gen_random_uuid().cast(String), "-", ""), 16)
    statement = update(table).values(identity=made).returning(table.c.identity)
    found: str = db.session.execute(statement).scalar_one()
    db.session.commit()
    return found
