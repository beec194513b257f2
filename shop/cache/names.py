"""The names of entries: that no two functions have one name, and no prefix is taken for one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from shop.environment import SettingError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .declaration import Declaration

OTHERS = ["rate_limit", "values"]  # what names in Redis begin with that are of no function


def kinds(memoized: Iterable[Declaration]) -> list[str]:
    """Return what the names of entries begin with, such as `products`, each once."""
    return sorted({function.family.partition(":")[0] for function in memoized})


def check_prefix(prefix: str, memoized: Iterable[Declaration]) -> None:
    """Raise SettingError for a prefix whose names can be those of a shop without one."""
    used = "|".join([*kinds(memoized), *OTHERS])
    if found := re.search(f"(?:^|[_.:-])((?:{used}):)", prefix):
        raise SettingError(
            f"REDIS_KEY_PREFIX must not have {found[1]}, as names without it do: {prefix!r}"
        )


def check_collisions(function: Declaration, others: Iterable[Declaration]) -> None:
    """Raise ValueError for a function that has the name, the keys or the family of another one.

    So it is for names that begin as those of no function do.

    A family that two share is to be declared by the second one (`family=`).
    """
    if (kind := function.family.partition(":")[0]) in OTHERS:
        raise ValueError(f"names that begin with {kind} are not for memoized functions")
    for other in others:
        if function.name == other.name:
            raise ValueError(f"two memoized functions are called {function.name}")
        if function.pattern == other.pattern:
            raise ValueError(f"{function.name} and {other.name} have the same key: {function.key}")
        if function.family == other.family and not function.shares_family:
            raise ValueError(f"{function.name} and {other.name} have one family: {function.family}")
