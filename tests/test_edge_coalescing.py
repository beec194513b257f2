"""Rows of concurrent requests are read by one call, and each request gets its own answer."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from conftest import await_true
from faults import after_statement, engine_of, locked
from prometheus_client import REGISTRY
from test_cache_without_database import expire, shop_by, way  # noqa: F401  (a fixture)

from shop.cache import protocol as protocol_module
from shop.cache import reader as reader_module
from shop.config import THREADS
from shop.extensions import cache
from shop.facts import Outcome
from shop.products import service as products

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Make, Relay, Shop

    from dev.embedded.servers import Postgres

ROWS = 12
QUEUE = 20
TABLE = "LOCK TABLE products"  # so that no read of a product ends


@pytest.fixture
def shop(make_shop: Make) -> Shop:
    """A shop whose edge knows the address of a product, and of whose products one is cached."""
    shop = make_shop(REQUEST_QUEUE=str(QUEUE))
    for number in range(ROWS):
        shop.create_product(name=f"Rake {number + 1}")
    for _ in range(2):
        assert shop.get("/products/1").status_code == 200
    return shop


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(60) as pool:
        yield pool


def waiting() -> float:
    return REGISTRY.get_sample_value("shop_requests_waiting") or 0


def take_threads(shop: Shop, pool: ThreadPoolExecutor) -> None:
    """Let a read of an empty page hold every thread of the worker, and one more wait."""
    for n in range(THREADS + 1):
        pool.submit(shop.get, f"/products?skip={100 + n}")
    await_true(lambda: waiting() == 1)


def test_rows_that_wait_together_are_read_by_one_statement(
    shop: Shop, pool: ThreadPoolExecutor, postgres: Postgres
) -> None:
    with shop.statements() as sent:
        with locked(postgres, TABLE):
            take_threads(shop, pool)
            reads = {n: pool.submit(shop.get, f"/products/{n}") for n in range(2, ROWS + 1)}
            await_true(lambda: waiting() == 1 + len(reads))
        answers = {n: read.result() for n, read in reads.items()}
    assert waiting() == 0
    for n, answer in answers.items():
        assert (answer.get_json()["id"], answer.get_json()["name"]) == (n, f"Rake {n}")
        assert answer.headers["X-Cache"] == "MISS"
    assert sum("products.description" in one for one in sent) == 1


def test_a_read_beyond_the_queue_is_refused(
    shop: Shop, pool: ThreadPoolExecutor, postgres: Postgres
) -> None:
    with locked(postgres, TABLE):
        take_threads(shop, pool)
        reads = [pool.submit(shop.get, f"/products/{2 + n % 3}") for n in range(QUEUE + 10)]
        await_true(lambda: sum(read.done() for read in reads) == 11)
        assert waiting() == QUEUE
        assert {read.result().status_code for read in reads if read.done()} == {503}
    assert [read.result().status_code for read in reads].count(200) == QUEUE - 1
    assert waiting() == 0


def test_a_read_after_a_write_does_not_join_an_older_read(
    shop: Shop, pool: ThreadPoolExecutor
) -> None:
    has_read, goes_on = threading.Event(), threading.Event()

    def wait() -> None:
        has_read.set()
        assert goes_on.wait(60)

    with after_statement(engine_of(shop), "products.description", wait):
        before = pool.submit(shop.get, "/products/2")
        assert has_read.wait(60)
        assert shop.patch("/products/2", name="Spade").status_code == 200
        try:
            assert shop.get("/products/2").get_json()["name"] == "Spade"
        finally:
            goes_on.set()
        assert before.result().get_json()["name"] == "Rake 2"
    assert shop.get("/products/2").get_json()["name"] == "Spade"


def test_only_a_request_for_a_document_under_way_waits_for_it(
    shop: Shop, pool: ThreadPoolExecutor, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol_module, "LEASE_SECONDS", 100)
    monkeypatch.setattr(reader_module, "LEASE_SECONDS", 100)
    with shop.app.app_context():
        family = products.product_documents
        [held] = cache.backend.read([family.generation_key], [f"{family.prefix}2"])
        with locked(postgres, TABLE):
            take_threads(shop, pool)
            reads = [pool.submit(shop.get, f"/products/{n}") for n in (2, 3)]
            await_true(lambda: waiting() == 3)
        assert reads[1].result().get_json()["id"] == 3
        assert not reads[0].done()
        cache.backend.protocol.give_back({f"{family.prefix}2": held.lease})
        assert reads[0].result().get_json()["id"] == 2


def test_without_the_database_each_waiting_read_gets_its_own_answer(
    make_shop: Make,
    way: Relay,  # noqa: F811
    redis_cli: Any,
) -> None:
    shop = shop_by(way, make_shop, REDIS_CACHE_TTL="1", CACHE_STALE_IF_ERROR="1000")
    expire(redis_cli)
    way.close()
    with shop.app.app_context():
        found, failed = products.product_documents.read_coalesced([1, 2])
    assert {n: one.outcome for n, one in found.items()} == {1: Outcome.STALE}
    assert b'"id":1' in found[1].document
    assert failed is not None


def test_each_response_reports_hit_or_miss_of_its_own_row(shop: Shop) -> None:
    with shop.app.app_context():
        found, failed = products.product_documents.read_coalesced([1, 2, 99])
    assert failed is None
    outcomes = {n: one.outcome for n, one in found.items()}
    assert outcomes == {1: Outcome.HIT, 2: Outcome.MISS, 99: Outcome.MISS}
    assert found[99].document == b""
