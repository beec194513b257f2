"""The owner of documents in Redis: an installation, and one life of its database.

An installation has an identity, a random text in its database. A copy of the database has that of
the original until `renew`. A primary that was promoted or restored, or that has crashed, may lack
commits that were seen before: it begins another life.
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

from .statements import autocommit

if TYPE_CHECKING:
    from flask_sqlalchemy import SQLAlchemy
    from sqlalchemy import Connection
    from sqlalchemy.dialects.postgresql import Insert

    from .outbox import Outbox

# One life of a database; NULL of a server in recovery. Of each part, what the others do not tell:
# - the system identifier: another database, under the same name;
# - the timeline of the log that is written now (that of the last checkpoint is older after a
#   promotion): a promotion, or a restored backup;
# - when the server was started: another standby promoted, which gets the same timeline;
# - where its last recovery has ended: a crash of one process, after which all others begin anew and
#   commits without `synchronous_commit` may be lost.
LIFE = """
    CASE WHEN NOT pg_is_in_recovery() THEN concat_ws(
        '/',
        (SELECT system_identifier FROM pg_control_system()),
        left(pg_walfile_name(pg_current_wal_lsn()), 8),
        extract(epoch FROM pg_postmaster_start_time()),
        pg_last_wal_replay_lsn()
    ) END
"""
ASK = text(f"SELECT {LIFE}")
KNOWN = "life"  # where a connection has it


class Found(NamedTuple):
    """The result of one look at the database."""

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
        with self._db.engine.connect() as connection, autocommit(connection):
            found, life, waiting = connection.execute(statement).one()
        return Found(found or self.identity(), life, not waiting)

    def identity(self) -> str:
        """Return the identity, which is made if it is missing."""
        with self._db.engine.begin() as connection:
            ask = select(self.table.c.identity)
            found: str | None = connection.scalar(ask)
            if not found:
                connection.execute(self._making.on_conflict_do_nothing())
                found = connection.execute(ask).scalar_one()
        return found

    def renew(self) -> str:
        """Give this database an identity that no other has, and return it."""
        making = self._making
        statement = making.on_conflict_do_update(
            index_elements=["id"], set_={"identity": making.excluded.identity}
        ).returning(self.table.c.identity)
        with self._db.engine.begin() as connection:
            renewed: str = connection.execute(statement).scalar_one()
        return renewed

    @property
    def _making(self) -> Insert:
        made = func.left(func.replace(func.gen_random_uuid().cast(String), "-", ""), 16)
        return insert(self.table).values(identity=made)


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
