"""Memoize functions that return JSON documents; forget what a write changes.

    @cache.memoize_many(key="products:id:{product_id}", ttl="redis_cache_ttl", tables=[Product])
    def product_documents(product_ids): ...      # -> {product_id: JSON bytes}

    with cache.transaction():
        row.price = price
        cache.delete_memoized(product_documents, 7)  # forget one
        cache.delete_memoized(product_documents)     # forget all, at once

An entry may also have tags, which functions share; `cache.delete_tagged` forgets those with one.

    prices = cache.tag("products:prices:{scope}", tables=[Product])

    @cache.memoize(key="products:cheapest:{category_id}", ttl="redis_cache_ttl", tables=[Product],
                   tags=lambda category_id: [prices.of(category_id)])
    def cheapest(category_id): ...

    with cache.transaction():
        ...
        cache.delete_tagged(prices, category_id)

A memoized function is what it was without Redis: when Redis is off or cannot be reached, every
call computes. A document is encoded once, when it is computed; a hit returns those bytes.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, cast

from flask import g
from flask_caching import Cache as FlaskCache
from sqlalchemy import event

from .installation import Installation
from .memoize import Id, Memoized, MemoizedMany, MemoizedOne
from .names import check_collisions
from .outbox import Outbox
from .tags import Tag
from .transaction import Transaction, await_looks, flushed_tables, written_tables
from .values import VALUES
from .watch import Watch

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from flask import Flask
    from flask_sqlalchemy import SQLAlchemy
    from sqlalchemy import CursorResult, Executable

    from .backend import RedisBackend
    from .values import Values

P = ParamSpec("P")


class Cache(FlaskCache):
    """Memoized functions with readable keys and JSON values; `library.py` has the other calls."""

    def __init__(self, db: SQLAlchemy) -> None:
        super().__init__(with_jinja2_ext=False)
        self.memoized: list[Memoized] = []
        self.tags: list[Tag] = []
        self._read_tables: set[str] = set()  # that documents or tags depend on
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
        backend.watch = Watch(
            backend.connection,
            backend.protocol,
            self.outbox,
            self.installation,
            self._generations,
        )
        backend.connection.find_installation = partial(backend.watch.introduce, app)

    def _generations(self) -> list[str]:
        """Return the names of the generations of all families."""
        families = {function.generation_key for function in self.memoized}
        return [*families, VALUES.generation_key]

    def watch(self, app: Flask) -> threading.Event:
        """Look at the outbox in a thread, so that no read has to; ends when the event is set."""
        return self._backend(app).watch.start(app)

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
        bounded: Callable[..., bool] | bool = False,
        is_told: bool = True,
    ) -> Callable[[Callable[P, bytes]], MemoizedOne[P]]:
        """Memoize a function from arguments to one document (JSON bytes, not empty).

        `key` is a template over the function's parameters, `ttl` names a setting in seconds,
        `tables` are the models that the function reads. `family` is that of another function, with
        which all its entries are forgotten; by default it is the beginning of the key. `tags`, of
        the same parameters, names the generations of tags that the document depends on, too.
        `bounded`, of the same parameters, tells of a document whether anybody can make up others
        of the kind without end: such ones have to be admitted to be stored. `is_told` says that
        logs may have its keys: they are not of what somebody has written.
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
                bounded=bounded,
                is_told=is_told,
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
        is_told: bool = True,
    ) -> Callable[[Callable[[Sequence[Id]], dict[Id, bytes]]], MemoizedMany[Id]]:
        """Memoize a function from ids to their documents; an id without one is left out.

        Reading many documents takes one round trip, and those missing are computed in one call.
        That an id has none is remembered, too, for a short time.

        Each document is stored once, for all readers. `is_public` tells of one whether everybody
        may see it, for those who answer everybody: `published`, and the edge. By default it is.
        `is_told` is that of `memoize`.
        """

        def decorate(function: Callable[[Sequence[Id]], dict[Id, bytes]]) -> MemoizedMany[Id]:
            memoized: MemoizedMany[Id] = MemoizedMany(
                self, function, key, ttl, tables, is_public=is_public, is_told=is_told
            )
            self._declare(memoized)
            return memoized

        return decorate

    def _declare(self, memoized: Memoized) -> None:
        check_collisions(memoized, self.memoized)
        self.memoized.append(memoized)
        self._read_tables |= memoized.tables

    def tag(self, key: str, *, tables: Iterable[Any]) -> Tag:
        """Declare a tag: what entries of any family have in common, in each scope of `key`.

        `tables` are the models with whose changes a write forgets it.
        """
        tag = Tag(key, tables)
        self.tags.append(tag)
        self._read_tables |= tag.tables
        return tag

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block changes, and forget what it says; roll back if it raises.

        Raises RuntimeError for a change to a memoized table of which nothing is forgotten.
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

        In such a one the session may read before, and has no part in what follows. Raises
        RuntimeError if it has.
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

        Within `transaction` that is done when it is committed, elsewhere at once.
        """
        if not isinstance(f, Memoized):
            raise TypeError(f"{f!r} is not memoized: cache.delete forgets by a key")
        some = args or kwargs
        name = f.key.format(**f.arguments(*args, **kwargs)) if some else f.generation_key
        self._forget(name, f)

    def delete_tagged(self, tag: Tag, *scopes: object) -> None:
        """Forget all entries that have `tag` in this scope, when `delete_memoized` would."""
        self._forget(tag.of(*scopes), tag)

    def _forget(self, name: str, of: Memoized | Tag | Values) -> None:
        if not self.in_transaction:
            with self.transaction():
                self._forget(name, of)
            return
        transaction: Transaction = g.cache_transaction
        transaction.forget(name, of)

    def await_forgotten(self) -> None:
        """Return when whatever the current transaction can see is forgotten by the cache, too.

        For who answers with what another has committed, which may not be acknowledged so far.
        """
        if self.backend.connection.enabled and self.session.scalar(self.outbox.any):
            await_looks(self.session())

    def replay(self) -> int:
        """Forget what is in the outbox, and return how many names that were.

        Raises RedisUnavailable, and what SQLAlchemy raises without the database.
        """
        return self.outbox.replay(self.backend.protocol.release)

    def _note_flush(self, session: Any, *_: Any) -> None:
        self._note_changes(flushed_tables(session))

    def _note_statement(self, execution: Any) -> None:
        self._note_changes(written_tables(execution.statement))

    def _note_changes(self, tables: Iterable[str]) -> None:
        """Refuse to change what is memoized where nobody would forget it."""
        changed = self._read_tables.intersection(tables)
        if not changed:
            return
        if not self.in_transaction:
            names = ", ".join(sorted(changed))
            raise RuntimeError(f"{names} can be changed only within cache.transaction()")
        g.cache_transaction.changed |= changed

    def _check_begin(self, *_: Any) -> None:
        if self.in_transaction and g.cache_transaction.is_without_session:
            raise RuntimeError("this transaction is of statements alone: the session has no part")

    def _check_commit(self, _session: Any) -> None:
        if self.in_transaction and not g.cache_transaction.committing:
            raise RuntimeError("cache.transaction() commits by itself, at its end")
