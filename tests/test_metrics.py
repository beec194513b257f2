"""The metrics of the servers, the workers, the processes and the build."""

from __future__ import annotations

import os
import re
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import psycopg2
import redis
from conftest import await_true
from faults import locked
from sqlalchemy import text

from shop.extensions import db
from shop.ops import tasks
from shop.ops.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest
    from conftest import Make, Service, Shop, StartRedis

    from dev.embedded.servers import Postgres, Redis

    Serve = Callable[..., Service]

WAITING = "shop_requests_waiting"


def samples(scraped: str, name: str) -> list[float]:
    """Return the numbers of the samples whose line begins with `name`."""
    lines = re.findall(rf"^{re.escape(name)}\S* (\S+)$", scraped, re.MULTILINE)
    return [float(number) for number in lines]


def scrape(shop: Shop) -> str:
    answered: str = shop.get("/metrics").text
    return answered


def test_the_build_has_the_revision_that_is_set(make_shop: Make) -> None:
    assert 'revision="unknown"' in scrape(make_shop())
    assert 'revision="a1b2c3"' in scrape(make_shop(REVISION="a1b2c3"))


def test_redis_tells_its_memory_while_it_answers(make_shop: Make, start_redis: StartRedis) -> None:
    port = start_redis("--maxmemory", "8mb", "--maxmemory-policy", "allkeys-lru")
    shop = make_shop(REDIS_URL=f"redis://127.0.0.1:{port}/0")
    with redis.Redis(port=port) as client:
        for number in range(200):
            client.set(f"other:{number}", "x" * 100_000)
        scraped = scrape(shop)
        [used] = samples(scraped, f'shop_redis_memory_bytes{{server="127.0.0.1:{port}"}}')
        assert used > 1_000_000
        assert samples(scraped, "shop_redis_memory_max_bytes") == [8 * 2**20]
        assert samples(scraped, "shop_redis_evicted_keys_total")[0] > 0
        assert samples(scraped, "shop_redis_up") == [1]
        client.config_set("maxmemory", 0)
    assert samples(scrape(shop), "shop_redis_memory_max_bytes") == []


def test_without_redis_its_numbers_are_absent(make_shop: Make, own_redis: Redis) -> None:
    shop = make_shop(REDIS_URL=own_redis.url)
    shop.create_product()
    assert samples(scrape(shop), "shop_cache_outbox_age_seconds") == [0]
    own_redis.stop()
    shop.patch("/products/1", stock=9)
    await_true(lambda: samples(scrape(shop), "shop_redis_up") == [0])  # looked at once a second
    scraped = scrape(shop)
    assert samples(scraped, "shop_redis_memory_bytes") == []
    assert samples(scraped, "shop_database_up") == [1]
    assert samples(scraped, "shop_cache_outbox_names")[0] > 0
    assert samples(scraped, "shop_cache_outbox_age_seconds")[0] > 0


def test_without_the_database_the_metrics_answer(make_shop: Make, settings: dict[str, str]) -> None:
    elsewhere = settings["DATABASE_URL"].replace("/shop?", "/nowhere?")
    shop = make_shop(DATABASE_URL=elsewhere)
    assert samples(scrape(shop), "shop_database_up") == [0]


def test_a_full_redis_is_told_from_one_that_refuses(
    make_shop: Make, start_redis: StartRedis
) -> None:
    """At the edge and in Flask: both charge a limit, which writes."""
    port = start_redis("--maxmemory-policy", "noeviction")
    url = f"redis://127.0.0.1:{port}/0"

    def out_of_memory(shop: Shop) -> float:
        return sum(samples(scrape(shop), 'shop_redis_errors_total{reason="out_of_memory"}'))

    for edge in ("true", "false"):
        shop = make_shop(REDIS_URL=url, EDGE_ENABLED=edge)
        with redis.Redis(port=port) as client:
            client.config_set("maxmemory", 0)
            if edge == "true":
                shop.create_product()
            for _ in range(3):
                assert shop.client.get("/products/1").status_code == 200
            client.config_set("maxmemory", 1)
            before = out_of_memory(shop)
            assert shop.client.get("/products/1").status_code == 200
            assert out_of_memory(shop) > before, edge


def test_workers_threads_connections_and_processes_are_measured(
    serve: Serve, a_shop: Shop, postgres: Postgres
) -> None:
    a_shop.create_product()
    service = serve(WEB_CONCURRENCY="2")

    def measured(name: str) -> list[float]:
        return samples(service.get("/metrics").text, name)

    await_true(lambda: measured('shop_workers{state="serving"}') == [2], service.log)
    assert sum(measured("shop_threads_max")) == 8
    await_true(lambda: sum(measured("shop_database_connections_max")) == 12)
    idle = sum(measured("shop_threads_busy"))  # the one that answers this
    with ThreadPoolExecutor() as pool:
        with locked(postgres, "SELECT FROM products WHERE id = 1 FOR UPDATE"):
            waiting = pool.submit(service.write, "PATCH", "/products/1", stock=9)
            await_true(lambda: sum(measured("shop_threads_busy")) == idle + 1, service.log)
            await_true(lambda: sum(measured('shop_database_connections{state="in_use"}')) >= 1)
        assert waiting.result().ok
    await_true(lambda: sum(measured("shop_threads_busy")) == idle)
    assert measured("process_resident_memory_bytes")[0] > 10_000_000
    assert measured("process_max_fds")[0] > measured("process_open_fds")[0] > 10
    [began] = measured("process_start_time_seconds")
    assert began > 1_700_000_000

    [spent] = measured("process_cpu_seconds_total")
    old = service.workers()
    for worker in old:
        os.kill(worker, signal.SIGTERM)
    service.await_replaced(old)
    assert measured("process_cpu_seconds_total")[0] >= spent > 0
    assert measured("process_start_time_seconds") == [began]


