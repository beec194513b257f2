"""Decisions of the policies: parsed from the answer of Redis, and counted in the metrics."""

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


def parse_usages(charges: Sequence[Charge], answer: Sequence[int]) -> list[Usage]:
    """Return the usages in an answer of the script DECIDE for these charges."""
    usages = []
    for at, (policy, quota, period, cost, _) in enumerate(charges):
        passes, used, reset, wait = answer[4 * at : 4 * at + 4]
        left = used, reset / SECOND, cost, passes == 1, wait / SECOND
        usages.append(Usage(policy, quota, period, *left))
    return usages


def count_decision(client: str, used: Sequence[Usage], *, enforced: bool) -> None:
    """Count a decision by policy and result. Log what shadow mode would refuse."""
    violated = [usage for usage in used if not usage.passes]
    if not violated:
        _count("allowed", [usage for usage in used if usage.cost])
    elif enforced:
        _count("refused", violated)
    else:
        _count("would_refuse", violated)
        logger.info("Would refuse %s: %s", client, policy_names(violated))


def policy_names(used: Iterable[Usage]) -> str:
    return ", ".join(usage.policy for usage in used)


def _count(result: str, used: Iterable[Usage]) -> None:
    for usage in used:
        _requests(usage.policy, result).inc()


@cache
def _requests(policy: str, result: str) -> Counter:
    return REQUESTS.labels(policy, result)
