"""The counter of requests: Redis for all workers and hosts together, or the fallback of one worker.

A worker is in fallback from the first request that Redis did not count. When Redis is back, the
worker pays it what it has allowed meanwhile, and stays in fallback until the other workers have
paid, too. Then Redis counts again.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from shop.log_throttle import once_a_minute
from shop.quotas import CLIENT, Charge, HeldCharge, Payers, Receipt
from shop.redis import PROBE_SECONDS, RedisUnavailable

from . import calls, metrics, records, scripts
from .decision import parse_usages
from .fallback import Fallback, age

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shop.quotas import Usage
    from shop.redis import RedisConnection

logger = logging.getLogger("shop.limits")

SCANNED = 500  # keys, by one call


class Counter:
    def __init__(self, connection: RedisConnection, workers: int) -> None:
        self._connection = connection
        self._fallback = Fallback(workers, owing=connection.enabled)
        self._lock = threading.Lock()
        self.in_fallback = not connection.enabled
        self._back = threading.Event()
        self._is_logged = False  # whether the log tells of the fallback of now
        connection.when_back.append(self._back.set)

    def decide(self, payers: Payers, charges: Sequence[Charge]) -> list[Usage]:
        """Decide all policies of a request together, in one round trip.

        Without Redis this worker decides, by its share of each quota.
        """
        if not self.in_fallback:
            try:
                if self._connection.is_cluster and payers.client != payers.address:
                    answer = self._decide_apart(payers, charges)
                else:
                    answer = self._ask(calls.decide(payers, charges))
                return self.parse_answer(payers, charges, answer)
            except RedisUnavailable as error:
                self.begin_fallback(error)
        return self.decide_in_fallback(payers, charges)

    def decide_in_fallback(self, payers: Payers, charges: Sequence[Charge]) -> list[Usage]:
        """Decide by this worker's share of each quota, without asking Redis."""
        return self._fallback.decide(payers, charges)

    def hold(self, client: str, charges: Sequence[Charge]) -> HeldCharge:
        """Decide a request, and charge the client's own record; the charge can be repaid."""
        payers = Payers(client, client)
        if not self.in_fallback:
            try:
                call = calls.decide(payers, charges, scripts.HOLD)
                answer, (moment, *joined) = self._ask(call)
                usages = self.parse_answer(payers, charges, answer)
                passes = all(usage.passes for usage in usages)
                receipt = (
                    Receipt(client, charges, moment, joined, in_fallback=False) if passes else None
                )
                return HeldCharge(charges, usages, receipt)
            except RedisUnavailable as error:
                self.begin_fallback(error)
        return self._fallback.hold(payers, charges)

    def repay(self, receipt: Receipt) -> None:
        """Undo a charge. Without Redis, the charge stays."""
        if receipt.in_fallback:
            self._fallback.repay(receipt)
            return
        with suppress(RedisUnavailable):
            self._ask(calls.repay(receipt))

    def usage_of(self, client: str, policy: str, quota: int, period: int) -> Usage:
        """Return a client's usage of a policy, and charge nothing. Raises RedisUnavailable."""
        payers, charges = Payers(client, client), [Charge(policy, quota, period, 0, CLIENT)]
        if self.in_fallback:
            return self.decide_in_fallback(payers, charges)[0]
        return parse_usages(charges, self._ask(calls.decide(payers, charges)))[0]

    def clear(self, client: str, policy: str) -> None:
        """Forget what a client has used of a policy. Raises RedisUnavailable."""
        self._fallback.forget(client, policy)
        self._connection.eval(scripts.CLEAR, [records.key(client)], [policy])

    def reset(self) -> int:
        """Delete all records, and return their number. Raises RedisUnavailable."""
        self._fallback.forget_all()
        pattern = f"{self._connection.prefix}{records.PREFIX}*"
        found = self._connection.call(
            lambda client: set(client.scan_iter(match=pattern, count=SCANNED))
        )
        for name in found:
            self._connection.call(partial(_unlink, name), key=name)
        return len(found)

    def is_shared(self) -> bool:
        """Return whether Redis counts now, for all workers together."""
        if self.in_fallback or not self._connection.available:
            return False
        try:
            self._connection.ping()
        except RedisUnavailable:
            return False
        return True

    def parse_answer(
        self, payers: Payers, charges: Sequence[Charge], answer: Sequence[int]
    ) -> list[Usage]:
        """Return the usages in an answer of Redis. The fallback remembers them."""
        usages = parse_usages(charges, answer)
        self._fallback.remember(payers, charges, usages)
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

    def begin_fallback(self, error: RedisUnavailable) -> None:
        with self._lock:
            if self.in_fallback:
                return
            self.in_fallback = True
        metrics.FALLBACK.set(1)
        self._is_logged = once_a_minute("fallback")
        if self._is_logged:
            logger.warning("This worker counts alone: %s", error.__cause__ or "Redis is away")
        self._back.clear()
        threading.Thread(target=self._end_fallback, name="limits-return", daemon=True).start()

    def _end_fallback(self) -> None:
        is_paid = False
        while not is_paid:
            self._back.wait(PROBE_SECONDS)  # meanwhile the request of now is charged, and owed
            self._back.clear()
            is_paid = self._connection.available and self._pay()
        time.sleep(PROBE_SECONDS)  # in which the other workers find Redis, and pay
        self.in_fallback = False
        metrics.FALLBACK.set(0)
        if self._is_logged:
            logger.warning("Redis counts again")
        self._pay()
        time.sleep(PROBE_SECONDS)  # until the last requests that began in fallback have ended
        self._pay()

    def _pay(self) -> bool:
        """Pay Redis what this worker has allowed in fallback; return whether all of it is paid.

        The client with the latest request comes first.
        """
        try:
            for client in self._fallback.debtors():
                while payment := self._fallback.payment(client):
                    arguments = [
                        value
                        for debt in payment.debts.values()
                        for moment, cost in debt.window.entries
                        for value in (*debt.charge[:3], age(moment), cost)
                    ]
                    key = records.key(client)
                    self._connection.eval(scripts.PAY, [key], [payment.identifier, *arguments])
                    self._fallback.paid(client, payment)
        except RedisUnavailable as error:
            if error.__cause__ and once_a_minute("owed"):
                logger.warning("Redis was not told what %s has used: %s", client, error.__cause__)
            return False
        return True


def _unlink(name: bytes, client: Any) -> None:
    client.unlink(name)
