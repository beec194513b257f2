"""Who counts: Redis for all workers and hosts together, else this worker for itself.

A worker counts alone from the first request that Redis did not count. When Redis is back, the
worker tells it what it has allowed meanwhile, and goes on alone until the other workers have done
the same. Then Redis counts again.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from shop.quotas import CLIENT, Charge, Held, Payers, Receipt
from shop.redis import PROBE_SECONDS, RedisUnavailable
from shop.repeats import once_a_minute

from . import calls, metrics, record, scripts
from .alone import Alone, age
from .decision import told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shop.quotas import Usage
    from shop.redis import RedisConnection

logger = logging.getLogger("shop.limits")

SCANNED = 500  # keys, by one call


class Counter:
    def __init__(self, connection: RedisConnection, workers: int) -> None:
        self._connection = connection
        self._alone = Alone(workers, owing=connection.enabled)
        self._lock = threading.Lock()
        self.is_alone = not connection.enabled
        self._back = threading.Event()
        self._is_told = False  # that this worker counts alone
        connection.when_back.append(self._back.set)

    def decide(self, payers: Payers, charges: Sequence[Charge]) -> list[Usage]:
        """Decide all policies of a request together, in one round trip.

        Without Redis this worker decides, by its share of each quota.
        """
        if not self.is_alone:
            try:
                if self._connection.is_cluster and payers.client != payers.address:
                    answer = self._decide_apart(payers, charges)
                else:
                    answer = self._ask(calls.decide(payers, charges))
                return self.heard(payers, charges, answer)
            except RedisUnavailable as error:
                self.begin_alone(error)
        return self.decide_alone(payers, charges)

    def decide_alone(self, payers: Payers, charges: Sequence[Charge]) -> list[Usage]:
        """Decide by this worker's share of each quota, without asking Redis."""
        return self._alone.decide(payers, charges)

    def hold(self, client: str, charges: Sequence[Charge]) -> Held:
        """Decide a request of a client at the expense of its own record alone, to be repaid."""
        payers = Payers(client, client)
        if not self.is_alone:
            try:
                call = calls.decide(payers, charges, scripts.HOLD)
                answer, (moment, *joined) = self._ask(call)
                usages = self.heard(payers, charges, answer)
                passes = all(usage.passes for usage in usages)
                receipt = Receipt(client, charges, moment, joined, alone=False) if passes else None
                return Held(charges, usages, receipt)
            except RedisUnavailable as error:
                self.begin_alone(error)
        return self._alone.hold(payers, charges)

    def repay(self, receipt: Receipt) -> None:
        """Undo a charge. One that Redis cannot be told of, or has forgotten, stays."""
        if receipt.alone:
            self._alone.repay(receipt)
            return
        with suppress(RedisUnavailable):
            self._ask(calls.repay(receipt))

    def look(self, client: str, policy: str, quota: int, period: int) -> Usage:
        """Tell what a client has left of a policy; nothing is charged. Raises RedisUnavailable."""
        payers, charges = Payers(client, client), [Charge(policy, quota, period, 0, CLIENT)]
        if self.is_alone:
            return self.decide_alone(payers, charges)[0]
        return told(charges, self._ask(calls.decide(payers, charges)))[0]

    def clear(self, client: str, policy: str) -> None:
        """Forget what a client has used of a policy. Raises RedisUnavailable."""
        self._alone.forget(client, policy)
        self._connection.eval(scripts.CLEAR, [record.key(client)], [policy])

    def reset(self) -> int:
        """Forget all records, and return how many these were. Raises RedisUnavailable."""
        self._alone.forget_all()
        pattern = f"{self._connection.prefix}{record.PREFIX}*"
        found = self._connection.call(
            lambda client: set(client.scan_iter(match=pattern, count=SCANNED))
        )
        for name in found:
            self._connection.call(partial(_unlink, name), key=name)
        return len(found)

    def is_shared(self) -> bool:
        """Tell whether Redis counts now, for all workers together."""
        if self.is_alone or not self._connection.available:
            return False
        try:
            self._connection.ping()
        except RedisUnavailable:
            return False
        return True

    def heard(
        self, payers: Payers, charges: Sequence[Charge], answer: Sequence[int]
    ) -> list[Usage]:
        """Return what Redis has answered, and remember it for when it is away."""
        usages = told(charges, answer)
        self._alone.saw(payers, charges, usages)
        return usages

    def _ask(self, call: calls.Call) -> Any:
        return self._connection.eval(call.script, call.keys, call.arguments)

    def _decide_apart(self, payers: Payers, charges: Sequence[Charge]) -> list[int]:
        """Decide on two records that may be on two servers. Raises RedisUnavailable."""
        deciding = calls.decide_apart(payers, charges)
        call = next(deciding)
        while True:
            try:
                answer = self._ask(call)
            except RedisUnavailable as error:
                call = deciding.throw(error)
                continue
            try:
                call = deciding.send(answer)
            except StopIteration as decided:
                answers: list[int] = decided.value
                return answers

    def begin_alone(self, error: RedisUnavailable) -> None:
        with self._lock:
            if self.is_alone:
                return
            self.is_alone = True
        metrics.FALLBACK.set(1)
        self._is_told = once_a_minute("alone")
        if self._is_told:
            logger.warning("This worker counts alone: %s", error.__cause__ or "Redis is away")
        self._back.clear()
        threading.Thread(target=self._end_alone, name="limits-return", daemon=True).start()

    def _end_alone(self) -> None:
        is_heard = False
        while not is_heard:
            self._back.wait(PROBE_SECONDS)  # the request of now owes something by then
            self._back.clear()
            is_heard = self._connection.available and self._pay()
        time.sleep(PROBE_SECONDS)  # in which the other workers find Redis, and pay
        self.is_alone = False
        metrics.FALLBACK.set(0)
        if self._is_told:
            logger.warning("Redis counts again")
        self._pay()
        time.sleep(PROBE_SECONDS)  # in which the last requests that began alone have ended
        self._pay()

    def _pay(self) -> bool:
        """Tell Redis what this worker has allowed alone; tell whether it has heard all of it.

        Whose last request is the latest comes first.
        """
        try:
            for client in self._alone.debtors():
                while payment := self._alone.payment(client):
                    arguments = [
                        value
                        for debt in payment.debts.values()
                        for moment, cost in debt.window.entries
                        for value in (*debt.charge[:3], age(moment), cost)
                    ]
                    key = record.key(client)
                    self._connection.eval(scripts.PAY, [key], [payment.identifier, *arguments])
                    self._alone.paid(client, payment)
        except RedisUnavailable as error:
            if error.__cause__ and once_a_minute("owed"):
                logger.warning("Redis was not told what %s has used: %s", client, error.__cause__)
            return False
        return True


def _unlink(name: bytes, client: Any) -> None:
    client.unlink(name)
