"""The types of a rate-limit decision: charges, payers, and the usage after the charges."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

CLIENT, ADDRESS = 1, 2  # the record of a policy, by its number in the scripts


class Charge(NamedTuple):
    """The cost of one request under one policy."""

    policy: str
    quota: int
    period: int  # seconds
    cost: int
    payer: int  # CLIENT or ADDRESS


class Payers(NamedTuple):
    """The records that a request is charged to; they are the same without a session."""

    client: str
    address: str

    def record_of(self, charge: Charge) -> str:
        return self.client if charge.payer == CLIENT else self.address


class Usage(NamedTuple):
    """The decision of a policy on a request, and the use of its quota after it."""

    policy: str
    quota: int
    period: int  # seconds
    used: int
    reset: float  # seconds until some of the quota is free again; 0 if nothing is used
    cost: int  # of the request
    passes: bool
    wait: float  # seconds until the request would pass; 0 if it passes

    @property
    def remaining(self) -> int:
        return max(0, self.quota - self.used)


class Receipt(NamedTuple):
    """A charge of one record that may be repaid."""

    client: str
    charges: Sequence[Charge]
    moment: int  # microseconds, by the clock that charged
    joined: Sequence[int]  # for each charge the former time of its entry; 0 for a new entry
    in_fallback: bool  # this worker has charged, and not Redis


class HeldCharge(NamedTuple):
    """The decision on a charge that may be repaid."""

    charges: Sequence[Charge]
    usages: list[Usage]
    receipt: Receipt | None  # None: refused

    @property
    def passes(self) -> bool:
        return self.receipt is not None
