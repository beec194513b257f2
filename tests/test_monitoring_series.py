"""Each expression of rules and dashboards finds the series and labels that it names."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis
import requests
from conftest import CUSTOMER, await_true
from monitoring.expressions import expressions, faults
from prometheus_client.parser import text_string_to_metric_families

from shop.ops import tasks
from shop.ops.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import MakeRelay, Relay, Service, Shop, StartRedis
    from monitoring.promql import Catalog

    from dev.embedded.servers import Postgres

EXPORTERS = Path(__file__).parent / "monitoring" / "exporters.prom"
JOBS = {"redis": ("redis_",), "postgresql": ("pg_", "postgresql_"), "front": ("probe_",)}
SMALL = {"RATE_LIMIT_CALLS": "100", "SESSION_OPEN_ORDERS": "1", "TRUSTED_PROXIES": "1"}


def test_each_expression_finds_what_a_service_and_the_exporters_tell(
    serve: Callable[..., Service],
    a_shop: Shop,
    relay: MakeRelay,
    postgres: Postgres,
    start_redis: StartRedis,
) -> None:
    catalog: Catalog = {}
    way, port = relay(postgres.socket), start_redis("--maxmemory", "64mb")
    service = serve(
        WEB_CONCURRENCY="1",
        DATABASE_URL=f"postgresql://shop@127.0.0.1:{way.port}/shop",
        REDIS_URL=f"redis://127.0.0.1:{port}/0",
        REDIS_CACHE_TTL="1",
        CACHE_STALE_IF_ERROR="1000",
        **SMALL,
    )
    run_tasks(a_shop)
    sell(service)
    refuse(service)
    note(catalog, service.get("/metrics").text, "shop")
    with redis.Redis(port=port) as client:
        fill(service, client)
        lose_database(service, client, way)
    note(catalog, service.get("/metrics").text, "shop")
    shadow = serve(WEB_CONCURRENCY="1", RATE_LIMIT_MODE="shadow", RATE_LIMIT_CALLS="1")
    for _ in range(3):
        assert shadow.get("/products/1").status_code == 200
    note(catalog, shadow.get("/metrics").text, "shop")
    for job, names in JOBS.items():
        lines = [one for one in EXPORTERS.read_text().splitlines() if one.startswith(names)]
        note(catalog, "\n".join(lines), job)
    assert faults(catalog, expressions()) == []


def run_tasks(shop: Shop) -> None:
    """Let flask worker do a task, and fail at one."""

    def fail() -> float:
        raise RuntimeError

    worker = Worker(shop.app, threading.Event())
    worker._run_task(tasks.expire_orders)
    worker._run_task(fail)


def sell(service: Service) -> None:
    """Sell, and refuse to sell, in each way that is counted."""
    category = service.write("POST", "/categories", name="Garden").json()["id"]
    product = {"name": "Rake", "price": "9.90", "stock": 5, "category_id": category}
    sold = service.write("POST", "/products", **product).json()["id"]
    for quantity in (1, 100):
        lines = [{"product_id": sold, "quantity": quantity}]
        answer = service.write("POST", "/orders", customer=CUSTOMER, lines=lines)
    assert answer.status_code == 409
    for _ in range(2):  # the second one is a conflict
        service.write("POST", "/orders/1/pay")
    assert service.get("/products/trending").ok  # makes the leaderboard
    session = service.write("POST", "/sessions").json()["token"]
    headers = {"Authorization": f"Bearer {session}", "Idempotency-Key": "one"}
    for key in ("one", "two"):
        headers["Idempotency-Key"] = key
        send(service, "PUT", f"/cart/items/{sold}", headers, quantity=1)
        send(service, "POST", "/cart/checkout", headers, customer=CUSTOMER)


def send(service: Service, method: str, path: str, headers: dict[str, str], **body: Any) -> None:
    answer = requests.request(
        method, service.url + path, headers=headers, json=body or None, timeout=60
    )
    assert answer.status_code < 500, answer.text


def refuse(service: Service) -> None:
    """Let one address use its quota up."""
    headers = {"X-Forwarded-For": "203.0.113.7"}
    statuses = [service.get("/products/1", headers=headers).status_code for _ in range(102)]
    assert statuses[0] == 200
    assert statuses[-1] == 429


def fill(service: Service, client: Any) -> None:
    """Let Redis miss a replica that it asks for, and then memory."""
    for setting, bad, good, reason in (
        ("min-replicas-to-write", 1, 0, "refused"),
        ("maxmemory", 1, "64mb", "out_of_memory"),
    ):
        client.config_set(setting, bad)

        def is_counted(reason: str = reason) -> bool:
            service.get("/products/1")
            return f'shop_redis_errors_total{{reason="{reason}"}}' in service.get("/metrics").text

        await_true(is_counted, service.log)
        client.config_set(setting, good)
    await_true(lambda: service.get("/products/1").headers["X-Cache"] == "HIT", service.log)


def lose_database(service: Service, client: Any, way: Relay) -> None:
    """Let PostgreSQL be gone while a document that is kept has expired."""
    assert client.exists("products:id:1")
    way.close()
    await_true(lambda: service.get("/products/1").headers["X-Cache"] == "STALE", service.log)
    assert service.get("/products/2").status_code == 503
    way.open()
    await_true(lambda: service.get("/readyz").ok, service.log)


def note(catalog: Catalog, scraped: str, job: str) -> None:
    """Add the series of a scrape, with the labels that Prometheus adds."""
    samples = [one for family in text_string_to_metric_families(scraped) for one in family.samples]
    added = {"job": job, "instance": "here"}
    for name, labels in [("up", added), *((one.name, one.labels | added) for one in samples)]:
        known = catalog.setdefault(name, {})
        for label, value in labels.items():
            known.setdefault(label, set()).add(value)
