"""What is asked of a policy for one request, what it says, and what that means."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from .metrics import REQUESTS
from .window import SECOND

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shop.prometheus import Counter

logger = logging.getLogger("shop.limits")

CLIENT, ADDRESS = 1, 2  # whose record has a policy, as the scripts number them


class Charge(NamedTuple):
    policy: str
    quota: int
    period: int  # seconds
    cost: int
    payer: int  # CLIENT or ADDRESS


class Payers(NamedTuple):
    """Whose records a request is charged to; those of an address without a session are one."""

    client: str
    address: str

    def of(self, charge: Charge) -> str:
        return self.client if charge.payer == CLIENT else self.address


class Usage(NamedTuple):
    """What a policy decided on a request, and what is left of it then."""

    policy: str
    quota: int
    period: int  # seconds
    used: int
    reset: float  # seconds until some of what is used is free again; 0 if nothing is
    cost: int  # of the request
    passes: bool
    wait: float  # seconds until the request would pass; 0 if it does

    @property
    def remaining(self) -> int:
        return max(0, self.quota - self.used)


class Receipt(NamedTuple):
    """A charge of one record that may be repaid."""

    client: str
    charges: Sequence[Charge]
    moment: int  # microseconds of the clock that it was charged by
    joined: Sequence[int]  # for each the time that its entry had before; 0 if it is a new one
    alone: bool  # whether this worker has charged it alone


class Held(NamedTuple):
    """What was decided on a charge that may be repaid."""

    charges: Sequence[Charge]
    usages: list[Usage]
    receipt: Receipt | None  # None: it was refused

    @property
    def passes(self) -> bool:
        return self.receipt is not None


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
