"""The fallback: one worker counts by itself, while it cannot reach Redis.

Each worker allows its share of a quota: the quota divided by the number of workers, at least 1.
A client begins with the worker's share of the last usage that Redis has told this worker. What the
worker allows is a debt to Redis, and is paid when Redis is back.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from secrets import token_hex
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from shop.quotas import Charge, HeldCharge, Payers, Receipt, Usage

from .window import SECOND, Window

if TYPE_CHECKING:
    from collections.abc import Sequence

CLIENTS_MAX = 10_000  # clients that a worker remembers: the latest

T = TypeVar("T")
# The usage of a policy that Redis told last: when, in microseconds of this clock, and how much.
LastUsage = tuple[int, int]


class Payment(NamedTuple):
    """Debts of a client, paid once: Redis remembers the identifier."""

    identifier: str
    debts: dict[str, Debt]


class Debt(NamedTuple):
    """The charges that a worker has allowed under a policy, and Redis does not know."""

    charge: Charge  # the first one
    window: Window


class Client:
    """The windows of a client in this worker, and the client's debts to Redis."""

    def __init__(self) -> None:
        self.windows: dict[str, Window] = {}  # by policy, as the next
        self.debts: dict[str, Debt] = {}
        self.payment: Payment | None = None  # that was not acknowledged


class Share(NamedTuple):
    """A worker's share of one policy, and what it has used of that."""

    client: Client
    charge: Charge
    window: Window
    quota: int

    @property
    def cost(self) -> int:
        return min(self.charge.cost, self.quota)

    @property
    def excess(self) -> int:
        return self.window.used + self.cost - self.quota if self.cost else 0


class Fallback:
    def __init__(self, workers: int, *, owing: bool = True) -> None:
        """`owing`: whether there is a Redis to pay."""
        self._workers = workers
        self._owing = owing
        self._lock = threading.Lock()
        self._clients: OrderedDict[str, Client] = OrderedDict()
        self._last_usages: OrderedDict[str, dict[str, LastUsage]] = OrderedDict()

    def remember(self, payers: Payers, charges: Sequence[Charge], usages: Sequence[Usage]) -> None:
        """Remember the usages that Redis has counted: they are those of all workers."""
        now = _now()
        with self._lock:
            for charge, usage in zip(charges, usages, strict=True):
                client = payers.record_of(charge)
                last = self._last_usages.get(client)
                if last is None:
                    last = {}
                    _keep_latest(self._last_usages, client, last)
                else:
                    self._last_usages.move_to_end(client)
                last[usage.policy] = now, usage.used
                if known := self._clients.get(client):
                    known.windows.pop(usage.policy, None)
                    self._forget_empty(client, known)

    def decide(self, payers: Payers, charges: Sequence[Charge]) -> list[Usage]:
        """Decide all policies of a request together, as Redis would."""
        return self.hold(payers, charges).usages

    def hold(self, payers: Payers, charges: Sequence[Charge]) -> HeldCharge:
        """Decide a request that pays from one record, with the receipt to repay it."""
        now = _now()
        with self._lock:
            shares = [self._share(payers.record_of(charge), charge, now) for charge in charges]
            refused = {share.charge.policy: share.excess for share in shares if share.excess > 0}
            receipt = None
            if not refused:
                joined = [self._charge(share, now) for share in shares]
                receipt = Receipt(payers.client, charges, now, joined, in_fallback=True)
            usages = [
                Usage(
                    policy=share.charge.policy,
                    quota=share.quota,
                    period=share.charge.period,
                    used=share.window.used,
                    reset=share.window.reset(now) / SECOND,
                    cost=share.charge.cost,
                    passes=share.charge.policy not in refused,
                    wait=share.window.wait(now, refused.get(share.charge.policy, 0)) / SECOND,
                )
                for share in shares
            ]
        return HeldCharge(charges, usages, receipt)

    def repay(self, receipt: Receipt) -> None:
        """Undo a charge, as far as it was not paid to Redis."""
        with self._lock:
            known = self._clients.get(receipt.client) or Client()
            for charge, joined in zip(receipt.charges, receipt.joined, strict=True):
                if window := known.windows.get(charge.policy):
                    cost = min(charge.cost, self._quota(charge))
                    window.repay(receipt.moment, cost, joined)
                if debt := known.debts.get(charge.policy):
                    debt.window.repay(receipt.moment, min(charge.cost, charge.quota), 0)
                    if not debt.window.entries:
                        del known.debts[charge.policy]

    def _share(self, name: str, charge: Charge, now: int) -> Share:
        client = self._clients.get(name) or Client()
        _keep_latest(self._clients, name, client)
        window = client.windows.get(charge.policy)
        if window is None:
            window = client.windows[charge.policy] = Window(charge.period * SECOND)
            last = self._last_usages.get(name, {}).get(charge.policy)
            if last and last[1]:
                window.charge(last[0], -(-last[1] // self._workers))
        window.advance(now)
        return Share(client, charge, window, self._quota(charge))

    def _quota(self, charge: Charge) -> int:
        return max(1, charge.quota // self._workers)

    def _charge(self, share: Share, now: int) -> int:
        """Charge, and return the earlier time of the entry; 0 for a new entry."""
        if not share.cost:
            return 0
        charge = share.charge
        if self._owing:
            owed = Debt(charge, Window(share.window.period))
            debt = share.client.debts.setdefault(charge.policy, owed)
            debt.window.advance(now)
            debt.window.charge(now, min(charge.cost, charge.quota))
        return share.window.charge(now, share.cost)

    def debtors(self) -> list[str]:
        """Return the clients with debts, the latest first."""
        with self._lock:
            return [
                client
                for client, known in reversed(self._clients.items())
                if known.debts or known.payment
            ]

    def payment(self, client: str) -> Payment | None:
        """Return the next payment of a client: the same one until it is `paid`."""
        with self._lock:
            known = self._clients.get(client) or Client()
            if known.debts and not known.payment:
                known.payment, known.debts = Payment(token_hex(8), known.debts), {}
            return known.payment

    def paid(self, client: str, payment: Payment) -> None:
        with self._lock:
            known = self._clients.get(client)
            if known and known.payment is payment:
                known.payment = None
                self._forget_empty(client, known)

    def forget(self, client: str, policy: str) -> None:
        """Forget a client's usage of a policy, and the debt for it."""
        with self._lock:
            self._last_usages.get(client, {}).pop(policy, None)
            if known := self._clients.get(client):
                known.windows.pop(policy, None)
                known.debts.pop(policy, None)
                if known.payment:
                    rest = {
                        name: one for name, one in known.payment.debts.items() if name != policy
                    }
                    known.payment = known.payment._replace(debts=rest) if rest else None
                self._forget_empty(client, known)

    def forget_all(self) -> None:
        with self._lock:
            self._clients.clear()
            self._last_usages.clear()

    def _forget_empty(self, client: str, known: Client) -> None:
        if not (known.windows or known.debts or known.payment):
            del self._clients[client]


def _keep_latest(clients: OrderedDict[str, T], client: str, value: T) -> None:
    clients[client] = value
    clients.move_to_end(client)
    if len(clients) > CLIENTS_MAX:
        clients.popitem(last=False)


def _now() -> int:
    return time.monotonic_ns() // 1000


def age(moment: int) -> int:
    """Return the age of an entry's time, in microseconds."""
    return _now() - moment
