"""Samples of the servers: connections of PostgreSQL, the cache's counts, CPU time."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg2
import requests

from bench import BenchError
from bench.machine import busy_seconds, cpu_seconds_by_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from dev.embedded.servers import Server, SupervisedProcess

    from .service import Service

ACTIVITY = """
    SELECT count(*), count(*) FILTER (WHERE state = 'active')
      FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
WORK = """
    SELECT xact_commit + xact_rollback, tup_fetched
      FROM pg_stat_database WHERE datname = current_database()
"""
READS = re.compile(
    r'^shop_cache_reads_total\{function="([\w.]+)",result="(\w+)"\} (\S+)$', re.MULTILINE
)


@dataclass(frozen=True)
class Sample:
    """Counts, and CPU seconds, are those since the start of the servers."""

    time: float  # seconds since the epoch
    connections: int
    active: int  # of them, those with a statement under way
    transactions: int
    rows: int  # fetched
    hits: float  # documents
    reads: float
    cpu: dict[str, float]  # seconds, by part
    busy: float  # seconds of all cores, whoever used them


@contextmanager
def sampler(
    service: Service, parts: Mapping[str, SupervisedProcess | Server]
) -> Iterator[Callable[[], Sample]]:
    """Yield a function that takes a sample; `parts` are those whose CPU time it has."""
    connection = psycopg2.connect(service.database_url)
    connection.autocommit = True

    def sample() -> Sample:
        with connection.cursor() as cursor:
            cursor.execute(ACTIVITY)
            connections, active = cursor.fetchone() or (0, 0)
            cursor.execute(WORK)
            transactions, rows = cursor.fetchone() or (0, 0)
        reads = documents_read(service.url)
        cpu = cpu_seconds_by_name({part: child.pid or 0 for part, child in parts.items()})
        return Sample(
            time=time.time(),
            connections=connections,
            active=active,
            transactions=transactions,
            rows=rows,
            hits=reads.get("hit", 0),
            reads=sum(reads.values()),
            cpu=cpu,
            busy=busy_seconds(),
        )

    try:
        yield sample
    finally:
        connection.close()


def documents_read(url: str) -> dict[str, float]:
    """Return how many documents were asked of the cache, by result.

    Raises BenchError if the service does not answer.
    """
    found: dict[str, float] = defaultdict(float)
    for results in documents_by_function(url).values():
        for result, count in results.items():
            found[result] += count
    return found


def documents_by_function(url: str) -> dict[str, dict[str, float]]:
    """Return the same by the function that reads them, and by result."""
    try:
        text = requests.get(f"{url}/metrics", timeout=10).text
    except requests.RequestException:
        raise BenchError("the service does not answer any more") from None
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for function, result, count in READS.findall(text):
        found[function][result] = float(count)
    return found
