"""Counting in one worker, while it cannot reach Redis.

Each worker allows its share of a quota: the quota divided by the number of workers, at least 1.
A client that Redis had counted before begins with its share of that, as far as this worker saw
it. What is allowed meanwhile is owed to Redis, and paid when it is back.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from .decision import Charge, Usage
from .window import SECOND, Window

if TYPE_CHECKING:
    from collections.abc import Sequence

CLIENTS_MAX = 10_000  # that a worker remembers: those that it saw last

T = TypeVar("T")


class Debt(NamedTuple):
    charge: Charge
    time: int  # microseconds of this process's clock


class Client:
    """What a worker has counted of a client, and not yet told Redis."""

    def __init__(self) -> None:
        self.windows: dict[str, Window] = {}  # by policy
        self.debts: deque[Debt] = deque()


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

    def debtors(self) -> list[str]:
        with self._lock:
            return [client for client, known in self._clients.items() if known.debts]

    def counted(self, client: str) -> bool:
        """Tell whether something of this client may not have been told to Redis."""
        return client in self._clients

    def take_debts(self, client: str) -> list[tuple[Charge, int]]:
        """Return what a client was allowed and is not paid, each with its age in microseconds."""
        now = _now()
        with self._lock:
            known = self._clients.get(client) or Client()
            debts = [(debt.charge, now - debt.time) for debt in known.debts]
            known.debts.clear()
        return debts

    def return_debts(self, client: str, debts: list[tuple[Charge, int]]) -> None:
        """Owe again what could not be paid."""
        now = _now()
        with self._lock:
            known = self._clients.setdefault(client, Client())
            known.debts.extendleft(Debt(charge, now - age) for charge, age in reversed(debts))

    def forget(self, client: str) -> None:
        """Forget a client that is counted by Redis again."""
        with self._lock:
            known = self._clients.get(client)
            if known and not known.debts:
                del self._clients[client]


def _charge(known: Client, share: Share, now: int) -> None:
    if share.cost:
        share.window.charge(now, share.cost)
        while known.debts and known.debts[0].time + share.window.period <= now:
            known.debts.popleft()
        known.debts.append(Debt(share.charge, now))


def _remember(clients: OrderedDict[str, T], client: str, value: T) -> None:
    clients[client] = value
    clients.move_to_end(client)
    if len(clients) > CLIENTS_MAX:
        clients.popitem(last=False)


def _now() -> int:
    return time.monotonic_ns() // 1000
