"""With too many requests the rest is refused at once, and hits go on."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import TYPE_CHECKING

import pytest
from conftest import ADMIN_KEY, await_true
from faults import locked
from raw import connected
from test_database_locks import ROW

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Service, Shop

    from dev.embedded.servers import Postgres

TABLE = "LOCK TABLE products"  # so that no read of a product ends
PROBES = ("/livez", "/readyz", "/health_check")
QUEUE = 5
SLACK = 0.1  # seconds by which a probe may be later than alone


@pytest.fixture
def service(serve: Callable[..., Service], a_shop: Shop) -> Service:
    """A worker in which five requests may wait, and which has answered a read from Redis."""
    a_shop.create_product()
    service = serve(WEB_CONCURRENCY="1", REQUEST_QUEUE=str(QUEUE))
    await_true(lambda: service.get("/products/1").headers["X-Cache"] == "HIT")
    return service


def waiting(service: Service) -> float:
    """Return how many requests wait, by the metric."""
    text = service.get("/metrics").text
    [line] = [one for one in text.splitlines() if one.startswith("shop_requests_waiting ")]
    return float(line.split()[1])


def seconds_of(service: Service, path: str) -> float:
    """Return how long an answer takes: what is in the middle of several."""
    taken = []
    for _ in range(9):
        began = time.monotonic()
        assert service.get(path).status_code == 200
        taken.append(time.monotonic() - began)
    return median(taken)


def assert_goes_on(service: Service, alone: dict[str, float]) -> None:
    """A hit is answered, and probes as fast as they are alone."""
    assert service.get("/products/1").headers["X-Cache"] == "HIT"
    for path in PROBES:
        assert seconds_of(service, path) < alone[path] + SLACK


def test_reads_beyond_the_queue_are_refused(service: Service, postgres: Postgres) -> None:
    alone = {path: seconds_of(service, path) for path in PROBES}
    with ThreadPoolExecutor(30) as pool, locked(postgres, TABLE):
        reads = [pool.submit(service.get, f"/products?skip={n}") for n in range(20)]
        await_true(lambda: sum(read.done() for read in reads) == 20 - 4 - QUEUE)
        for read in reads:
            if read.done():
                answer = read.result()
                assert answer.status_code == 503
                assert answer.json()["type"] == "/problems/overloaded"
                assert answer.headers["Retry-After"] == "1"
        began = time.monotonic()
        assert service.get("/products?skip=99").status_code == 503
        assert time.monotonic() - began < alone["/livez"] + SLACK
        assert_goes_on(service, alone)
    assert [read.result().status_code for read in reads].count(200) == 4 + QUEUE
    assert service.get("/products?skip=99").status_code == 200


def test_writers_of_one_row_leave_a_thread_to_reads(service: Service, postgres: Postgres) -> None:
    alone = {path: seconds_of(service, path) for path in PROBES}
    with ThreadPoolExecutor(30) as pool, locked(postgres, ROW) as operator:
        writes = [pool.submit(service.write, "PATCH", "/products/1", stock=n) for n in range(20)]
        await_true(lambda: sum(write.done() for write in writes) == 20 - 3 - QUEUE)
        refused = {write.result().json()["type"] for write in writes if write.done()}
        assert refused == {"/problems/overloaded"}
        for n in range(3):
            assert service.get(f"/categories?skip={n}").headers["X-Cache"] == "MISS"
        assert waiting(service) == QUEUE
        assert_goes_on(service, alone)
        operator.connection.rollback()
        assert [write.result().status_code for write in writes].count(200) == 3 + QUEUE
    assert waiting(service) == 0


def test_a_refused_body_is_not_requested_with_100_continue(
    service: Service, postgres: Postgres
) -> None:
    request = (
        b"PATCH /products/1 HTTP/1.1\r\nHost: shop.test\r\nExpect: 100-continue\r\n"
        b"Content-Type: application/json\r\nContent-Length: 11\r\n"
        b"Authorization: Bearer " + ADMIN_KEY.encode() + b"\r\n\r\n"
    )
    with (
        ThreadPoolExecutor(30) as pool,
        connected(service) as [client],
        locked(postgres, ROW),
    ):
        writes = [pool.submit(service.write, "PATCH", "/products/1", stock=n) for n in range(9)]
        await_true(lambda: any(write.done() for write in writes))
        answer = client.ask(request)
        assert (answer.problem, answer.interim, answer.closes) == ("overloaded", (), True)
