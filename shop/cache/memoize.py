"""Functions whose documents are cached."""

from __future__ import annotations

import inspect
import re
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, ParamSpec, TypeVar

from shop.facts import Outcome, facts
from shop.redis import RedisUnavailable

from .declaration import Declaration
from .reader import Reader, count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .declaration import Owner

P = ParamSpec("P")
Id = TypeVar("Id", int, str)


class Reading(NamedTuple):
    """Documents of one function that a request has read."""

    function: Memoized
    generations: Sequence[str]  # that its entries depend on
    keys: Sequence[str]
    documents: Mapping[int, bytes]  # by position, empty for what does not exist
    bounded: bool  # whether they have to be admitted to be stored
    read: Callable[[], Mapping[int, bytes]]  # reads them again, as the call of the function has

    def again(self) -> list[bytes]:
        """Return the documents of now."""
        found = self.read()
        return [found.get(i, b"") for i in range(len(self.keys))]


class Found(NamedTuple):
    """A document that was read for one of several requests."""

    document: bytes  # empty for what does not exist
    outcome: Outcome


class Memoized(Declaration):
    """A declared function that reads its documents by way of the cache."""

    def _read(
        self,
        generations: Sequence[str],
        keys: Sequence[str],
        compute: Callable[[list[int]], Mapping[int, bytes]],
        *,
        bounded: bool = False,
    ) -> Mapping[int, bytes]:
        """Return the documents under `keys`, by position; an empty one for what does not exist.

        `compute` does the same for the positions that it is told, or leaves out what does not
        exist.
        """
        if self.cache.in_transaction:
            return compute(list(range(len(keys))))  # it may see what is not committed
        reader = Reader(self, generations, keys, compute, bounded=bounded)
        reader.read()
        if observer := facts().observer:
            again = partial(self._read, generations, keys, compute, bounded=bounded)
            observer.read(Reading(self, generations, keys, reader.documents, bounded, again))
        return reader.documents


class MemoizedOne(Memoized, Generic[P]):
    """A function whose arguments name one document."""

    def __init__(
        self,
        *declared: Any,
        family: str | None = None,
        tags: Callable[..., Iterable[str]] | None = None,
        bounded: Callable[..., bool] | bool = False,
        is_told: bool = True,
    ) -> None:
        super().__init__(*declared, family=family, is_told=is_told)
        self._tags = tags
        self.has_tags = tags is not None
        self._bounded = bounded
        self._signature = inspect.signature(self.uncached)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> bytes:
        arguments = self.arguments(*args, **kwargs)
        tags = self._tags(**arguments) if self._tags else ()
        key = self.key.format(**arguments)

        def compute(_: list[int]) -> dict[int, bytes]:
            return {0: self.uncached(*args, **kwargs)}

        bounded = self._bounded(**arguments) if callable(self._bounded) else self._bounded
        return self._read([self.generation_key, *tags], [key], compute, bounded=bounded)[0]

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
        cache: Owner,
        function: Callable[..., Any],
        key: str,
        *rest: Any,
        is_public: Callable[[bytes], bool] | None = None,
        is_told: bool = True,
    ) -> None:
        super().__init__(cache, function, key, *rest, is_told=is_told)
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

    def read_apart(self, ids: Sequence[Id]) -> tuple[dict[Id, Found], Exception | None]:
        """Read documents, each for a request of its own; return why the others could not be read.

        What another reader computes is left out: whoever asks for it has to wait.
        """
        generations, compute = [self.generation_key], partial(self._compute, ids)
        reader = Reader(self, generations, self._keys(ids), compute, apart=True)
        failed = None
        try:
            reader.read()
        except Exception as error:  # noqa: BLE001  (it is raised where each request is answered)
            failed = error
        found = {ids[i]: Found(one, reader.outcomes[i]) for i, one in reader.documents.items()}
        return found, failed

    def _keys(self, ids: Sequence[Id]) -> list[str]:
        return [f"{self.prefix}{one}" for one in ids]

    def _compute(self, ids: Sequence[Id], positions: list[int]) -> dict[int, bytes]:
        found = self.uncached([ids[position] for position in positions])
        return {i: found[ids[i]] for i in positions if ids[i] in found}

    def published(self, documents: Iterable[bytes]) -> list[bytes]:
        """Return those of its documents that everybody may see."""
        if self.is_public is None:
            return list(documents)
        return list(filter(self.is_public, documents))

    def peek(self, one: Id) -> bytes | None:
        """Return the document of an id if the cache has it, empty for one that does not exist.

        Return None if the cache does not know. Nothing is computed, and nothing is leased.
        """
        key = f"{self.prefix}{one}"
        try:
            document = self.cache.backend.peek([self.generation_key], key)
        except RedisUnavailable:
            return None
        if document is not None:
            count(self, Outcome.HIT, [key])
        return document

    def arguments(self, one: Id) -> dict[str, Any]:
        return {self._parameter: one}
