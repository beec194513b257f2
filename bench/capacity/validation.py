"""The simulations beside a real Redis and a real worker."""

from __future__ import annotations

import asyncio
import os
import random
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import redis

from bench.contenders import WRITE_KEY
from bench.stage import stage
from bench.wrk import Request

from .ground import PROC, REDIS, WORKER, ground
from .hits import JITTER, Cache, expected, simulated
from .popularity import Zipf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .ground import Ground

# Of the hit rate. Redis has 100,000 products, and room for a part of them.
THINGS, VALUE = 100_000, 700  # bytes
TTL, SECONDS, WARM = 8.0, 30.0, 12.0
RATE, BATCH = 5000, 50  # requests a second, requests of one round trip
MEMORIES = (0, 6, 2)  # MiB for entries; 0 is without end

# Of response times.
RATES = (250, 500, 1000, 2000, 3000)  # requests a second
LOADED, SETTLE = 12.0, 3.0  # seconds
CONNECTIONS = 64
MISSES, WRITES = 0.05, 0.02  # of all requests


def hit_rates() -> list[dict[str, Any]]:
    """Return the hit rate of a real Redis, of the simulation and of the formula, by its memory."""
    with stage() as this, this.databases(os.sched_getaffinity(0)):
        store: Any = redis.from_url(this.redis_url)
        found = [_hit_rate(store, memory) for memory in MEMORIES]
        store.close()
    return found


def _hit_rate(store: Any, memory: int) -> dict[str, Any]:
    store.flushall()
    base = store.info("memory")["used_memory"]
    store.config_set("maxmemory", base + (memory << 20) if memory else 0)
    trace: list[tuple[float, int, float, bool]] = []
    hits = asked = entries = samples = 0
    for now, batch in _batches():
        answers = store.mget([f"products:id:{thing}" for _, thing, _, _ in batch])
        seen: set[int] = set()
        with store.pipeline(transaction=False) as pipeline:
            for (_, thing, ttl, _), answer in zip(batch, answers, strict=True):
                hit = answer is not None or thing in seen
                if not hit:
                    pipeline.set(f"products:id:{thing}", "x" * VALUE, px=int(1000 * ttl))
                    seen.add(thing)
                if now >= WARM:
                    hits, asked = hits + hit, asked + 1
            pipeline.execute()
        trace += batch
        if now >= WARM and len(trace) % 5000 < BATCH:
            entries, samples = entries + store.dbsize(), samples + 1
    rate = len(trace) / SECONDS
    capacity = entries / samples if memory else float("inf")
    # Redis counts entries that have expired until it finds them.
    by_play = simulated(Cache(capacity), trace, WARM)
    by_formula = expected(Zipf(THINGS), rate, TTL, capacity=capacity)
    return {
        "memory": memory,
        "rate": round(rate),
        "entries": round(entries / samples),
        "redis": round(hits / asked, 4),
        "simulation": round(by_play, 4),
        "formula": round(by_formula.hit_rate, 4),
    }


def _batches() -> Iterator[tuple[float, list[tuple[float, int, float, bool]]]]:
    """Yield requests as they come, and the seconds since the first."""
    chance, popularity = random.Random(1), Zipf(THINGS)  # noqa: S311  (to be repeated)
    began, number = time.monotonic(), 0
    while (now := time.monotonic() - began) < SECONDS:
        ahead = number * BATCH / RATE - now
        if ahead > 0:
            time.sleep(ahead)
            now = time.monotonic() - began
        yield (
            now,
            [
                (now, popularity.draw(chance), TTL * (1 - JITTER * chance.random()), False)
                for _ in range(BATCH)
            ],
        )
        number += 1


def response_times() -> list[dict[str, Any]]:
    """Return the response times of a real worker, and how busy it was, by requests a second."""
    with ground(200_000) as this:
        this.ask([Request("GET", f"/products/{n}") for n in range(1, 251)] * 2)
        ids = iter(range(1000, 200_000))
        with ahead_of_others(
            [os.getpid(), *(one for of in this.processes().values() for one in of)]
        ):
            return [_response_times(this, rate, ids) for rate in RATES]


