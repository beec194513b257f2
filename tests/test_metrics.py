"""The metrics of the servers, the workers, the processes and the build."""

from __future__ import annotations

import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg2
import redis
from conftest import await_true

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Make, Service, Shop, StartRedis

    from dev.embedded.servers import Postgres, Redis

    Serve = Callable[..., Service]


def samples(text: str, name: str) -> list[float]:
    """Return the numbers of the samples whose line begins with `name`."""
    lines = re.findall(rf"^{re.escape(name)}\S* (\S+)$", text, re.MULTILINE)
    return [float(number) for number in lines]


def scrape(shop: Shop) -> str:
    text: str = shop.get("/metrics").text
    return text


def test_the_build_has_the_revision_that_is_set(make_shop: Make) -> None:
    assert 'revision="unknown"' in scrape(make_shop())
    assert 'revision="a1b2c3"' in scrape(make_shop(REVISION="a1b2c3"))


def test_redis_tells_its_memory_while_it_answers(make_shop: Make, start_redis: StartRedis) -> None:
    port = start_redis("--maxmemory", "8mb", "--maxmemory-policy", "allkeys-lru")
    shop = make_shop(REDIS_URL=f"redis://127.0.0.1:{port}/0")
    with redis.Redis(port=port) as client:
        for number in range(200):
            client.set(f"other:{number}", "x" * 100_000)
        text = scrape(shop)
        [used] = samples(text, f'shop_redis_memory_bytes{{server="127.0.0.1:{port}"}}')
        assert used > 1_000_000
        assert samples(text, "shop_redis_memory_max_bytes") == [8 * 2**20]
        assert samples(text, "shop_redis_evicted_keys_total")[0] > 0
        assert samples(text, "shop_redis_up") == [1]
        client.config_set("maxmemory", 0)
    assert samples(scrape(shop), "shop_redis_memory_max_bytes") == []


def test_without_redis_its_numbers_are_absent(make_shop: Make, own_redis: Redis) -> None:
    shop = make_shop(REDIS_URL=own_redis.url)
    shop.create_product()
    assert samples(scrape(shop), "shop_cache_outbox_age_seconds") == [0]
    own_redis.stop()
    shop.patch("/products/1", stock=9)
    await_true(lambda: samples(scrape(shop), "shop_redis_up") == [0])  # looked at once a second
    text = scrape(shop)
    assert samples(text, "shop_redis_memory_bytes") == []
    assert samples(text, "shop_database_up") == [1]
    assert samples(text, "shop_cache_outbox_names")[0] > 0
    assert samples(text, "shop_cache_outbox_age_seconds")[0] > 0


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
        with locked(postgres):
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


@contextmanager
def locked(postgres: Postgres) -> Iterator[None]:
    """Hold the row of the first product."""
    connection = psycopg2.connect(postgres.url)
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM products WHERE id = 1 FOR UPDATE")
        yield
    connection.close()
