"""The types of a rate-limit decision: charges, who pays them, and the usage after them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

CLIENT, ADDRESS = 1, 2  # the record that has a policy, as the scripts number it


class Charge(NamedTuple):
    policy: str
    quota: int
    period: int  # seconds
    cost: int
    payer: int  # CLIENT or ADDRESS


class Payers(NamedTuple):
    """The records that a request is charged to: one, unless it is sent with a session."""

    client: str
    address: str

    def of(self, charge: Charge) -> str:
        return self.client if charge.payer == CLIENT else self.address


class Usage(NamedTuple):
    """The decision of a policy on a request, and how much of its quota is used then."""

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
    in_fallback: bool  # whether this worker has charged it, and not Redis


class Held(NamedTuple):
    """The decision on a charge that may be repaid."""

    charges: Sequence[Charge]
    usages: list[Usage]
    receipt: Receipt | None  # None: it was refused

    @property
    def passes(self) -> bool:
        return self.receipt is not None
