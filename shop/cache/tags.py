"""Tags: what entries of any family have in common, so that a write can forget them together."""

from __future__ import annotations

from string import Formatter
from typing import TYPE_CHECKING, Any

from .metrics import INVALIDATIONS

if TYPE_CHECKING:
    from collections.abc import Iterable

GENERATION = ":generation"  # what the name of each generation ends with


class Tag:
    """One generation for each scope, which entries carry in their stamps beside their family's.

    Its scopes are to be few: a generation does not expire.
    """

    def __init__(self, key: str, tables: Iterable[Any]) -> None:
        self.name = key.partition(":{")[0]
        self.tables = frozenset(model.__tablename__ for model in tables)
        self._key = key
        self._scopes = [name for _, name, _, _ in Formatter().parse(key) if name]
        self.invalidations = INVALIDATIONS.labels(self.name)  # which shows 0 from the start

    def shown(self, name: str) -> str:
        return name

    def of(self, *scopes: object) -> str:
        """Return the name of the generation of a scope, whose parts are in the key's order.

        Raises ValueError unless every part is given.
        """
        return self._key.format(**dict(zip(self._scopes, scopes, strict=True))) + GENERATION
