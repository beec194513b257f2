"""Declarations of memoized functions, and the names of their entries in Redis."""

from __future__ import annotations

import functools
import re
from string import Formatter
from typing import TYPE_CHECKING, Any, Protocol

from .metrics import ERRORS, INVALIDATIONS, NOT_ADMITTED, REFUSED_FILLS, WAITS
from .tags import GENERATION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy.orm import scoped_session

    from .backend import RedisBackend


class DeclaringCache(Protocol):
    """The cache that a function is declared in."""

    session: scoped_session[Any]

    @property
    def backend(self) -> RedisBackend:
        """Return the backend of the current application."""

    @property
    def in_transaction(self) -> bool:
        """Tell whether a write is under way, whose reads see what is not committed."""


class Declaration:
    """The declaration of a function: its keys, its time to live, the tables that it reads."""

    def __init__(  # noqa: PLR0913  (each is declared of a function)
        self,
        cache: DeclaringCache,
        function: Callable[..., Any],
        key: str,
        ttl: str,
        tables: Iterable[Any],
        *,
        family: str | None = None,
        log_keys: bool = True,
    ) -> None:
        functools.update_wrapper(self, function)  # type: ignore[arg-type]
        package, _, module = function.__module__.rpartition(".")
        self.name = f"{(package or module).rpartition('.')[2]}.{function.__name__}"
        self.uncached = function
        self.key = key
        self.family = family or _family(key)
        self.family_root = self.family.partition(":")[0]
        self.shares_family = family is not None
        self.pattern = re.sub("{.*?}", "*", key)
        self.log_keys = log_keys
        self.has_tags = False
        self.generation_key = f"{self.family}{GENERATION}"
        self.missing_key = f"{self.family}:missing"
        self.admission_key = f"{self.family}:admission"
        self.ttl = ttl
        self.tables = frozenset(model.__tablename__ for model in tables)
        self.cache = cache
        for counter in (WAITS, REFUSED_FILLS, NOT_ADMITTED, ERRORS):
            counter.labels(self.name)  # which shows 0 from the start
        self.invalidations = INVALIDATIONS.labels(self.name)

    def for_logs(self, key: str) -> str:
        """Return a key as logs may have it; the pattern instead of a text that a client wrote."""
        return key if self.log_keys else self.pattern

    def arguments(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Name the arguments of one document as the key's template does."""
        raise NotImplementedError


def _family(key: str) -> str:
    """Return the beginning that all keys of a template share, in whole words.

    `products:id` for products:id:{product_id}, `products:list` for products:list:skip:{skip}.
    """
    literal, name, _, _ = next(iter(Formatter().parse(key)))
    return literal.rstrip(":").removesuffix(f":{name}")
