"""How the answer of a policy is read, counted and told."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING

from shop.quotas import Usage

from .metrics import REQUESTS
from .window import SECOND

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shop.prometheus import Counter
    from shop.quotas import Charge

logger = logging.getLogger("shop.limits")


def told(charges: Sequence[Charge], answer: Sequence[int]) -> list[Usage]:
    """Return what the script DECIDE has answered for these charges."""
    usages = []
    for at, (policy, quota, period, cost, _) in enumerate(charges):
        passes, used, reset, wait = answer[4 * at : 4 * at + 4]
        left = used, reset / SECOND, cost, passes == 1, wait / SECOND
        usages.append(Usage(policy, quota, period, *left))
    return usages


def refusing(client: str, used: Sequence[Usage], *, enforced: bool) -> list[Usage]:
    """Count what was decided; return the policies that refuse the request, if they may."""
    against = [usage for usage in used if not usage.passes]
    if not against:
        _count("allowed", [usage for usage in used if usage.cost])
    elif enforced:
        _count("refused", against)
    else:
        _count("would_refuse", against)
        logger.info("Would refuse %s: %s", client, names(against))
        against = []
    return against


def names(used: Iterable[Usage]) -> str:
    return ", ".join(usage.policy for usage in used)


def _count(result: str, used: Iterable[Usage]) -> None:
    for usage in used:
        _requests(usage.policy, result).inc()


@cache
def _requests(policy: str, result: str) -> Counter:
    return REQUESTS.labels(policy, result)
