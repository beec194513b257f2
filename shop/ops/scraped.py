"""Metrics that are read when they are asked for: of the servers, the workers and the build."""

from __future__ import annotations

import platform
from contextlib import suppress
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from shop import worker_states
from shop.config import current_settings
from shop.console import worker_tasks
from shop.console.health import health_monitor
from shop.orders import leaderboard
from shop.redis import RedisUnavailable, redis_connection
from shop.redis.server_info import server_infos
from shop.version import VERSION
from shop.worker_states import WorkerState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

TRENDING_MAX = 10
UNKNOWN_REVISION = "unknown"


class ServiceCollector(Collector):
    """Needs an application context."""

    def collect(self) -> Iterator[Metric]:
        yield _build()
        yield _workers()
        yield from _servers_up()
        yield from _redis_servers()
        yield from _tasks()
        yield from _trending()


def _build() -> Metric:
    found = GaugeMetricFamily(
        "shop_build_info",
        "1, with the version of the service.",
        labels=["version", "revision", "python"],
    )
    revision = current_settings().revision or UNKNOWN_REVISION
    found.add_metric([VERSION, revision, platform.python_version()], 1)
    return found


def _workers() -> Metric:
    found = GaugeMetricFamily("shop_workers", "Workers of this gunicorn.", labels=["state"])
    for state in (WorkerState.STARTING, WorkerState.SERVING, WorkerState.LEAVING):
        found.add_metric([state.name.lower()], worker_states.count(state))
    return found


def _servers_up() -> Iterator[Metric]:
    health = health_monitor().health()
    yield GaugeMetricFamily(
        "shop_database_up", "1 while PostgreSQL answers, else 0.", value=health.can_serve
    )
    if health.redis != "disabled":
        yield GaugeMetricFamily(
            "shop_redis_up",
            "1 while Redis answers and is this installation's, else 0.",
            value=health.redis == "ok",
        )


def _redis_servers() -> Iterator[Metric]:
    """Yield the numbers of each server; none while Redis does not answer."""
    try:
        servers = redis_connection().call(server_infos)
    except RedisUnavailable:
        return
    memory = GaugeMetricFamily(
        "shop_redis_memory_bytes", "Memory that a Redis server uses.", labels=["server"]
    )
    bound = GaugeMetricFamily(
        "shop_redis_memory_max_bytes", "Its bound (maxmemory), if it has one.", labels=["server"]
    )
    evicted = CounterMetricFamily(
        "shop_redis_evicted_keys", "Keys dropped for want of memory.", labels=["server"]
    )
    for one in servers:
        memory.add_metric([one.server], one.memory_bytes)
        evicted.add_metric([one.server], one.evicted_keys)
        if one.memory_max_bytes:
            bound.add_metric([one.server], one.memory_max_bytes)
    yield from (memory, bound, evicted)


def _tasks() -> Iterator[Metric]:
    """Yield the runs of the tasks of `flask worker`; none without the database."""
    if not health_monitor().health().can_serve:
        return
    runs = CounterMetricFamily(
        "shop_task_runs", "Runs of a task of flask worker.", labels=["task", "result"]
    )
    succeeded = GaugeMetricFamily(
        "shop_task_last_success_timestamp_seconds",
        "UNIX time of its last success.",
        labels=["task"],
    )
    took = GaugeMetricFamily(
        "shop_task_last_seconds", "Time that this success took.", labels=["task"]
    )
    with suppress(SQLAlchemyError):
        for one in worker_tasks.read():
            runs.add_metric([one.task, "done"], one.done)
            runs.add_metric([one.task, "failed"], one.failed)
            if one.last_success:
                succeeded.add_metric([one.task], one.last_success.timestamp())
                took.add_metric([one.task], one.last_seconds)
    yield from (runs, succeeded, took)


def _trending() -> Iterator[Metric]:
    """Yield the products that sell best now; none without Redis, which has the leaderboard."""
    found = GaugeMetricFamily(
        "shop_trending_score",
        "Units sold, each of which halves in a day, of the products that sell best.",
        labels=["product_id"],
    )
    with suppress(RedisUnavailable):  # a scrape waits for no board to be built
        for product_id, score in leaderboard.peek(TRENDING_MAX):
            found.add_metric([str(product_id)], score)
    yield found
