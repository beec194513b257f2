"""Counting in one worker, while it cannot reach Redis.

Each worker allows its share of a quota: the quota divided by the number of workers, at least 1.
A client that Redis had counted before begins with its share of that, as far as this worker saw
it. What is allowed meanwhile is owed to Redis, and paid when it is back.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from secrets import token_hex
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from .decision import Charge, Usage
from .window import SECOND, Window

if TYPE_CHECKING:
    from collections.abc import Sequence

CLIENTS_MAX = 10_000  # that a worker remembers: those that it saw last

T = TypeVar("T")


class Payment(NamedTuple):
    """What Redis is to be told of a client, once: it remembers the identifier."""

    identifier: str
    debts: dict[str, Debt]


class Debt(NamedTuple):
    charge: Charge  # the last one under a policy
    window: Window


class Client:
    """What a worker has counted of a client, and what of that Redis was not told."""

    def __init__(self) -> None:
        self.windows: dict[str, Window] = {}  # by policy, as the next
        self.debts: dict[str, Debt] = {}
        self.payment: Payment | None = None  # that was not acknowledged


class Share(NamedTuple):
    """What a worker may allow of one policy, and what it has allowed."""

    charge: Charge
    window: Window
    quota: int

    @property
    def cost(self) -> int:
        return min(self.charge.cost, self.quota)

    @property
    def excess(self) -> int:
        return self.window.used + self.cost - self.quota if self.cost else 0


class Alone:
    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._lock = threading.Lock()
        self._clients: OrderedDict[str, Client] = OrderedDict()
        self._seen: OrderedDict[str, tuple[int, list[Usage]]] = OrderedDict()

    def saw(self, client: str, usages: list[Usage]) -> None:
        """Remember what Redis has counted."""
        with self._lock:
            _remember(self._seen, client, (_now(), usages))

    def decide(self, client: str, charges: Sequence[Charge]) -> list[Usage]:
        """Decide all policies of a request together, as Redis would."""
        now = _now()
        with self._lock:
            known = self._clients.get(client) or Client()
            _remember(self._clients, client, known)
            shares = [self._share(client, known, charge, now) for charge in charges]
            refused = {share.charge.policy: share.excess for share in shares if share.excess > 0}
            if not refused:
                for share in shares:
                    _charge(known, share, now)
            return [
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

    def _share(self, client: str, known: Client, charge: Charge, now: int) -> Share:
        window = known.windows.get(charge.policy)
        if window is None:
            window = known.windows[charge.policy] = Window(charge.period * SECOND)
            seen, usages = self._seen.get(client, (0, []))
            for usage in usages:
                if usage.policy == charge.policy and usage.used:
                    window.charge(seen, -(-usage.used // self._workers))
        window.advance(now)
        return Share(charge, window, max(1, charge.quota // self._workers))

    def knows(self, client: str) -> bool:
        """Tell whether a client was counted here, and perhaps not by Redis since."""
        return client in self._clients

    def clients(self) -> list[str]:
        with self._lock:
            return list(self._clients)

    def payment(self, client: str) -> Payment | None:
        """Return what Redis is to be told next: the same until it is `paid`."""
        with self._lock:
            known = self._clients.get(client) or Client()
            if known.debts and not known.payment:
                known.payment, known.debts = Payment(token_hex(8), known.debts), {}
            return known.payment

    def paid(self, client: str) -> None:
        with self._lock:
            if known := self._clients.get(client):
                known.payment = None

    def forget(self, client: str) -> None:
        """Forget a client that Redis has counted, if nothing is owed."""
        with self._lock:
            known = self._clients.get(client)
            if known and not (known.debts or known.payment):
                del self._clients[client]


def _charge(known: Client, share: Share, now: int) -> None:
    if not share.cost:
        return
    share.window.charge(now, share.cost)
    charge = share.charge
    debt = known.debts.setdefault(charge.policy, Debt(charge, Window(share.window.period)))
    debt.window.advance(now)
    debt.window.charge(now, min(charge.cost, charge.quota))


def _remember(clients: OrderedDict[str, T], client: str, value: T) -> None:
    clients[client] = value
    clients.move_to_end(client)
    if len(clients) > CLIENTS_MAX:
        clients.popitem(last=False)


def _now() -> int:
    return time.monotonic_ns() // 1000


def age(moment: int) -> int:
    """Return how many microseconds ago a time of an entry was."""
    return _now() - moment
