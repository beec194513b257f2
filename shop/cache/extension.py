"""Memoize functions that return JSON documents; forget what a write changes.

    @cache.memoize_many(key="products:id:{product_id}", ttl="redis_cache_ttl", tables=[Product])
    def product_documents(product_ids): ...      # -> {product_id: JSON bytes}

    with cache.transaction():
        row.price = price
        cache.delete_memoized(product_documents, 7)  # forget one
        cache.delete_memoized(product_documents)     # forget all, at once

An entry may also have tags, which functions share; `cache.delete_tagged` forgets all entries with a
tag.

    prices = cache.tag("products:prices:{scope}", tables=[Product])

    @cache.memoize(key="products:cheapest:{category_id}", ttl="redis_cache_ttl", tables=[Product],
                   tags=lambda category_id: [prices.generation_key(category_id)])
    def cheapest(category_id): ...

    with cache.transaction():
        ...
        cache.delete_tagged(prices, category_id)

While Redis is off or cannot be reached, every call of a memoized function computes. A document is
encoded once, when it is computed; a hit returns those bytes.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, cast

from flask import g
from flask_caching import Cache as FlaskCache
from sqlalchemy import event

from .collisions import check_collisions, family_roots
from .installation import Installation
from .memoize import Id, Memoized, MemoizedMany, MemoizedOne
from .outbox import Outbox
from .outbox_watcher import OutboxWatcher
from .tags import Tag
from .transaction import Transaction, await_checks, flushed_tables, written_tables
from .values import VALUE_FAMILY

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from flask import Flask
    from flask_sqlalchemy import SQLAlchemy
    from sqlalchemy import CursorResult, Executable

    from .backend import RedisBackend
    from .values import ValueFamily

P = ParamSpec("P")


class MemoizingCache(FlaskCache):
    """Memoized functions with readable keys; `flask_caching_calls.py` has the other calls."""

    def __init__(self, db: SQLAlchemy) -> None:
        super().__init__(with_jinja2_ext=False)
        self.memoized: list[Memoized] = []
        self.tags: list[Tag] = []
        self._memoized_tables: set[str] = set()  # of functions and tags
        self.installation = Installation(db)
        self.outbox = Outbox(db)
        self.session = db.session
        self._db = db
        event.listen(db.session, "after_begin", self._check_begin)
        event.listen(db.session, "before_flush", self._note_flush)
        event.listen(db.session, "do_orm_execute", self._note_statement)
        event.listen(db.session, "before_commit", self._check_commit)

    def init_app(self, app: Flask, config: Any = None) -> None:
        super().init_app(app, config)
        backend = self._backend(app)
        backend.watcher = OutboxWatcher(
            backend.connection,
            backend.protocol,
            self.outbox,
            self.installation,
            self._generations,
        )
        backend.connection.find_installation = partial(backend.watcher.find_installation, app)

    def _generations(self) -> list[str]:
        """Return the names of the generations of all families."""
        families = {function.generation_key for function in self.memoized}
        return [*families, VALUE_FAMILY.generation_key]

    @property
    def family_roots(self) -> list[str]:
        """Return the first words of the families, such as `products`, each once."""
        return family_roots(self.memoized)

    def start_watcher(self, app: Flask) -> threading.Event:
        """Check the outbox in a thread, so that no read has to, until the returned event is set."""
        return self._backend(app).watcher.start(app)

    def _backend(self, app: Flask) -> RedisBackend:
        backend: RedisBackend = app.extensions["cache"][self]
        return backend

    @property
    def backend(self) -> RedisBackend:
        return cast("RedisBackend", self.cache)

    def memoize(  # type: ignore[override]  # noqa: PLR0913  (each is declared of a function)
        self,
        *,
        key: str,
        ttl: str,
        tables: Iterable[Any],
        family: str | None = None,
        tags: Callable[..., Iterable[str]] | None = None,
        needs_admission: Callable[..., bool] | bool = False,
        log_keys: bool = True,
    ) -> Callable[[Callable[P, bytes]], MemoizedOne[P]]:
        """Memoize a function from arguments to one document (JSON bytes, not empty).

        - `key` is a template over the function's parameters.
        - `ttl` names a setting in seconds.
        - `tables` are the models that the function reads.
        - `family` joins the family of another function, with which all entries are forgotten; by
          default the family is the beginning of the key.
        - `tags` takes the function's parameters, and returns the names of the generations of tags
          that the document depends on.
        - `needs_admission` takes the same, and tells whether clients can make up such documents
          without end; then a document has to be admitted to be stored.
        - `log_keys` allows keys in logs; False for keys that have a text that a client wrote.
        """

        def decorate(function: Callable[P, bytes]) -> MemoizedOne[P]:
            memoized: MemoizedOne[P] = MemoizedOne(
                self,
                function,
                key,
                ttl,
                tables,
                family=family,
                tags=tags,
                needs_admission=needs_admission,
                log_keys=log_keys,
            )
            self._declare(memoized)
            return memoized

        return decorate

    def memoize_many(
        self,
        *,
        key: str,
        ttl: str,
        tables: Iterable[Any],
        is_public: Callable[[bytes], bool] | None = None,
        log_keys: bool = True,
    ) -> Callable[[Callable[[Sequence[Id]], dict[Id, bytes]]], MemoizedMany[Id]]:
        """Memoize a function from ids to their documents; an id without one is left out.

        Reading many documents takes one round trip, and one call computes all that are missing.
        The cache also keeps for a short time that an id has no document.

        Each document is stored once, for all readers. `is_public` tells whether everybody may see
        a document; by default everybody may. `log_keys` is as for `memoize`.
        """

        def decorate(function: Callable[[Sequence[Id]], dict[Id, bytes]]) -> MemoizedMany[Id]:
            memoized: MemoizedMany[Id] = MemoizedMany(
                self, function, key, ttl, tables, is_public=is_public, log_keys=log_keys
            )
            self._declare(memoized)
            return memoized

        return decorate

    def _declare(self, memoized: Memoized) -> None:
        check_collisions(memoized, self.memoized)
        self.memoized.append(memoized)
        self._memoized_tables |= memoized.tables

    def tag(self, key: str, *, tables: Iterable[Any]) -> Tag:
        """Declare a tag: a generation for each scope of `key`, which entries of any family share.

        `tables` are the models whose changes it covers.
        """
        tag = Tag(key, tables)
        self.tags.append(tag)
        self._memoized_tables |= tag.tables
        return tag

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit the changes of the block, and forget the names in it; roll back if it raises.

        Raises RuntimeError for a change to a memoized table of which the block forgets nothing.
        """
        if self.in_transaction:
            raise RuntimeError("cache.transaction() is not to be nested")
        g.cache_transaction = transaction = Transaction(self.backend, self.outbox, self._db)
        try:
            yield
            transaction.commit()
        except BaseException:
            transaction.rollback()
            raise
        finally:
            del g.cache_transaction
            transaction.close()

    def execute(self, statement: Executable, values: Mapping[str, Any]) -> CursorResult[Any]:
        """Carry out a statement of a transaction of statements alone.

        In such a transaction the session may read before the first statement, and is refused after
        it. Raises RuntimeError if the session has written.
        """
        if not self.in_transaction:
            raise RuntimeError("cache.execute() is of use only within cache.transaction()")
        transaction: Transaction = g.cache_transaction
        connection = transaction.connection()
        self._note_changes(written_tables(statement))
        return connection.execute(statement, values)

    @property
    def in_transaction(self) -> bool:
        return "cache_transaction" in g

    def delete_memoized(  # type: ignore[override]
        self, f: Memoized, *args: Any, **kwargs: Any
    ) -> None:
        """Forget one document of `f`, or all of them without further arguments.

        Within `transaction` the commit forgets them, elsewhere this call does.
        """
        if not isinstance(f, Memoized):
            raise TypeError(f"{f!r} is not memoized: cache.delete forgets by a key")
        some = args or kwargs
        name = f.key.format(**f.arguments(*args, **kwargs)) if some else f.generation_key
        self._forget(name, f)

    def delete_tagged(self, tag: Tag, *scopes: object) -> None:
        """Forget all entries that have `tag` in this scope, as `delete_memoized` does."""
        self._forget(tag.generation_key(*scopes), tag)

    def _forget(self, name: str, owner: Memoized | Tag | ValueFamily) -> None:
        if not self.in_transaction:
            with self.transaction():
                self._forget(name, owner)
            return
        transaction: Transaction = g.cache_transaction
        transaction.forget(name, owner)

    def await_invalidation(self) -> None:
        """Wait until the cache has forgotten every write that the current transaction can see.

        A request calls this before it answers with a write of another request: the answer
        acknowledges that write, too.
        """
        if self.backend.connection.enabled and self.session.scalar(self.outbox.select_non_empty):
            await_checks(self.session())

    def replay(self) -> int:
        """Forget the names in the outbox, and return their number.

        Raises RedisUnavailable, and SQLAlchemy's errors without the database.
        """
        return self.outbox.replay(self.backend.protocol.release)

    def _note_flush(self, session: Any, *_: Any) -> None:
        self._note_changes(flushed_tables(session))

    def _note_statement(self, execution: Any) -> None:
        self._note_changes(written_tables(execution.statement))

    def _note_changes(self, tables: Iterable[str]) -> None:
        """Note changed tables; raise RuntimeError for a memoized one outside a transaction."""
        changed = self._memoized_tables.intersection(tables)
        if not changed:
            return
        if not self.in_transaction:
            names = ", ".join(sorted(changed))
            raise RuntimeError(f"{names} can be changed only within cache.transaction()")
        g.cache_transaction.changed_tables |= changed

    def _check_begin(self, *_: Any) -> None:
        if self.in_transaction and g.cache_transaction.is_without_session:
            raise RuntimeError("this transaction is of statements alone: the session has no part")

    def _check_commit(self, _session: Any) -> None:
        if self.in_transaction and not g.cache_transaction.is_committing:
            raise RuntimeError("cache.transaction() commits by itself, at its end")
