"""Who counts: Redis for all workers and hosts together, else this worker for itself."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from shop.redis import PROBE_SECONDS, RedisUnavailable

from . import record
from .alone import Alone, age
from .decision import Charge, Usage
from .window import SECOND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shop.redis import RedisConnection

logger = logging.getLogger("shop.limits")


class Counter:
    def __init__(self, connection: RedisConnection, workers: int) -> None:
        self._connection = connection
        self._alone = Alone(workers)
        self._paying = threading.Lock()  # one payment at a time
        self._alone_until = 0.0
        connection.when_back.append(self._settle)

    def decide(self, client: str, charges: Sequence[Charge]) -> list[Usage]:
        """Decide all policies of a request together, in one round trip.

        Without Redis this worker decides, by its share of each quota.
        """
        try:
            if self._alone.knows(client):
                if time.monotonic() < self._alone_until:
                    return self._alone.decide(client, charges)
                if self._connection.available:
                    self._pay(client)
            usages = self._ask(client, charges)
        except RedisUnavailable as error:
            if error.__cause__:
                logger.warning("Redis did not count %s: %s", client, error.__cause__)
            return self._alone.decide(client, charges)
        self._alone.saw(client, usages)
        self._alone.forget(client)
        return usages

    def _ask(self, client: str, charges: Sequence[Charge]) -> list[Usage]:
        arguments = [value for charge in charges for value in charge]
        answer = self._connection.eval(record.DECIDE, [record.key(client)], arguments)
        return [
            Usage(
                policy=charge.policy,
                quota=charge.quota,
                period=charge.period,
                used=used,
                reset=reset / SECOND,
                cost=charge.cost,
                passes=bool(passes),
                wait=wait / SECOND,
            )
            for charge, passes, used, reset, wait in zip(
                charges, answer[::4], answer[1::4], answer[2::4], answer[3::4], strict=True
            )
        ]

    def _settle(self) -> None:
        """Tell Redis, which is back, what this worker has allowed without it.

        Its clients are counted alone until the other workers have found Redis and told it, too.
        """
        self._alone_until = time.monotonic() + PROBE_SECONDS
        for client in self._alone.clients():
            try:
                self._pay(client)
            except RedisUnavailable as error:
                logger.warning("Redis was not told what %s has used: %s", client, error.__cause__)
                if not self._connection.available:
                    return

    def _pay(self, client: str) -> None:
        key = record.key(client)
        with self._paying:
            while payment := self._alone.payment(client):
                arguments = [
                    value
                    for debt in payment.debts.values()
                    for moment, cost in debt.window.entries
                    for value in (*debt.charge[:3], age(moment), cost)
                ]
                self._connection.eval(record.PAY, [key], [payment.identifier, *arguments])
                self._alone.paid(client)
