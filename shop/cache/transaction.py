"""The one way to commit a write: the cache forgets together with the commit.

    with cache.transaction():
        row = ...                                       # read, change, flush
        cache.delete_memoized(product_documents, 7)     # forget the entries that became stale

At the end of the block the names are suspended in Redis, the transaction is committed, and the
names are released. If Redis cannot be reached, the names go into the outbox, in the same
transaction. A write never fails because of Redis.

The block works with the session, or with statements alone (`cache.execute`): a session costs as
much as one statement and its commit together.
"""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING, Any

import redis
from sqlalchemy import TextClause, func, select
from sqlalchemy.exc import DBAPIError

from shop.facts import current_facts
from shop.redis import RedisUnavailable

from .outbox_watcher import FRESHNESS_SECONDS
from .protocol import new_token
from .tags import GENERATION, Tag

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flask_sqlalchemy import SQLAlchemy
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

    from .backend import RedisBackend
    from .declaration import Declaration
    from .outbox import Outbox
    from .values import ValueFamily

logger = logging.getLogger("shop.cache")

WRITE_STATEMENT = re.compile(
    r"(?:\bINSERT\s+INTO|(?<!\bFOR\s)\bUPDATE|\bDELETE\s+FROM|\bTRUNCATE)\s+([\w\s,.\"]+)",
    re.IGNORECASE,
)


class Transaction:
    """One write: the tables that it changes, and the names that it forgets."""

    def __init__(self, backend: RedisBackend, outbox: Outbox, db: SQLAlchemy) -> None:
        self.changed_tables: set[str] = set()
        self.is_committing = False
        self._db = db
        self._connection: Connection | None = None  # of statements alone
        self._forgotten: dict[str, Declaration | Tag | ValueFamily] = {}
        self._backend = backend
        self._outbox = outbox
        self._writer = new_token()
        self._note = ""  # the writer's token, if it may be noted in Redis

    def forget(self, name: str, owner: Declaration | Tag | ValueFamily) -> None:
        """Forget one entry, or with the name of a generation all entries that depend on it."""
        self._forgotten[name] = owner

    @property
    def is_without_session(self) -> bool:
        return self._connection is not None

    def connection(self) -> Connection:
        """Return the connection of a transaction of statements alone.

        A request holds one connection at a time, so the session gives its own back. Raises
        RuntimeError if the session has written.
        """
        if self._connection is None:
            if self.changed_tables:
                raise RuntimeError("the session has a part in this transaction")
            if self._db.session.registry.has():
                self._db.session.rollback()
            self._connection = self._db.engine.connect()
        return self._connection

    def rollback(self) -> None:
        self._work().rollback()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _work(self) -> Session | Connection:
        return self._db.session() if self._connection is None else self._connection

    def commit(self) -> None:
        """Commit; no read that begins after this returns finds the state before the write."""
        if self._db.session.registry.has():
            self._db.session.flush()
        self._check()
        self.is_committing = True
        if not self._forgotten:
            self._commit()
        elif not self._backend.connection.enabled:
            # With Redis switched off, only generations are kept: one row each, however many writes
            # there are until Redis is switched on.
            self._outbox.add(
                self._work(),
                {
                    name if isinstance(owner, Tag) else owner.generation_key
                    for name, owner in self._forgotten.items()
                },
            )
            self._commit()
        elif self._suspend():
            self._commit_suspended()
        else:
            self._commit_with_outbox()

    def _commit(self) -> None:
        self._work().commit()
        # From here on `shop/database/retry.py` does not try the request again.
        current_facts().has_committed = True

    def _check(self) -> None:
        covered = {name for owner in self._forgotten.values() for name in owner.tables}
        if uncovered := self.changed_tables - covered:
            names = ", ".join(sorted(uncovered))
            raise RuntimeError(f"nothing that reads {names} is forgotten by this write")

    def _suspend(self) -> bool:
        if self._backend.connection.available:
            self._note = self._writer
        try:
            self._backend.protocol.suspend(list(self._forgotten), self._writer)
        except RedisUnavailable as error:
            if isinstance(error.__cause__, redis.ResponseError):
                self._note = ""
            return False
        return True

    def _commit_suspended(self) -> None:
        try:
            self._commit()
        except DBAPIError as error:
            # If the connection is lost, nobody knows the outcome of the COMMIT: the names stay
            # suspended until the outcome is certain, like those of a writer that has died.
            if not error.connection_invalidated:
                self._release()
            raise
        if self._release():
            self._log("Invalidated %s")
        else:
            self._commit_with_outbox()

    def _release(self) -> bool:
        try:
            self._backend.protocol.release(list(self._forgotten), self._writer)
        except RedisUnavailable:
            return False
        return True

    def _commit_with_outbox(self) -> None:
        self._outbox.add(self._work(), self._forgotten, self._note)
        self._commit()
        await_checks(self._work())
        self._commit()  # a rollback would expire the rows that the answer is made of
        self._log("Redis could not be told, and will be: %s")

    def _log(self, message: str) -> None:
        for name, owner in self._forgotten.items():
            owner.invalidations.inc()
            family = name.removesuffix(GENERATION)
            shown = owner.for_logs(name) if family == name else f"every {family} entry"
            logger.info(message, shown)


def await_checks(work: Session | Connection) -> None:
    """Wait until every process has checked the outbox, or answers no hits.

    The wait is a statement: it raises if the database goes meanwhile, so that nobody can check.
    """
    began = time.monotonic()
    work.execute(select(func.pg_sleep(FRESHNESS_SECONDS)))
    time.sleep(max(0, began + FRESHNESS_SECONDS - time.monotonic()))  # if its clock was set


def flushed_tables(session: Session) -> set[str]:
    """Return the names of the tables that a flush of the session would write to."""
    changed = [*session.new, *session.deleted, *filter(session.is_modified, session.dirty)]
    return {row.__table__.name for row in changed}


def written_tables(statement: Any) -> Iterable[str]:
    """Return the names of the tables that a statement's text or type shows it to write to."""
    if isinstance(statement, TextClause):
        places = " ".join(WRITE_STATEMENT.findall(statement.text))
        return re.findall(r"\w+", places.lower())
    if getattr(statement, "is_dml", False):
        return [statement.table.name]
    return []
