"""Refuses names of entries that collide: of two functions, or by way of a prefix."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from shop.environment import SettingError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .declaration import Declaration

RESERVED_ROOTS = [
    "ops",
    "rate_limit",
    "values",
]  # names of no function begin so


def family_roots(memoized: Iterable[Declaration]) -> list[str]:
    """Return the first words of the functions' families, such as `products`, each once."""
    return sorted({function.family_root for function in memoized})


def check_prefix(prefix: str, memoized: Iterable[Declaration]) -> None:
    """Raise SettingError for a prefix whose names can equal names without a prefix."""
    used = "|".join([*family_roots(memoized), *RESERVED_ROOTS])
    if found := re.search(f"(?:^|[_.:-])((?:{used}):)", prefix):
        raise SettingError(
            f"REDIS_KEY_PREFIX must not have {found[1]}, as names without it do: {prefix!r}"
        )


def check_collisions(function: Declaration, others: Iterable[Declaration]) -> None:
    """Raise ValueError for a function with the name, the key or the family of another.

    A second function of a family declares it (`family=`). Reserved names are refused as well.
    """
    if function.family_root in RESERVED_ROOTS:
        root = function.family_root
        raise ValueError(f"names that begin with {root} are not for memoized functions")
    for other in others:
        if function.name == other.name:
            raise ValueError(f"two memoized functions are called {function.name}")
        if function.pattern == other.pattern:
            raise ValueError(f"{function.name} and {other.name} have the same key: {function.key}")
        if function.family == other.family and not function.shares_family:
            raise ValueError(f"{function.name} and {other.name} have one family: {function.family}")
