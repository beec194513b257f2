"""Calls of the limits' scripts: on one record, or on two that two servers of a cluster may have.

The calls are made here. A thread and the event loop send them, each in its own way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from shop.quotas import CLIENT, Receipt

from . import records
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
    """Return the call that decides all policies of a request together.

    `script` is DECIDE or one with the same arguments.
    """
    keys = [records.key(payer) for payer in payers]
    return Call(script, keys, [value for charge in charges for value in charge])


def repay(receipt: Receipt) -> Call:
    arguments: list[object] = [receipt.moment]
    for charge, joined in zip(receipt.charges, receipt.joined, strict=True):
        cost = min(charge.cost, charge.quota)
        arguments += (charge.policy, charge.quota, charge.period, cost, joined)
    return Call(REPAY, [records.key(receipt.client)], arguments)


def decide_apart(payers: Payers, charges: Sequence[Charge]) -> Generator[Call, Any, list[int]]:
    """Yield calls one after the other, each to one record; return the answer of DECIDE for both.

    The client's own record is charged first. It is repaid if the second record refuses, or if the
    caller throws in the error of a server that cannot be reached.
    """
    own = [charge for charge in charges if charge.payer == CLIENT]
    shared = [charge for charge in charges if charge.payer != CLIENT]
    client, address = (payers._replace(client=one, address=one) for one in payers)
    answer, (moment, *joined) = yield decide(client, own, HOLD)
    receipt = Receipt(payers.client, own, moment, joined, in_fallback=False)
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
