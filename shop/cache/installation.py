"""The owner of documents in Redis: an installation, and one life of its database.

An installation has an identity, a random text in its database. A copy of the database has the
identity of the original until `renew`. A primary that was promoted or restored, or that has
crashed, may lack commits that readers have seen: it begins another life. So does a database that is
restored from a dump, while its server goes on: the restore has written the identity anew.
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
    cast,
    event,
    func,
    literal_column,
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

# One life of a database; NULL on a server in recovery. Each part changes with an event that changes
# no other part:
# - the system identifier: another database under the same name;
# - the number of the database in its server: a copy of files within it (CREATE DATABASE … TEMPLATE)
#   that has got the name of the original;
# - the timeline of the log that is written now (the last checkpoint has an older one after a
#   promotion): a promotion, or a restored backup;
# - the start of the server: the promotion of another standby, which gets the same timeline;
# - the end of the last recovery: the crash of one process, after which all others begin anew, and
#   commits without `synchronous_commit` may be lost.
LIFE_SQL = """
    CASE WHEN NOT pg_is_in_recovery() THEN concat_ws(
        '/',
        (SELECT system_identifier FROM pg_control_system()),
        (SELECT oid FROM pg_database WHERE datname = current_database()),
        left(pg_walfile_name(pg_current_wal_lsn()), 8),
        extract(epoch FROM pg_postmaster_start_time()),
        pg_last_wal_replay_lsn()
    ) END
"""
SELECT_LIFE = text(f"SELECT {LIFE_SQL}")
WRITTEN_BY = cast(literal_column("installation.xmin"), String)
LIFE_KEY = "life"  # the key of a connection's `info`


class InstallationStatus(NamedTuple):
    """The facts in the database that decide whether the cache may answer."""

    identity: str
    written_by: str | None  # the transaction that has written the identity: another in each restore
    life: str | None  # None: the server is in recovery
    outbox_is_empty: bool

    @property
    def database(self) -> str:
        """The identity of this copy of the database."""
        return f"{self.identity} {self.written_by}"

    @property
    def origin(self) -> bytes:
        return origin(self.database, self.life or "")


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

    def status(self, outbox: Outbox) -> InstallationStatus:
        """Read identity, life and outbox in one statement."""
        identity, written_by = (
            select(column).select_from(self.table).scalar_subquery()
            for column in (self.table.c.identity, WRITTEN_BY)
        )
        waiting = outbox.select_non_empty.scalar_subquery()
        statement = select(identity, written_by, text(LIFE_SQL), waiting)
        with self._db.engine.connect() as connection, autocommit(connection):
            found, writer, life, waits = connection.execute(statement).one()
        return InstallationStatus(found or self.identity(), writer, life, not waits)

    def identity(self) -> str:
        """Return the identity; make it if it is missing."""
        with self._db.engine.begin() as connection:
            query = select(self.table.c.identity)
            found: str | None = connection.scalar(query)
            if not found:
                connection.execute(self._insert.on_conflict_do_nothing())
                found = connection.execute(query).scalar_one()
        return found

    def renew(self) -> str:
        """Give this database an identity that no other has, and return it."""
        insertion = self._insert
        statement = insertion.on_conflict_do_update(
            index_elements=["id"], set_={"identity": insertion.excluded.identity}
        ).returning(self.table.c.identity)
        with self._db.engine.begin() as connection:
            renewed: str = connection.execute(statement).scalar_one()
        return renewed

    @property
    def _insert(self) -> Insert:
        random_text = func.left(func.replace(func.gen_random_uuid().cast(String), "-", ""), 16)
        return insert(self.table).values(identity=random_text)


@lru_cache
def origin(database: str, life: str) -> bytes:
    """Return the origin that stamps have: a hash of 16 hexadecimal digits."""
    return blake2b(f"{database} {life}".encode(), digest_size=8).hexdigest().encode()


@event.listens_for(Pool, "connect")
def _note_life(connection: Any, record: Any) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute(str(SELECT_LIFE))
            [record.info[LIFE_KEY]] = cursor.fetchone()
    except psycopg2.Error:  # `leads_to_origin` asks again
        record.info[LIFE_KEY] = None
    connection.rollback()


def leads_to_origin(connection: Connection, database: str, wanted: bytes) -> bool:
    """Tell whether a connection leads to the server of an origin.

    Where the noted life does not match, ask the server: since the connection was made, a standby
    may have been promoted, or a pooler may lead to another server.
    """
    life = connection.info.get(LIFE_KEY)
    if life is None or origin(database, life) != wanted:
        try:
            life = connection.info[LIFE_KEY] = connection.scalar(SELECT_LIFE)
        except SQLAlchemyError:
            return False
    return life is not None and origin(database, life) == wanted
