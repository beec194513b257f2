"""Response times of one worker, by a simulation of discrete events.

A worker computes on one core at a time, first come, first served. A request computes, waits for
Redis or PostgreSQL, computes again, and so on: while it waits, others compute. A miss and a write
take one of the worker's threads from their first wait to their end, and a write one of those that
may write. CPU times are drawn from those that were measured, scaled to the mean under load.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

THREADS, WRITERS = 4, 3  # of a worker, `THREADS` in shop/config.py and those that may write


class Kind(NamedTuple):
    """A kind of request."""

    share: float  # of all requests
    cpu: float  # seconds of the worker, on average
    waits: tuple[float, ...]  # seconds for Redis and PostgreSQL, between two parts of the CPU time
    shape: Sequence[float] = (1.0,)  # CPU times as measured, whatever their scale
    is_threaded: bool = False
    is_write: bool = False


class Times(NamedTuple):
    """Response times in seconds, and the share of the time in which the core was busy."""

    p50: float
    p95: float
    p99: float
    busy: float


def mean_cpu(kinds: Sequence[Kind]) -> float:
    """Return the CPU time of a request, on average."""
    return sum(one.share * one.cpu for one in kinds) / sum(one.share for one in kinds)


class Worker:
    """One worker, and the requests that it has begun."""

    def __init__(self, kinds: Sequence[Kind], rate: float, requests: int, seed: int) -> None:
        self._chance = random.Random(seed)  # noqa: S311  (to be repeated)
        self._kinds, self._rate = kinds, rate
        self._means = [sum(one.shape) / len(one.shape) for one in kinds]
        self._shares = [one.share for one in kinds]
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._number = count()
        self._ready: deque[tuple[float, Callable[[float], None]]] = deque()  # CPU time, what then
        self._is_busy, self._busy = False, 0.0
        self._threads, self._writers = THREADS, WRITERS
        self._queued: deque[tuple[Kind, Callable[[float], None]]] = deque()  # for a thread
        self._left, self._times = requests, [0.0] * 0

    def run(self) -> Times:
        """Answer all requests; the first tenth is not counted."""
        requests = self._left
        self._at(self._chance.expovariate(self._rate), self._arrive)
        now = 0.0
        while self._events:
            now, _, what = heapq.heappop(self._events)
            what(now)
        times = sorted(self._times[requests // 10 :])
        p50, p95, p99 = (times[int(part * len(times))] for part in (0.5, 0.95, 0.99))
        return Times(p50, p95, p99, self._busy / now)

    def _at(self, when: float, what: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (when, next(self._number), what))

    def _arrive(self, now: float) -> None:
        self._left -= 1
        if self._left:
            self._at(now + self._chance.expovariate(self._rate), self._arrive)
        [place] = self._chance.choices(range(len(self._kinds)), self._shares)
        kind = self._kinds[place]
        total = kind.cpu * self._chance.choice(kind.shape) / self._means[place]
        self._step(kind, total / (len(kind.waits) + 1), 0, now, now)

    def _step(self, kind: Kind, part: float, number: int, began: float, now: float) -> None:
        """Compute the part of this number, then wait, then go on with the next one."""

        def computed(now: float) -> None:
            if number == len(kind.waits):
                self._end(kind, began, now)
                return

            def wait(now: float) -> None:
                self._at(
                    now + self._chance.expovariate(1 / kind.waits[number]),
                    lambda now: self._step(kind, part, number + 1, began, now),
                )

            if kind.is_threaded and number == 0:
                self._queued.append((kind, wait))
                self._hand_over(now)
            else:
                wait(now)

        self._ready.append((part, computed))
        self._compute(now)

    def _compute(self, now: float) -> None:
        if self._is_busy or not self._ready:
            return
        self._is_busy = True
        part, then = self._ready.popleft()
        self._busy += part

        def done(now: float) -> None:
            self._is_busy = False
            then(now)
            self._compute(now)

        self._at(now + part, done)

    def _hand_over(self, now: float) -> None:
        """Give threads to those who wait for one, a writer only if another may write."""
        for _ in range(len(self._queued)):
            kind, then = self._queued.popleft()
            if self._threads and (self._writers or not kind.is_write):
                self._threads -= 1
                self._writers -= kind.is_write
                then(now)
            else:
                self._queued.append((kind, then))

    def _end(self, kind: Kind, began: float, now: float) -> None:
        self._times.append(now - began)
        if kind.is_threaded:
            self._threads += 1
            self._writers += kind.is_write
            self._hand_over(now)


def simulate(kinds: Sequence[Kind], utilisation: float, requests: int, seed: int = 1) -> Times:
    """Return the response times of a worker whose core is busy for this share of the time."""
    return Worker(kinds, utilisation / mean_cpu(kinds), requests, seed).run()
