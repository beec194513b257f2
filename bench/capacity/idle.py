"""The cost of workers that nobody asks: memory, connections, and looks at the outbox."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from statistics import fmean
from typing import TYPE_CHECKING, Any

import psycopg2

from bench.wrk import Request
from shop.cache.installation import LIFE_SQL

from .ground import POSTGRES, REDIS, WORKER, cpu_microseconds, ground, proportional_bytes, rest

if TYPE_CHECKING:
    from .ground import Ground

WORKERS = (1, 4, 12)
SECONDS = 15
SCRAPE_KEY = "the-token-of-the-bench-for-metrics"
WARM, SCRAPES = 20, 10
LOOKS = 10_000
SESSIONS = (1, 10, 50)  # connections that look at the same time
# A look of a worker, and what its driver sends after it (`shop/cache/statements.py`).
LOOK = (
    f"SELECT (SELECT identity FROM installation), {LIFE_SQL},"  # noqa: S608  (a constant)
    " (SELECT EXISTS (SELECT id FROM cache_outbox))"
)
AFTERWARDS = "SET default_transaction_isolation TO DEFAULT"


def measure() -> dict[str, Any]:
    """Return what workers use at rest, by their number, and what a look costs PostgreSQL."""
    found: list[dict[str, Any]] = []
    looks: list[dict[str, Any]] = []
    for workers in WORKERS:
        with ground(1000, workers=workers, METRICS_TOKEN=SCRAPE_KEY) as this:
            found.append(_at_rest(this, workers))
            looks = looks or _looks(this)
    return {"at rest": found, "looks": looks}


def _at_rest(this: Ground, workers: int) -> dict[str, Any]:
    used = rest(SECONDS, this)
    processes = this.processes()
    with closing(psycopg2.connect(this.stage.database_url)) as connection:
        cursor: Any = connection.cursor()
        cursor.execute(
            "SELECT array_agg(pid) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        backends = cursor.fetchone()[0]
    store: Any = this.served.store
    return {
        "workers": workers,
        "worker": round(used[WORKER] / workers),
        "redis": round(used[REDIS] / workers),
        "postgresql": round(used[POSTGRES] / workers),
        "bytes": round(sum(map(proportional_bytes, processes[WORKER])) / workers),
        "backend bytes": round(sum(map(proportional_bytes, backends)) / len(backends)),
        "database connections": len(backends) / workers,
        "scrape": _scrape(this),
        "redis connections": (len(store.client_list()) - 1) / workers,
    }


def _scrape(this: Ground) -> int:
    """Return the microseconds of a worker for an answer of `/metrics`, once all have counted."""
    requests = [Request("GET", f"/products/{1 + n}") for n in range(WARM * WORKERS[-1])]
    for request in requests:
        this.served.ask([request])  # each over a connection of its own, which any worker takes
    ask = Request("GET", "/metrics", {"Authorization": f"Bearer {SCRAPE_KEY}"})
    return round(fmean(one.worker for one in this.ask([ask] * SCRAPES)))


def _looks(this: Ground) -> list[dict[str, Any]]:
    """Return the CPU time of PostgreSQL for a look, by the number of connections that look."""
    return [_look(this.stage.database_url, sessions) for sessions in SESSIONS]


def _look(url: str, sessions: int) -> dict[str, Any]:
    connections = [psycopg2.connect(url) for _ in range(sessions)]
    for one in connections:
        one.autocommit = True
    backends = [one.info.backend_pid for one in connections]

    def look(connection: Any) -> None:
        with connection.cursor() as cursor:
            for _ in range(LOOKS // sessions):
                cursor.execute(LOOK)
                cursor.fetchall()
                cursor.execute(AFTERWARDS)

    before, began = cpu_microseconds(backends), time.monotonic()
    threads = [threading.Thread(target=look, args=[one]) for one in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    used, took = cpu_microseconds(backends) - before, time.monotonic() - began
    for one in connections:
        one.close()
    return {
        "connections": sessions,
        "postgresql": round(used / LOOKS, 1),
        "rate": round(LOOKS / took),
    }