def test_the_metrics_answer_while_all_threads_are_busy(
    serve: Serve, a_shop: Shop, postgres: Postgres
) -> None:
    """They would be missed most just then."""
    a_shop.create_product()
    service = serve(WEB_CONCURRENCY="1")
    with ThreadPoolExecutor(8) as pool, a_locked_table(postgres, "products"):
        reads = [pool.submit(service.get, f"/products/{number}") for number in range(1, 9)]

        def are_all_busy() -> bool:
            scraped = service.get("/metrics").text
            busy, waiting = samples(scraped, "shop_threads_busy"), samples(scraped, WAITING)
            return (sum(busy), sum(waiting)) == (4, 4)

        await_true(are_all_busy, service.log, seconds=20)
    assert {read.result().status_code for read in reads} == {200, 404}


@contextmanager
def a_locked_table(postgres: Postgres, table: str) -> Iterator[None]:
    connection = psycopg2.connect(postgres.url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        connection.close()


def test_what_is_paid_and_what_sells_is_counted(a_shop: Shop) -> None:
    product = a_shop.create_product(price="19.90", stock=9)
    order = a_shop.place_order(product["id"], quantity=2)
    before = samples(scrape(a_shop), 'shop_revenue_total{currency="EUR"}') or [0]
    a_shop.move_order(order["id"], "pay")
    [after] = samples(scrape(a_shop), 'shop_revenue_total{currency="EUR"}')
    assert round(after - before[0], 2) == 39.80
    assert samples(scrape(a_shop), "shop_trending_score") == []  # a scrape builds no leaderboard
    a_shop.get("/products/trending")
    [score] = samples(scrape(a_shop), f'shop_trending_score{{product_id="{product["id"]}"}}')
    assert 1.9 < score <= 2


def test_an_order_that_is_paid_again_by_its_key_is_counted_once(a_shop: Shop) -> None:
    order = a_shop.place_order(a_shop.create_product(price="5.00")["id"])
    before = samples(scrape(a_shop), 'shop_revenue_total{currency="EUR"}')
    for _ in range(2):
        path = f"/orders/{order['id']}/pay"
        assert a_shop.request("POST", path, headers={"Idempotency-Key": "a-payment"}).is_json
    [after] = samples(scrape(a_shop), 'shop_revenue_total{currency="EUR"}')
    assert round(after - sum(before), 2) == 5


def test_the_runs_of_a_task_are_counted(a_shop: Shop) -> None:
    """By the worker, in a database that every host reads."""

    def fail() -> float:
        raise RuntimeError

    worker = Worker(a_shop.app, threading.Event())
    worker._run_task(tasks.expire_orders)
    worker._run_task(fail)
    scraped = scrape(a_shop)
    assert samples(scraped, 'shop_task_runs_total{result="done",task="expire_orders"}') == [1]
    assert samples(scraped, 'shop_task_runs_total{result="failed",task="fail"}') == [1]
    name = "shop_task_last_success_timestamp_seconds"
    assert len(samples(scraped, name)) == 1
    assert samples(scraped, f'{name}{{task="expire_orders"}}')[0] > 1_700_000_000


def test_a_run_that_cannot_be_counted_stops_no_task(
    a_shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    with a_shop.app.app_context(), db.engine.begin() as connection:
        connection.execute(text("ALTER TABLE worker_tasks RENAME TO elsewhere"))
    try:
        worker = Worker(a_shop.app, threading.Event())
        assert worker._run_task(tasks.expire_orders) == tasks.PAUSE_SECONDS
        assert "is not counted" in caplog.text
        assert samples(scrape(a_shop), "shop_task_runs_total") == []
        assert samples(scrape(a_shop), "shop_database_up") == [1]
    finally:
        with a_shop.app.app_context(), db.engine.begin() as connection:
            connection.execute(text("ALTER TABLE elsewhere RENAME TO worker_tasks"))


def test_a_table_of_runs_that_somebody_holds_stops_no_task(
    a_shop: Shop, postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(a_shop.app, threading.Event())
    with (
        ThreadPoolExecutor() as pool,
        closing(psycopg2.connect(postgres.url)) as holder,
        holder.cursor() as cursor,
    ):
        cursor.execute("LOCK TABLE worker_tasks")
        run = pool.submit(worker._run_task, tasks.expire_orders)
        assert run.result(timeout=60) == tasks.PAUSE_SECONDS
    assert "is not counted" in caplog.text
