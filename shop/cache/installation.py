"""Whose documents are in Redis: those of an installation, and of one life of its database.

An installation has an identity, a random text in its database. A copy of the database has that of
the original until `renew`. A primary that was promoted or restored may lack commits of the one
before it; its system identifier or its timeline tells the two apart.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg2
from sqlalchemy import (
    CheckConstraint,
    Column,
    SmallInteger,
    String,
    Table,
    event,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import Pool

from .statements import each_statement_alone

if TYPE_CHECKING:
    from flask_sqlalchemy import SQLAlchemy
    from sqlalchemy import Connection

    from .outbox import Outbox

# One life of a database, as SYSTEM/TIMELINE; NULL of a server in recovery. The timeline is that of
# the log which is written now: that of the last checkpoint is older after a promotion.
LIFE = """
    (SELECT system_identifier FROM pg_control_system()) || '/' || CASE
        WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_lsn()), 8)
    END
"""
ASK = text(f"SELECT {LIFE}")
KNOWN = "life"  # where a connection has it


class Found(NamedTuple):
    """What one look at the database has found."""

    identity: str
    life: str | None  # None: the server is in recovery
    outbox_is_empty: bool

    @property
    def origin(self) -> bytes:
        return origin(self.identity, self.life or "")


class Installation:
    """The table `installation`, of one row."""

    def __init__(self, db: SQLAlchemy) -> None:
        self._db = db
        self.table = Table(
            "installation",
            db.metadata,
            Column("id", SmallInteger, primary_key=True, server_default="1"),
            Column("identity", String(16), nullable=False),
            CheckConstraint("id = 1", name="one"),
        )

    def look(self, outbox: Outbox) -> Found:
        """Look at what decides whether the cache may answer, in one statement."""
        identity = select(self.table.c.identity).scalar_subquery()
        statement = select(identity, text(LIFE), outbox.any.scalar_subquery())
        with self._db.engine.connect() as connection, each_statement_alone(connection):
            found, life, waiting = connection.execute(statement).one()
        return Found(found or self.renew(), life, not waiting)

    def identity(self) -> str:
        with self._db.engine.connect() as connection:
            found = connection.scalar(select(self.table.c.identity))
        return found or self.renew()

    def renew(self) -> str:
        """Give this database an identity that no other has, and return it."""
        made = func.left(func.replace(func.gen_random_uuid().cast(String), "-", ""), 16)
        statement = insert(self.table).values(identity=made)
        statement = statement.on_conflict_do_update(
            index_elements=["id"], set_={"identity": statement.excluded.identity}
        )
        with self._db.engine.begin() as connection:
            renewed: str = connection.execute(
                statement.returning(self.table.c.identity)
            ).scalar_one()
        return renewed


@lru_cache
def origin(identity: str, life: str) -> bytes:
    """Return what documents have in their stamps, 16 hexadecimal digits."""
    return blake2b(f"{identity} {life}".encode(), digest_size=8).hexdigest().encode()


@event.listens_for(Pool, "connect")
def _note_life(connection: Any, record: Any) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute(str(ASK))
            [record.info[KNOWN]] = cursor.fetchone()
    except psycopg2.Error:  # whoever looks at the installation tells it
        record.info[KNOWN] = None
    connection.rollback()


def computed_by(connection: Connection, identity: str, wanted: bytes) -> bool:
    """Tell whether a connection leads to the database that an origin names.

    A standby may have been promoted since the connection was made, and a pooler may have led it to
    another server: what does not fit is asked again.
    """
    life = connection.info.get(KNOWN)
    if life is None or origin(identity, life) != wanted:
        try:
            life = connection.info[KNOWN] = connection.scalar(ASK)
        except SQLAlchemyError:
            return False
    return life is not None and origin(identity, life) == wanted