def _response_times(this: Ground, rate: int, ids: Iterator[int]) -> dict[str, Any]:
    load = Load(this.served.port, rate, ids)
    asyncio.run(load.run(this))
    times = sorted(load.times)
    p50, p95, p99 = (round(1000 * times[int(part * len(times))], 2) for part in (0.5, 0.95, 0.99))
    return {
        "rate": round(len(times) / load.seconds),
        "busy": round(load.busy, 3),
        "cpu": round(1e6 * load.busy * load.seconds / len(times)),
        "redis": round(1e6 * load.redis / len(times)),
        "waited": round(load.waited, 3),
        "p50": p50,
        "p95": p95,
        "p99": p99,
        "late": round(1000 * sorted(load.late)[int(0.99 * len(load.late))], 2),
    }


@contextmanager
def ahead_of_others(processes: list[int]) -> Iterator[None]:
    """Let these processes have a core whenever they want one, where this account may say so."""
    with suppress(PermissionError):
        _schedule(processes, os.SCHED_RR, 1)
    try:
        yield
    finally:
        with suppress(PermissionError):
            _schedule(processes, os.SCHED_OTHER, 0)


def _schedule(processes: list[int], policy: int, priority: int) -> None:
    for process in processes:
        for thread in (PROC / str(process) / "task").glob("[0-9]*"):
            with suppress(ProcessLookupError):
                os.sched_setscheduler(int(thread.name), policy, os.sched_param(priority))


class Load:
    """Requests at random moments, whatever the answers: hits, 5 % misses, 2 % writes."""

    def __init__(self, port: int, rate: int, ids: Iterator[int]) -> None:
        self._port, self._rate, self._ids = port, rate, ids
        self._chance = random.Random(rate)  # noqa: S311  (to be repeated)
        self.times: list[float] = []
        self.late: list[float] = []  # seconds from when a request was due until it was sent
        self.busy = self.seconds = self.waited = self.redis = 0.0
        self._counts = False

    async def run(self, this: Ground) -> None:
        free: asyncio.Queue[tuple[Any, Any]] = asyncio.Queue()
        for _ in range(CONNECTIONS):
            free.put_nowait(await asyncio.open_connection("127.0.0.1", self._port))
        began = due = time.monotonic()
        asks: set[asyncio.Task[None]] = set()
        cpu = wait = mark = stored = 0.0
        workers = this.processes()[WORKER]
        while due < began + SETTLE + LOADED:
            due += self._chance.expovariate(self._rate)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if not self._counts and due > began + SETTLE:
                self._counts, mark = True, time.monotonic()
                cpu, wait = _times_of(workers)
                stored = this.cpu()[REDIS]
            task = asyncio.create_task(self._ask(free, due))
            asks.add(task)
            task.add_done_callback(asks.discard)
        used, waited = _times_of(workers)
        self.redis = (this.cpu()[REDIS] - stored) * 1e-6
        self.seconds = time.monotonic() - mark
        self.busy, self.waited = (used - cpu) / self.seconds, (waited - wait) / self.seconds
        await asyncio.gather(*asks)
        while not free.empty():
            free.get_nowait()[1].close()

    async def _ask(self, free: asyncio.Queue[tuple[Any, Any]], due: float) -> None:
        reader, writer = connection = await free.get()
        sent = time.monotonic()
        writer.write(self._request().raw("127.0.0.1"))
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        await reader.readexactly(length)
        if self._counts:
            self.times.append(time.monotonic() - sent)
            self.late.append(sent - due)
        free.put_nowait(connection)

    def _request(self) -> Request:
        drawn = self._chance.random()
        if drawn < WRITES:
            body = f'{{"stock":{self._chance.randrange(100, 1000)}}}'
            key = {"Authorization": f"Bearer {WRITE_KEY}"}
            return Request("PATCH", f"/products/{self._chance.randrange(500, 900)}", key, body)
        if drawn < WRITES + MISSES:
            return Request("GET", f"/products/{next(self._ids)}")
        return Request("GET", f"/products/{self._chance.randrange(1, 251)}")


def _times_of(processes: list[int]) -> tuple[float, float]:
    """Return the seconds that their threads have computed, and waited for a core."""
    used = waited = 0
    for process in processes:
        for path in (PROC / str(process) / "task").glob("[0-9]*/schedstat"):
            with suppress(OSError):
                one, other, _ = path.read_text().split()
                used, waited = used + int(one), waited + int(other)
    return used / 1e9, waited / 1e9
