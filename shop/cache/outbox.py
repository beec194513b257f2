"""What writes could not tell Redis: names, kept in the database with the write itself.

A write that cannot suspend its names commits them here, in its own transaction. Whoever meets a
Redis that it cannot vouch for (on a new connection, after an outage, once a second) forgets these
names there before it answers from it, and deletes them here.
"""

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
    func,
    select,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from flask_sqlalchemy import SQLAlchemy

BATCH = 500  # rows

# One row for each name is enough, as long as nobody deletes it before this write is committed.
ADD = text("""
    WITH kept AS (
        SELECT id FROM cache_outbox WHERE name = :name LIMIT 1 FOR KEY SHARE SKIP LOCKED
    )
    INSERT INTO cache_outbox (name, writer)
    SELECT :name, :writer WHERE NOT EXISTS (SELECT FROM kept)
""")


class Outbox:
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

    def add(self, names: Iterable[str], writer: str) -> None:
        """Keep names, within the session's transaction."""
        rows = [{"name": name, "writer": writer} for name in names]
        if rows:
            self._db.session.execute(ADD, rows)

    def replay(self, forget: Callable[[Sequence[str], str], object]) -> int:
        """Call `forget(names, writer)` for all that is kept, delete it, and return how much it was.

        Waits for writers that are just committing a name again, and for others that replay: when
        this returns, every name that was committed before it was called has been forgotten.
        """
        table, replayed = self.table, 0
        while True:
            with self._db.engine.begin() as connection:
                oldest = select(table).order_by(table.c.id).limit(BATCH).with_for_update()
                rows = connection.execute(oldest).all()
                for writer in {row.writer for row in rows}:
                    forget(list({row.name for row in rows if row.writer == writer}), writer)
                if rows:
                    done = table.c.id.in_([row.id for row in rows])
                    connection.execute(delete(table).where(done))
            replayed += len(rows)
            if len(rows) < BATCH:
                return replayed

    def __len__(self) -> int:
        with self._db.engine.connect() as connection:
            return connection.scalar(select(func.count(self.table.c.id))) or 0
