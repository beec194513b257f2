"""Who counts: Redis for all workers and hosts together, else this worker for itself.

A worker counts alone from the first request that Redis did not count. When Redis is back, the
worker tells it what it has allowed meanwhile, and goes on alone until the other workers have done
the same. Then Redis counts again.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from shop.redis import PROBE_SECONDS, RedisUnavailable

from . import record, scripts
from .alone import Alone, age
from .decision import told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shop.redis import RedisConnection

    from .decision import Charge, Usage

logger = logging.getLogger("shop.limits")


class Counter:
    def __init__(self, connection: RedisConnection, workers: int) -> None:
        self._connection = connection
        self._alone = Alone(workers, owing=connection.enabled)
        self._lock = threading.Lock()
        self.is_alone = not connection.enabled
        self._back = threading.Event()
        self._refusal = ""  # that was logged last
        connection.when_back.append(self._back.set)

    def decide(self, client: str, charges: Sequence[Charge]) -> list[Usage]:
        """Decide all policies of a request together, in one round trip.

        Without Redis this worker decides, by its share of each quota.
        """
        if not self.is_alone:
            arguments = [value for charge in charges for value in charge]
            try:
                answer = self._connection.eval(scripts.DECIDE, [record.key(client)], arguments)
            except RedisUnavailable as error:
                self.begin_alone(error)
            else:
                return self.heard(client, charges, answer)
        return self._alone.decide(client, charges)

    def heard(self, client: str, charges: Sequence[Charge], answer: Sequence[int]) -> list[Usage]:
        """Return what Redis has answered, and remember it for when it is away."""
        usages = told(charges, answer)
        self._alone.saw(client, usages)
        return usages

    def begin_alone(self, error: RedisUnavailable) -> None:
        with self._lock:
            if self.is_alone:
                return
            self.is_alone = True
        logger.warning("This worker counts alone: %s", error.__cause__ or "Redis is away")
        self._back.clear()
        threading.Thread(target=self._end_alone, name="limits-return", daemon=True).start()

    def _end_alone(self) -> None:
        while not (self._connection.available and self._pay()):
            self._back.wait(PROBE_SECONDS)
            self._back.clear()
        time.sleep(PROBE_SECONDS)  # in which the other workers find Redis, and pay
        self.is_alone = False
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
            if error.__cause__ and str(error.__cause__) != self._refusal:
                self._refusal = str(error.__cause__)
                logger.warning("Redis was not told what %s has used: %s", client, self._refusal)
            return False
        return True
