"""The one way to commit a write: what it makes the cache forget is forgotten with it.

    with cache.transaction():
        row = ...                                       # read, change, flush
        cache.delete_memoized(product_documents, 7)     # what readers must not find any more

At the end of the block the names are suspended in Redis, the transaction is committed, and the
names are released. Where Redis cannot be told, the names go into the outbox, in the same
transaction. A write never fails because of Redis.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError

from shop.redis import RedisUnavailable

from .metrics import INVALIDATIONS
from .protocol import new_token

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.orm import Session

    from .backend import RedisBackend
    from .memoize import Memoized
    from .outbox import Outbox

logger = logging.getLogger("shop.cache")


class Transaction:
    """What one write changes and what it forgets."""

    def __init__(self, backend: RedisBackend, outbox: Outbox) -> None:
        self.changed: set[Table] = set()
        self._forgotten: dict[str, Memoized] = {}
        self._families: dict[str, Memoized] = {}
        self._backend = backend
        self._outbox = outbox
        self._writer = new_token()

    def forget(self, function: Memoized, key: str | None) -> None:
        """Forget one entry of a function, or all of them."""
        self._forgotten[key or function.generation_key] = function
        self._families[function.generation_key] = function

    def commit(self, session: Session) -> None:
        """Commit, so that no read which begins after this finds what was there before."""
        session.flush()
        self._check()
        names = list(self._forgotten)
        if not names:
            session.commit()
        elif not self._backend.connection.enabled:
            # Whoever uses the cache later begins with these families anew.
            self._outbox.add(self._families, self._writer)
            session.commit()
        elif not self._backend.suspend(names, self._writer):
            self._commit_with_outbox(session, names)
        else:
            self._commit_suspended(session, names)

    def _check(self) -> None:
        told = {table for function in self._forgotten.values() for table in function.tables}
        if untold := self.changed - told:
            raise RuntimeError(f"nothing that reads {_names(untold)} is forgotten by this write")

    def _commit_suspended(self, session: Session, names: list[str]) -> None:
        try:
            session.commit()
        except DBAPIError as error:
            # With its connection lost nobody knows what became of the COMMIT: then the names stay
            # suspended until that is decided, as those of a writer that has died.
            if not error.connection_invalidated:
                self._release(names)
            raise
        if self._release(names):
            self._tell("Invalidated %s")
        else:
            self._commit_with_outbox(session, names)

    def _release(self, names: list[str]) -> bool:
        try:
            self._backend.protocol.release(names, self._writer)
        except RedisUnavailable:
            return False
        return True

    def _commit_with_outbox(self, session: Session, names: list[str]) -> None:
        with self._backend.connection.doubted("a write could not tell it what to forget"):
            self._outbox.add(names, self._writer)
            session.commit()
        self._tell("Redis could not be told, and will be: %s")

    def _tell(self, message: str) -> None:
        for name, function in self._forgotten.items():
            INVALIDATIONS.labels(function.name).inc()
            whole = name == function.generation_key
            logger.info(message, f"every {function.family} entry" if whole else name)


def changed_tables(session: Session) -> set[Table]:
    """Return the tables that the session is about to write to."""
    changed = [*session.new, *session.deleted, *filter(session.is_modified, session.dirty)]
    return {row.__table__ for row in changed}


def statement_table(execution: Any) -> Table | None:
    """Return the table that an INSERT, UPDATE or DELETE statement writes to."""
    if execution.is_insert or execution.is_update or execution.is_delete:
        table: Table = execution.statement.table
        return table
    return None


def _names(tables: set[Table]) -> str:
    return ", ".join(sorted(table.name for table in tables))
