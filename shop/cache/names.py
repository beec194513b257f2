"""The names of entries: that no two functions have one name, and no prefix is taken for one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from shop.environment import SettingError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .memoize import Memoized

OTHERS = ["rate_limit"]  # what names in Redis begin with that are not the cache's


def kinds(memoized: Iterable[Memoized]) -> list[str]:
    """Return what the names of entries begin with, such as `products`, each once."""
    return sorted({function.family.partition(":")[0] for function in memoized})


def check_prefix(prefix: str, memoized: Iterable[Memoized]) -> None:
    """Raise SettingError for a prefix whose names can be those of a shop without one."""
    used = "|".join([*kinds(memoized), *OTHERS])
    if found := re.search(f"(?:^|[_.:-])((?:{used}):)", prefix):
        raise SettingError(
            f"REDIS_KEY_PREFIX must not have {found[1]}, as names without it do: {prefix!r}"
        )


def check_collisions(function: Memoized, others: Iterable[Memoized]) -> None:
    """Raise ValueError for a function that has the name, the keys or the family of another one.

    A family that two share is to be declared by the second one (`family=`).
    """
    for other in others:
        if function.name == other.name:
            raise ValueError(f"two memoized functions are called {function.name}")
        if function.pattern == other.pattern:
            raise ValueError(f"{function.name} and {other.name} have the same key: {function.key}")
        if function.family == other.family and not function.shares_family:
            raise ValueError(f"{function.name} and {other.name} have one family: {function.family}")
