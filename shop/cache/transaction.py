"""The one way to commit a write: what it makes the cache forget is forgotten with it.

    with cache.transaction():
        row = ...                                       # read, change, flush
        cache.delete_memoized(product_documents, 7)     # what readers must not find any more

At the end of the block the names are suspended in Redis, the transaction is committed, and the
names are released. Where Redis cannot be told, the names go into the outbox, in the same
transaction. A write never fails because of Redis.

What the block does is the session's, or it is statements alone, by `cache.execute`: a session costs
as much as such a statement and its commit together.
"""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING, Any

import redis
from flask import g
from sqlalchemy import TextClause, func, select
from sqlalchemy.exc import DBAPIError

from shop.redis import RedisUnavailable

from .protocol import new_token
from .tags import GENERATION, Tag
from .watch import VOUCH_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flask_sqlalchemy import SQLAlchemy
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

    from .backend import RedisBackend
    from .declaration import Declaration
    from .outbox import Outbox
    from .values import Values

logger = logging.getLogger("shop.cache")

WRITES = re.compile(
    r"(?:\bINSERT\s+INTO|(?<!\bFOR\s)\bUPDATE|\bDELETE\s+FROM|\bTRUNCATE)\s+([\w\s,.\"]+)",
    re.IGNORECASE,
)


class Transaction:
    """One write: what it changes and what it forgets."""

    def __init__(self, backend: RedisBackend, outbox: Outbox, db: SQLAlchemy) -> None:
        self.changed: set[str] = set()  # names of tables
        self.committing = False
        self._db = db
        self._connection: Connection | None = None  # of statements alone
        self._forgotten: dict[str, Declaration | Tag | Values] = {}
        self._backend = backend
        self._outbox = outbox
        self._writer = new_token()
        self._note = ""  # the writer's token, if Redis may have a note of it

    def forget(self, name: str, of: Declaration | Tag | Values) -> None:
        """Forget one entry of a function, or, by a generation, all that depend on it."""
        self._forgotten[name] = of

    @property
    def is_without_session(self) -> bool:
        return self._connection is not None

    def connection(self) -> Connection:
        """Return the connection of a transaction of statements alone.

        A request has one at a time: what the session has read before has to be enough. Raises
        RuntimeError if the session has written.
        """
        if self._connection is None:
            if self.changed:
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
        """Commit, so that no read which begins after this finds what was there before."""
        if self._db.session.registry.has():
            self._db.session.flush()
        self._check()
        self.committing = True
        if not self._forgotten:
            self._commit()
        elif not self._backend.connection.enabled:
            # Whoever uses the cache later begins with these generations anew. For each there is one
            # row, however many writes there are: that may be long from now, or never.
            self._outbox.add(
                self._work(),
                {
                    name if isinstance(of, Tag) else of.generation_key
                    for name, of in self._forgotten.items()
                },
            )
            self._commit()
        elif self._suspend():
            self._commit_suspended()
        else:
            self._commit_with_outbox()

    def _commit(self) -> None:
        self._work().commit()
        g.has_committed = True  # the request is not carried out again (shop/database/retry.py)

    def _check(self) -> None:
        told = {name for of in self._forgotten.values() for name in of.tables}
        if untold := self.changed - told:
            names = ", ".join(sorted(untold))
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
            # With its connection lost nobody knows what became of the COMMIT: then the names stay
            # suspended until that is decided, as those of a writer that has died.
            if not error.connection_invalidated:
                self._release()
            raise
        if self._release():
            self._tell("Invalidated %s")
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
        await_looks(self._work())
        self._commit()  # a rollback would expire what this write is answered with
        self._tell("Redis could not be told, and will be: %s")

    def _tell(self, message: str) -> None:
        for name, of in self._forgotten.items():
            of.invalidations.inc()
            together = name.removesuffix(GENERATION)
            logger.info(message, of.shown(name) if together == name else f"every {together} entry")


def await_looks(work: Session | Connection) -> None:
    """Wait until every process has looked at the outbox, or answers no hits.

    Without the database they cannot look: if it goes meanwhile, this raises.
    """
    began = time.monotonic()
    work.execute(select(func.pg_sleep(VOUCH_SECONDS)))
    time.sleep(max(0, began + VOUCH_SECONDS - time.monotonic()))  # if its clock was set


def flushed_tables(session: Session) -> set[str]:
    """Return the names of the tables that a flush of the session would write to."""
    changed = [*session.new, *session.deleted, *filter(session.is_modified, session.dirty)]
    return {row.__table__.name for row in changed}


def written_tables(statement: Any) -> Iterable[str]:
    """Return the names of the tables that a statement writes to, as far as it shows them."""
    if isinstance(statement, TextClause):
        places = " ".join(WRITES.findall(statement.text))
        return re.findall(r"\w+", places.lower())
    if getattr(statement, "is_dml", False):
        return [statement.table.name]
    return []
