"""Names that writes could not suspend in Redis, kept in the database with the writes themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    String,
    Table,
    delete,
    exists,
    func,
    select,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flask_sqlalchemy import SQLAlchemy
    from sqlalchemy import Connection, Select
    from sqlalchemy.orm import Session

BATCH = 500  # rows

# One row for each name and writer is enough, as long as nobody deletes the row before this write is
# committed. KEY SHARE holds the row; where that lock cannot be had at once, another row is added.
ADD_NAME = text("""
    WITH kept AS (
        SELECT id FROM cache_outbox WHERE name = :name AND writer = :writer
        LIMIT 1 FOR KEY SHARE SKIP LOCKED
    )
    INSERT INTO cache_outbox (name, writer)
    SELECT :name, :writer WHERE NOT EXISTS (SELECT FROM kept)
""")


class Outbox:
    """The table `cache_outbox`: names, and the writers that may have left a note on them."""

    def __init__(self, db: SQLAlchemy) -> None:
        self._db = db
        self.table = Table(
            "cache_outbox",
            db.metadata,
            Column("id", BigInteger, Identity(always=True), primary_key=True),
            Column("name", String(200), nullable=False, index=True),
            Column("writer", String(16), nullable=False),
            Column(
                "created_at", DateTime(timezone=True), server_default=func.now(), nullable=False
            ),
        )

    @staticmethod
    def add(work: Session | Connection, names: Iterable[str], writer: str = "") -> None:
        """Add names, within the transaction of the write that forgets them."""
        work.execute(ADD_NAME, [{"name": name, "writer": writer} for name in names])

    @property
    def select_non_empty(self) -> Select[bool]:
        """Return the query that tells whether the table has a row."""
        return select(exists(select(self.table.c.id)))

    def replay(self, forget: Callable[..., None]) -> int:
        """Call `forget(names, *writers)` for all rows, delete them, and return their number.

        On return, every name that was committed before the call is forgotten. Rows that another
        process has locked are forgotten, too, but not deleted: that process deletes them, or the
        next call. Nobody waits.
        """
        table, replayed = self.table, 0
        with self._db.engine.connect() as connection:
            last = connection.scalar(select(func.max(table.c.id))) or 0
        first = 0
        while first < last:
            with self._db.engine.begin() as connection:
                batch = select(table).where(table.c.id > first).order_by(table.c.id).limit(BATCH)
                # A row is locked before it is forgotten, so that no writer relies on a row that is
                # about to be deleted.
                locked = connection.execute(batch.with_for_update(skip_locked=True)).all()
                rows = connection.execute(batch).all()
                if not rows:
                    break
                forget(list({row.name for row in rows}), *{row.writer for row in rows})
                done = table.c.id.in_([row.id for row in locked if row.id <= rows[-1].id])
                connection.execute(delete(table).where(done))
            replayed += len(rows)
            first = rows[-1].id
        return replayed

    def length_and_age(self) -> tuple[int, float]:
        """Return the number of names, and the seconds that the oldest has waited; 0 for none."""
        age = func.extract("epoch", func.now() - func.min(self.table.c.created_at))
        with self._db.engine.connect() as connection:
            count, seconds = connection.execute(select(func.count(self.table.c.id), age)).one()
        return count, float(seconds or 0)

    def __len__(self) -> int:
        with self._db.engine.connect() as connection:
            return connection.scalar(select(func.count(self.table.c.id))) or 0
