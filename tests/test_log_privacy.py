"""No log of the service or PostgreSQL and no output of a command has data of customers."""

from __future__ import annotations

import socket
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
import requests
from conftest import ADMIN_KEY, await_true
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, PendingRollbackError

from shop.extensions import db
from shop.orders.models import Customer, Order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Make, Service, Shop

    from dev.embedded.servers import Postgres

PERSON = {"name": "Marker Name", "email": "marker@example.com", "address": "1 Marker Street"}
MARKED = ("Marker", "marker@", "MARKER")
# What is written: every table that a request writes to, and a column of each.
TABLES = {
    "categories": "name", "products": "name", "orders": "customer_name",
    "order_lines": "name", "sessions": "token_hash", "cart_items": "quantity",
    "idempotency_keys": "body", "api_keys": "name", "cache_outbox": "name",
}  # fmt: skip


class Customers:
    """Send every write, with marked data, and collect the statuses of the answers."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = self._send("POST", "/sessions", ADMIN_KEY).json()["token"]
        self._sends = 0

    def write_everything(self) -> set[int]:
        self._sends += 1
        once = {"Idempotency-Key": f"once-{self._sends}"}
        cart = {"quantity": 1}
        order = {"customer": PERSON, "lines": [{"product_id": 1, "quantity": 1}]}
        number = f"MARKER-{self._sends}"
        product = {"name": "Marker rake", "price": 1, "stock": 1, "category_id": 1, "sku": number}
        answers = [
            self._send("POST", "/categories", json={"name": f"Marker {number}"}),
            self._send("PATCH", "/categories/1", json={"name": f"Marker {number} b"}),
            self._send("POST", "/products", json=product),
            self._send("PATCH", "/products/1", json={"name": "Marker hoe"}),
            self._send("PATCH", "/products/1/stock", json={"delta": 1}),
            self._send("POST", "/sessions", ""),
            self._send("PUT", "/cart/items/1", self._session, json=cart),
            self._send(
                "POST", "/cart/checkout", self._session, json={"customer": PERSON}, headers=once
            ),
            self._send("POST", "/orders", json=order, headers={"Idempotency-Key": f"{number}-2"}),
            self._send("POST", "/orders", json=order),
            self._send("GET", "/orders?customer=marker@example.com"),
            self._send("GET", "/orders?customer=marker@example.com", self._session),
            self._send("GET", "/cart", self._session),
            self._send("POST", "/orders/1/cancel"),
            self._send("DELETE", "/cart/items/1", self._session),
        ]
        return {answer.status_code for answer in answers}

    def _send(
        self, method: str, path: str, key: str = ADMIN_KEY, **options: Any
    ) -> requests.Response:
        headers = options.pop("headers", {}) | ({"Authorization": f"Bearer {key}"} if key else {})
        return requests.request(method, self._url + path, headers=headers, timeout=120, **options)


@pytest.fixture
def database(postgres: Postgres) -> Iterator[Any]:
    """A connection of the owner of the tables."""
    connection = psycopg2.connect(postgres.url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        yield cursor
    connection.close()


@contextmanager
def broken(database: Any, breaks: str, mends: str) -> Iterator[None]:
    database.execute(breaks)
    try:
        yield
    finally:
        database.execute(mends)


def written_since(log: Path, size: int) -> str:
    return log.read_bytes()[size:].decode()


def assert_discreet(*written: str) -> None:
    for line in "\n".join(written).splitlines():
        assert not any(marker in line for marker in MARKED), line


def served(serve: Callable[..., Service], a_shop: Shop) -> tuple[Service, Customers]:
    a_shop.create_product(stock=100_000)
    a_shop.place_order(1)
    service = serve(LOG_LEVEL="DEBUG", WEB_CONCURRENCY="1")
    return service, Customers(service.url)


def test_a_refused_row_is_in_no_log(
    serve: Callable[..., Service], a_shop: Shop, postgres: Postgres, database: Any
) -> None:
    """Each table in turn refuses all rows: PostgreSQL's DETAIL has the row, and no log has it."""
    service, customers = served(serve, a_shop)
    size = postgres._log.stat().st_size
    assert customers.write_everything() <= {200, 201, 204, 404}
    refused = set()
    for table in TABLES:
        refuse = f"ALTER TABLE {table} ADD CONSTRAINT refuse_{table} CHECK (false) NOT VALID"
        with broken(database, refuse, f"ALTER TABLE {table} DROP CONSTRAINT refuse_{table}"):
            refused |= customers.write_everything()
    assert 409 in refused
    written = service.log.read_text()
    for table in TABLES.keys() - {"api_keys", "cache_outbox"}:  # no request writes to these
        told = f"CheckViolation (SQLSTATE 23514), constraint refuse_{table}, table {table}"
        assert told in written, table
    assert_discreet(written, written_since(postgres._log, size))


