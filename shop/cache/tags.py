"""Tags: generations that entries of any family share, so that a write can forget them together."""

from __future__ import annotations

from string import Formatter
from typing import TYPE_CHECKING, Any

from .metrics import INVALIDATIONS

if TYPE_CHECKING:
    from collections.abc import Iterable

GENERATION = ":generation"  # the end of each generation's name


class Tag:
    """One generation for each scope. An entry's stamp has the generations of its tags.

    Keep the scopes few: a generation does not expire.
    """

    def __init__(self, key: str, tables: Iterable[Any]) -> None:
        self.name = key.partition(":{")[0]
        self.tables = frozenset(model.__tablename__ for model in tables)
        self._key = key
        self._scopes = [name for _, name, _, _ in Formatter().parse(key) if name]
        self.invalidations = INVALIDATIONS.labels(self.name)  # which shows 0 from the start

    def for_logs(self, name: str) -> str:
        return name

    def generation_key(self, *scopes: object) -> str:
        """Return the name of a scope's generation; `scopes` are the parts of the key, in order.

        Raises ValueError unless every part is given.
        """
        return self._key.format(**dict(zip(self._scopes, scopes, strict=True))) + GENERATION
