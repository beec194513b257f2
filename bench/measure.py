"""The rounds: each rung, asked of each contender in turn for a moment, several times over."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import checks, machine, rungs, wrk
from .contenders import MISS, REFUSED, WRITE, in_words, taking_part
from .figures import rate
from .stage import Served, Stage, stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import redis

    from .wrk import Request

FLUSH_SECONDS = 0.2
MISSES = 10_000  # requests for each second of a window: more than any contender answers
FIRST_MISS = 1 + max(rungs.WRITTEN)
SMALL = 10_000  # products; in a smaller catalogue there are too few ids for misses
OVERHEAD, START = 0.6, 35  # seconds besides each window, and each configuration
TICK = 0.01  # seconds, the smallest CPU time that the kernel tells
ROWS = 8_000  # filled in a second

Sample = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    products: Sequence[int]  # sizes of the catalogue
    workers: Sequence[int]
    rungs: Sequence[str]
    rounds: int
    seconds: int
    connections: int
    checkout: Path | None = None  # of another version, which is measured, too

    def minutes(self) -> float:
        """Return how long the run will take, about."""
        windows = sum(
            rung in one.rungs
            for workers in self.workers
            for one in taking_part(workers, self.checkout)
            for rung in self.rungs
        )
        each = windows * self.rounds * (self.seconds + OVERHEAD) + len(self.workers) * START
        filling = sum(self.products) / ROWS
        return (len(self.products) * each + filling) / 60


def run(plan: Plan) -> list[Sample]:
    """Measure every configuration. Raises BenchError if a contender answers wrongly."""
    samples: list[Sample] = []
    every = set(os.sched_getaffinity(0))
    with stage() as this:
        for products in plan.products:
            with this.databases(every):
                this.fill(products)
            for workers in plan.workers:
                print(f"starting the servers of {in_words(products, workers)} ...", flush=True)
                samples += Comparison(plan, products, workers).measure(this)
    return samples


class Comparison:
    """All contenders, with one size of the catalogue and one number of workers."""

    def __init__(self, plan: Plan, products: int, workers: int) -> None:
        self._plan = plan
        self._products = products
        self._workers = workers
        self._next_miss = FIRST_MISS

    def measure(self, this: Stage) -> list[Sample]:
        servers, others = machine.shares(self._workers)
        contenders = taking_part(self._workers, self._plan.checkout)
        used_up = [one.with_used_up_quota() for one in contenders if one.rungs.count(REFUSED)]
        contenders = [*contenders, *(used_up if REFUSED in self._plan.rungs else [])]
        with this.databases(others), this.serve(contenders, self._workers, servers) as served:
            checks.store_answers(served)
            entrants = {rung: checks.entrants(rung, served) for rung in self._plan.rungs}
            requests = {rung: checks.prepare(rung, entrants[rung]) for rung in self._plan.rungs}
            with machine.pinned(others):
                return [
                    sample
                    for number in range(self._plan.rounds)
                    for rung in self._plan.rungs
                    for sample in self._compare(number, rung, entrants[rung], requests[rung])
                ]

    def _compare(
        self, number: int, rung: str, entrants: list[Served], requests: dict[int, list[Request]]
    ) -> list[Sample]:
        """Measure one rung of all, each time beginning with another."""
        turn = number % len(entrants)
        samples = [
            self._window(number, rung, one, requests[one.port])
            for one in entrants[turn:] + entrants[:turn]
        ]
        rates = ", ".join(f"{one['contender']} {rate(one):,.0f}/s" for one in samples)
        print(
            f"{in_words(self._products, self._workers)}, "
            f"round {number + 1} of {self._plan.rounds}, {rung}: {rates}",
            flush=True,
        )
        return samples

    def _window(self, number: int, rung: str, one: Served, requests: list[Request]) -> Sample:
        if rung == MISS:
            requests = self._misses()
        elif rung != WRITE:
            checks.answers(one, rung, requests)  # every address is warm
        few = rung == MISS and self._products < SMALL
        with _flushing(one.store) if few else nullcontext():
            sample = window(one, requests, self._plan.seconds, self._plan.connections)
        checks.check(one, rung, sample)
        place = {"products": self._products, "workers": self._workers, "round": number}
        return place | {"rung": rung} | sample

    def _misses(self) -> list[Request]:
        """Return requests for products that nobody has asked for, or all of a small catalogue."""
        if self._products < SMALL:
            return rungs.misses(1, self._products)
        count = MISSES * self._plan.seconds
        if self._next_miss + count > self._products:
            self._next_miss = FIRST_MISS
        self._next_miss += count
        return rungs.misses(self._next_miss - count, self._next_miss - 1)


def window(one: Served, requests: list[Request], seconds: int, connections: int) -> Sample:
    """Load one server; return what wrk saw, and the CPU times of the server and of Redis."""
    cpu, (redis_cpu, calls) = one.cpu_seconds(), one.redis_work()
    seen = wrk.load(one.port, requests, seconds, connections)
    cpu = one.cpu_seconds() - cpu
    redis_cpu_then, calls_then = one.redis_work()
    os.truncate(one.log, 0)
    return {
        "contender": one.contender.name,
        **seen._asdict(),
        "cpu": max(TICK, round(cpu, 2)),
        "redis_cpu": round(redis_cpu_then - redis_cpu, 4),
        "round_trips": calls_then - calls - 1,
    }


@contextmanager
def _flushing(store: redis.Redis) -> Iterator[None]:
    """Empty a contender's Redis database all the time."""
    over = threading.Event()

    def flush() -> None:
        while not over.wait(FLUSH_SECONDS):
            store.flushdb()

    store.flushdb()
    thread = threading.Thread(target=flush)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