def test_the_statement_of_a_broken_table_is_in_no_log(
    serve: Callable[..., Service], a_shop: Shop, postgres: Postgres, database: Any
) -> None:
    service, customers = served(serve, a_shop)
    size = postgres._log.stat().st_size
    for table, column in TABLES.items():
        rename = f"ALTER TABLE {table} RENAME {column} TO gone"
        with broken(database, rename, f"ALTER TABLE {table} RENAME gone TO {column}"):
            customers.write_everything()
        rename = f"ALTER TABLE {table} RENAME TO away"
        with broken(database, rename, f"ALTER TABLE away RENAME TO {table}"):
            customers.write_everything()
    written = service.log.read_text()
    assert "UndefinedColumn (SQLSTATE 42703)" in written
    assert "UndefinedTable (SQLSTATE 42P01)" in written
    assert "Traceback" in written
    assert_discreet(written, written_since(postgres._log, size))


def test_a_value_of_the_wrong_type_is_in_no_log(
    serve: Callable[..., Service], a_shop: Shop, postgres: Postgres, database: Any
) -> None:
    """PostgreSQL quotes such a value in the message itself, however terse it is."""
    service, customers = served(serve, a_shop)
    size = postgres._log.stat().st_size
    change = "ALTER TABLE orders ALTER customer_email TYPE {} USING {}"
    mend = change.format("varchar(254)", "'x'")
    with broken(database, change.format("integer", "0"), mend):
        assert 500 in customers.write_everything()
    written = service.log.read_text()
    assert "InvalidTextRepresentation (SQLSTATE 22P02)" in written
    assert_discreet(written, written_since(postgres._log, size))


def test_the_output_of_a_command_has_no_value(a_shop: Shop, database: Any) -> None:
    refuse = "ALTER TABLE api_keys ADD CONSTRAINT refused CHECK (false) NOT VALID"
    with broken(database, refuse, "ALTER TABLE api_keys DROP CONSTRAINT refused"):
        run = a_shop.command("keys", "create", "--name", "Marker")
    assert run.exit_code == 1
    assert "CheckViolation (SQLSTATE 23514), constraint refused, table api_keys" in run.output
    assert_discreet(run.output)


def test_a_printed_error_has_no_value(a_shop: Shop) -> None:
    """Neither the error, nor its cause, nor the refusal that follows from it has a value."""
    value = MARKED[0]
    with a_shop.app.app_context():
        for statement in (
            "SELECT CAST(:value AS integer)",
            "SELECT :value FROM nowhere",
        ):
            with pytest.raises(DBAPIError) as refused:
                db.session.execute(text(statement), {"value": value})
            db.session.rollback()
            assert_discreet("".join(traceback.format_exception(refused.value)))
            assert isinstance(refused.value.orig, psycopg2.Error)
            assert_discreet(refused.value.orig.pgerror or "")
        customer = Customer(value * 50, value, value)
        db.session.add(Order(customer=customer, currency="EUR", total=1))
        with pytest.raises(DBAPIError):
            db.session.flush()
        with pytest.raises(PendingRollbackError) as pending:
            db.session.execute(text("SELECT 1"))
        assert_discreet("".join(traceback.format_exception(pending.value)))


def test_the_reason_of_a_failed_connection_is_logged(make_shop: Make) -> None:
    shop = make_shop(DATABASE_URL="postgresql://nobody:hidden@127.0.0.1:1/none")
    run = shop.command("keys", "list")
    assert "the database cannot be used: " in run.output
    assert "port 1 failed: Connection refused" in run.output
    assert "hidden" not in run.output


def test_a_request_that_cannot_be_read_is_not_quoted(serve: Callable[..., Service]) -> None:
    service = serve(LOG_LEVEL="DEBUG")
    port = int(service.url.rpartition(":")[2])
    for request in (
        "GET /orders?customer=marker@example.com HTTP/9.9.9\r\n\r\n",
        "GET /orders\x00Marker?customer=marker@example.com\r\n\r\n",
        "GET / HTTP/1.1\r\nAuthorization Marker: Bearer Marker\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nMarker\x00: Bearer Marker\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", port), timeout=120) as client:
            client.sendall(request.encode())
            assert client.recv(100).startswith(b"HTTP/1.1 4")
    await_true(lambda: service.log.read_text().count('"method":"-"') == 4)
    assert_discreet(service.log.read_text())


def test_search_terms_are_in_no_log(serve: Callable[..., Service], a_shop: Shop) -> None:
    a_shop.create_product(name="Marker", sku="MARKER-1")
    service = serve(LOG_LEVEL="DEBUG", WEB_CONCURRENCY="1")
    for _ in range(3):
        for query in ("q=Marker&total=true&facets=category", "sku=MARKER-1", "q=Marker&sort=price"):
            assert requests.get(f"{service.url}/products?{query}", timeout=10).ok
        assert requests.get(f"{service.url}/search/suggest?q=Marker", timeout=10).ok
    log = service.log.read_text()
    assert "products:found:*" in log
    assert_discreet(log)
