"""What Redis is asked of a client's record, and of two that may be on two servers of a cluster.

A thread and the event loop send these calls, each in its own way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from shop.quotas import CLIENT, Receipt

from . import record
from .scripts import DECIDE, HOLD, REPAY, TELL

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from shop.quotas import Charge, Payers

NUMBERS = 4  # that DECIDE returns for each policy


class Call(NamedTuple):
    script: str
    keys: Sequence[str]
    arguments: Sequence[object]


def decide(payers: Payers, charges: Sequence[Charge], script: str = DECIDE) -> Call:
    """Decide all policies of a request together; `script` is DECIDE or has its arguments."""
    keys = [record.key(payer) for payer in payers]
    return Call(script, keys, [value for charge in charges for value in charge])


def repay(receipt: Receipt) -> Call:
    arguments: list[object] = [receipt.moment]
    for charge, joined in zip(receipt.charges, receipt.joined, strict=True):
        cost = min(charge.cost, charge.quota)
        arguments += (charge.policy, charge.quota, charge.period, cost, joined)
    return Call(REPAY, [record.key(receipt.client)], arguments)


def decide_apart(payers: Payers, charges: Sequence[Charge]) -> Generator[Call, Any, list[int]]:
    """Yield calls one after the other, each to one record; return what DECIDE would for both.

    The client's own record is charged first. If the second refuses, or cannot be asked and that
    error is thrown in, the first is repaid.
    """
    own = [charge for charge in charges if charge.payer == CLIENT]
    shared = [charge for charge in charges if charge.payer != CLIENT]
    client, address = (payers._replace(client=one, address=one) for one in payers)
    answer, (moment, *joined) = yield decide(client, own, HOLD)
    receipt = Receipt(payers.client, own, moment, joined, alone=False)
    is_held = all(answer[::NUMBERS])
    try:
        other = yield decide(address, shared, DECIDE if is_held else TELL)
    except Exception:
        if is_held:
            yield repay(receipt)
        raise
    if is_held and not all(other[::NUMBERS]):
        yield repay(receipt)
        answer = yield decide(client, [charge._replace(cost=0) for charge in own])
    left, right = iter(answer), iter(other)
    return [
        next(left if charge.payer == CLIENT else right)
        for charge in charges
        for _ in range(NUMBERS)
    ]
