"""Functions whose documents are cached."""

from __future__ import annotations

import inspect
import re
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, ParamSpec, TypeVar

from shop.facts import Outcome, current_facts
from shop.redis import RedisUnavailable

from .declaration import Declaration
from .reader import Reader, count_reads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .declaration import DeclaringCache

P = ParamSpec("P")
Id = TypeVar("Id", int, str)


class DocumentRead(NamedTuple):
    """Documents of one function that a request has read."""

    function: Memoized
    generations: Sequence[str]  # of the entries
    keys: Sequence[str]
    documents: Mapping[int, bytes]  # by position; empty for a row that does not exist
    needs_admission: bool  # of the entries, to be stored
    repeat: Callable[[], Mapping[int, bytes]]  # carries out the same read again

    def read_again(self) -> list[bytes]:
        """Return the present documents, in the order of the keys."""
        found = self.repeat()
        return [found.get(i, b"") for i in range(len(self.keys))]


class ReadResult(NamedTuple):
    """A document that was read for one of several requests."""

    document: bytes  # empty for a row that does not exist
    outcome: Outcome


class Memoized(Declaration):
    """A declared function that reads its documents by way of the cache."""

    def _read(
        self,
        generations: Sequence[str],
        keys: Sequence[str],
        compute: Callable[[list[int]], Mapping[int, bytes]],
        *,
        needs_admission: bool = False,
    ) -> Mapping[int, bytes]:
        """Return the documents under `keys` by position; empty for rows that do not exist.

        `compute` takes positions, and returns their documents; it may leave out those of rows that
        do not exist.
        """
        if self.cache.in_transaction:
            return compute(list(range(len(keys))))  # the block may see what is not committed
        reader = Reader(self, generations, keys, compute, needs_admission=needs_admission)
        reader.read()
        if observer := current_facts().observer:
            repeat = partial(
                self._read, generations, keys, compute, needs_admission=needs_admission
            )
            observer.read(
                DocumentRead(self, generations, keys, reader.documents, needs_admission, repeat)
            )
        return reader.documents


class MemoizedOne(Memoized, Generic[P]):
    """A function whose arguments name one document."""

    def __init__(
        self,
        *declared: Any,
        family: str | None = None,
        tags: Callable[..., Iterable[str]] | None = None,
        needs_admission: Callable[..., bool] | bool = False,
        log_keys: bool = True,
    ) -> None:
        super().__init__(*declared, family=family, log_keys=log_keys)
        self._tags = tags
        self.has_tags = tags is not None
        self._needs_admission = needs_admission
        self._signature = inspect.signature(self.uncached)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> bytes:
        arguments = self.arguments(*args, **kwargs)
        tags = self._tags(**arguments) if self._tags else ()
        key = self.key.format(**arguments)

        def compute(_: list[int]) -> dict[int, bytes]:
            return {0: self.uncached(*args, **kwargs)}

        needs_admission = self._needs_admission
        if callable(needs_admission):
            needs_admission = needs_admission(**arguments)
        generations = [self.generation_key, *tags]
        return self._read(generations, [key], compute, needs_admission=needs_admission)[0]

    def arguments(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments


class MemoizedMany(Memoized, Generic[Id]):
    """A function that takes ids and returns the documents of those that exist.

    Its keys end with the id. Raises ValueError for a template that does not.
    """

    def __init__(
        self,
        cache: DeclaringCache,
        function: Callable[..., Any],
        key: str,
        *rest: Any,
        is_public: Callable[[bytes], bool] | None = None,
        log_keys: bool = True,
    ) -> None:
        super().__init__(cache, function, key, *rest, log_keys=log_keys)
        self.is_public = is_public
        self.prefix, _, name = key.partition("{")
        if not re.fullmatch(r"\w+}", name):
            raise ValueError(f"{key} does not end with an id")
        self._parameter = name.removesuffix("}")

    def __call__(self, ids: Sequence[Id]) -> dict[Id, bytes]:
        if not ids:
            return {}
        documents = self._read([self.generation_key], self._keys(ids), partial(self._compute, ids))
        return {one: documents[i] for i, one in enumerate(ids) if documents.get(i)}

    def read_coalesced(self, ids: Sequence[Id]) -> tuple[dict[Id, ReadResult], Exception | None]:
        """Read documents for several requests; return them, and the error of those not read.

        A document that another reader computes is left out: its request has to wait for it.
        """
        generations, compute = [self.generation_key], partial(self._compute, ids)
        reader = Reader(self, generations, self._keys(ids), compute, coalesced=True)
        failed = None
        try:
            reader.read()
        except Exception as error:  # noqa: BLE001  (it is raised where each request is answered)
            failed = error
        found = {ids[i]: ReadResult(one, reader.outcomes[i]) for i, one in reader.documents.items()}
        return found, failed

    def _keys(self, ids: Sequence[Id]) -> list[str]:
        return [f"{self.prefix}{one}" for one in ids]

    def _compute(self, ids: Sequence[Id], positions: list[int]) -> dict[int, bytes]:
        found = self.uncached([ids[position] for position in positions])
        return {i: found[ids[i]] for i in positions if ids[i] in found}

    def filter_public(self, documents: Iterable[bytes]) -> list[bytes]:
        """Return those of the function's documents that everybody may see."""
        if self.is_public is None:
            return list(documents)
        return list(filter(self.is_public, documents))

    def peek(self, one: Id) -> bytes | None:
        """Return the document of an id if it is a hit, else None; compute and lease nothing.

        The document of an id that does not exist is empty.
        """
        key = f"{self.prefix}{one}"
        try:
            document = self.cache.backend.peek([self.generation_key], key)
        except RedisUnavailable:
            return None
        if document is not None:
            count_reads(self, Outcome.HIT, [key])
        return document

    def arguments(self, one: Id) -> dict[str, Any]:
        return {self._parameter: one}
