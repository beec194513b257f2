"""Writers that wait for a lock get 503 in time, and delay no other request."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from conftest import await_true
from faults import locked

from shop.extensions import cache, db
from shop.products import rows
from shop.products import service as products

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Make, Service, Shop

    from dev.embedded.servers import Postgres

BUSY = "/problems/database-busy"
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


def _waiting(postgres: Postgres) -> int:
    with locked(postgres, WAITING) as cursor:
        [[count]] = cursor.fetchall()
    return int(count)


ROW = "SELECT FROM products WHERE id = 1 FOR UPDATE"


def test_a_write_that_waits_too_long_for_a_row_gets_503(
    make_shop: Make, postgres: Postgres
) -> None:
    shop = make_shop(DATABASE_LOCK_TIMEOUT="10")
    shop.create_product()
    with locked(postgres, ROW):
        for answer in (shop.patch("/products/1", stock=1), shop.delete("/products/1")):
            assert (answer.status_code, answer.get_json()["type"]) == (503, BUSY)
            assert answer.headers["Retry-After"] == "1"
    assert shop.patch("/products/1", stock=1).status_code == 200


def test_a_write_that_has_waited_for_a_row_changes_its_current_values(
    a_shop: Shop, postgres: Postgres
) -> None:
    """The write compares with the current values, and forgets by that difference."""
    a_shop.create_product(stock=3)

    def sell_again() -> list[Any]:
        with a_shop.app.app_context(), cache.transaction():
            found = rows.lock_and_change(1, {"stock": 5})
            products.forget_product(1)
        assert found is not None
        return [(row["stock"], row["name"]) for row in found]

    change = "UPDATE products SET stock = 0, name = 'Spade'"
    with ThreadPoolExecutor() as pool, locked(postgres, change) as other:
        exchanged = pool.submit(sell_again)
        await_true(lambda: _waiting(postgres) == 1)
        other.connection.commit()
        assert exchanged.result() == [(0, "Spade"), (5, "Spade")]


@pytest.mark.parametrize("path", ["/products/1", "/products", "/categories"])
def test_a_read_that_waits_too_long_for_a_table_gets_503(
    make_shop: Make, postgres: Postgres, path: str
) -> None:
    shop = make_shop(DATABASE_LOCK_TIMEOUT="10", REDIS_ENABLED="false")
    shop.create_product()
    with locked(postgres, "LOCK TABLE products, categories"):
        assert shop.get(path).get_json()["type"] == BUSY
    assert shop.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/products/1", "/products", "/categories", "/products?q=rake"])
def test_a_miss_that_waits_too_long_for_a_table_gets_503(
    make_shop: Make, postgres: Postgres, path: str
) -> None:
    """In Flask, which sees the path first, and in the edge, which knows it then."""
    shop = make_shop(DATABASE_LOCK_TIMEOUT="10")
    shop.create_product()
    for _ in range(2):
        with locked(postgres, "LOCK TABLE products, categories"):
            assert shop.get(path).get_json()["type"] == BUSY
        assert shop.get(path).status_code == 200
        assert shop.command("cache", "clear", "all").exit_code == 0


def test_a_statement_of_a_request_ends_in_time(make_shop: Make, postgres: Postgres) -> None:
    shop = make_shop(DATABASE_STATEMENT_TIMEOUT="1000")
    shop.create_product()
    with locked(postgres, ROW):
        assert shop.patch("/products/1", stock=1).get_json()["type"] == BUSY


def test_a_command_has_no_time_limit(make_shop: Make) -> None:
    shop = make_shop(DATABASE_LOCK_TIMEOUT="10")
    with shop.app.app_context(), db.engine.connect() as connection:
        for name in ("lock_timeout", "statement_timeout"):
            assert connection.exec_driver_sql(f"SHOW {name}").scalar() == "0"


def test_waiting_writers_leave_a_thread_to_other_requests(
    serve: Callable[..., Service], a_shop: Shop, postgres: Postgres
) -> None:
    """Three wait in the database, two more when the first of these fail; the rest is refused."""
    a_shop.create_product(stock=3)
    service = serve(WEB_CONCURRENCY="1", DATABASE_LOCK_TIMEOUT="2000")
    paths = ("/products/1", "/livez", "/products", "/readyz")
    for path in (*paths, *paths):
        assert service.get(path).status_code == 200
    with ThreadPoolExecutor(10) as pool, locked(postgres, ROW):
        writes = [pool.submit(service.write, "PATCH", "/products/1", stock=n) for n in range(10)]
        await_true(lambda: _waiting(postgres) == 3)
        while not all(write.done() for write in writes):
            for path in paths:
                assert service.get(path).status_code == 200
            assert _waiting(postgres) <= 3
        for refused in (write.result() for write in writes):
            assert (refused.status_code, refused.json()["type"]) == (503, BUSY)
            assert refused.headers["Retry-After"] == "1"
    assert "shop_writes_refused_total 5.0" in service.get("/metrics").text
    assert service.write("PATCH", "/products/1", stock=20).status_code == 200


def test_writers_that_nothing_blocks_are_not_refused(a_shop: Shop) -> None:
    for n in range(8):
        a_shop.create_product(name=f"Rake {n}")
    begin = threading.Barrier(8)

    def write(product: int) -> list[int]:
        client = a_shop.app.test_client()
        headers = {"Authorization": f"Bearer {a_shop.key}"}
        begin.wait()
        path = f"/products/{product}/stock"
        return [
            client.patch(path, json={"delta": 1}, headers=headers).status_code for _ in range(10)
        ]

    with ThreadPoolExecutor(8) as pool:
        assert {status for found in pool.map(write, range(1, 9)) for status in found} == {200}
