"""Orders: all lines or none, exact prices, strict transitions, newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from conftest import ADMIN_KEY, CUSTOMER
from faults import before_statement, engine_of, lose_all_connections
from sqlalchemy import text

from shop.extensions import db

if TYPE_CHECKING:
    from conftest import Make, Shop
    from werkzeug.test import TestResponse

    from dev.embedded.servers import Postgres

ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}"}
TIMES = {"paid_at", "shipped_at", "delivered_at", "cancelled_at"}


@pytest.fixture
def shop(a_shop: Shop) -> Shop:
    """A shop with a rake (1) and a spade (2)."""
    a_shop.create_product(name="Rake", sku="RK-1", price="19.90", stock=5)
    a_shop.create_product(name="Spade", price="0.10", stock=3)
    return a_shop


def order(shop: Shop, *lines: tuple[int, int]) -> TestResponse:
    sent = [{"product_id": product_id, "quantity": quantity} for product_id, quantity in lines]
    return shop.post("/orders", customer=CUSTOMER, lines=sent)


def wrong_fields(answer: TestResponse) -> dict[str, str]:
    return {error["field"]: error["detail"] for error in answer.get_json()["errors"]}


def test_an_order_takes_the_stock_and_copies_what_it_sells(shop: Shop) -> None:
    answer = order(shop, (2, 3), (1, 2))
    assert (answer.status_code, answer.headers["Location"]) == (201, "/orders/1")
    made = answer.get_json()
    assert made["status"] == "pending"
    assert made["customer"] == CUSTOMER
    assert (made["total"], made["currency"]) == ("40.10", "EUR")
    assert made["lines"] == [
        {"product_id": 2, "sku": None, "name": "Spade", "price": "0.10", "quantity": 3,
         "total": "0.30"},
        {"product_id": 1, "sku": "RK-1", "name": "Rake", "price": "19.90", "quantity": 2,
         "total": "39.80"},
    ]  # fmt: skip
    assert {made[name] for name in TIMES} == {None}
    assert (shop.stock_of(1), shop.stock_of(2)) == (3, 0)
    assert shop.get("/orders/1", headers=ADMIN).get_json() == made


def test_an_order_stays_what_it_was_when_its_products_change(shop: Shop) -> None:
    made = shop.place_order(1)
    shop.put("/products/1", name="Hoe", price="99", stock=0, category_id=1)
    assert shop.get("/orders/1", headers=ADMIN).get_json()["lines"] == made["lines"]


def test_totals_are_exact_where_floats_are_not(shop: Shop) -> None:
    shop.patch("/products/2", price="9999999999.99", stock=10_000)
    made = order(shop, (2, 10_000)).get_json()
    assert made["total"] == made["lines"][0]["total"] == "99999999999900.00"


def test_each_sale_refreshes_the_products_that_it_sells(shop: Shop) -> None:
    for path in ("/products/1", "/products/2", "/products"):
        shop.get(path)
    shop.place_order(1)
    answers = [shop.get(path) for path in ("/products/1", "/products/2", "/products")]
    assert [answer.headers["X-Cache"] for answer in answers] == ["HIT"] * 3
    page = answers[2].get_json()["items"]
    assert [row["stock"] for row in page] == [4, 3]
    assert page[0]["updated_at"] > page[0]["created_at"]
    shop.move_order(1, "cancel")
    answer = shop.get("/products/1")
    assert (answer.headers["X-Cache"], answer.get_json()["stock"]) == ("HIT", 5)


def test_a_sale_is_made_even_if_its_products_cannot_be_read_again(
    shop: Shop, postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    with before_statement(
        engine_of(shop), "products.id = ANY", lambda: lose_all_connections(postgres)
    ):
        assert order(shop, (1, 1), (2, 1)).status_code == 201
    assert "could not be read again" in caplog.text
    assert (shop.stock_of(1), shop.stock_of(2)) == (4, 2)


def test_unavailable_lines_are_refused_by_line_and_no_stock_is_taken(shop: Shop) -> None:
    shop.create_product(name="Hoe", active=False)
    answer = order(shop, (1, 1), (2, 4), (3, 1))
    assert answer.status_code == 409
    assert wrong_fields(answer) == {
        "lines.1.quantity": "Product 2 has a stock of 3.",
        "lines.2.product_id": "Product 3 is not sold now.",
    }
    assert (shop.stock_of(1), shop.stock_of(2)) == (5, 3)
    assert shop.get("/orders", headers=ADMIN).get_json()["items"] == []


def test_unknown_products_are_refused_by_line(shop: Shop) -> None:
    answer = order(shop, (1, 1), (77, 1), (2, 100))
    assert answer.status_code == 422
    assert wrong_fields(answer) == {"lines.1.product_id": "There is no product 77."}


def test_an_order_has_one_currency(shop: Shop) -> None:
    shop.patch("/products/2", currency="CHF")
    answer = order(shop, (1, 1), (2, 1))
    assert answer.status_code == 422
    assert set(wrong_fields(answer)) == {"lines.1.product_id"}
    assert order(shop, (2, 1)).get_json()["currency"] == "CHF"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"lines": []}, "lines"),
        ({"lines": [{"product_id": 1, "quantity": 1}] * 2}, "lines.1.product_id"),
        ({"lines": [{"product_id": n, "quantity": 1} for n in range(1, 102)]}, "lines"),
        ({"lines": [{"product_id": 1, "quantity": 0}]}, "lines.0.quantity"),
        ({"lines": [{"product_id": 1, "quantity": 10_001}]}, "lines.0.quantity"),
        ({"lines": [{"product_id": 1, "quantity": "1"}]}, "lines.0.quantity"),
        ({"lines": [{"product_id": 1, "quantity": 1, "price": "0.01"}]}, "lines.0.price"),
        ({"lines": [{"quantity": 1}]}, "lines.0.product_id"),
        ({"lines": [7]}, "lines.0"),
        ({"lines": {"product_id": 1}}, "lines"),
        ({"total": "0.01"}, "total"),
        ({"customer": None}, "customer"),
        ({"customer": {"name": "A"}}, "customer.email"),
        ({"customer": CUSTOMER | {"email": "nobody"}}, "customer.email"),
        ({"customer": CUSTOMER | {"email": "a@b\n"}}, "customer.email"),
        ({"customer": CUSTOMER | {"email": "a@" + "b" * 253}}, "customer.email"),
        ({"customer": CUSTOMER | {"name": " "}}, "customer.name"),
        ({"customer": CUSTOMER | {"address": "\x00"}}, "customer.address"),
    ],
)
def test_wrong_input_is_named_by_its_place(shop: Shop, change: dict[str, Any], field: str) -> None:
    body = {"customer": CUSTOMER, "lines": [{"product_id": 1, "quantity": 1}]} | change
    answer = shop.post("/orders", **body)
    assert answer.status_code == 422
    assert set(wrong_fields(answer)) == {field}
    assert shop.stock_of(1) == 5


def test_a_hundred_lines_are_one_order(shop: Shop) -> None:
    for number in range(98):
        shop.create_product(name=f"Seed {number}", price="0.01")
    with shop.statements() as sent:
        made = shop.place_order(*range(100, 0, -1))
    assert len(made["lines"]) == 100
    assert [line["product_id"] for line in made["lines"]] == list(range(100, 0, -1))
    # Lock and take the stock, insert the order and its lines, and read the products for the cache.
    assert len(sent) == 5


@pytest.mark.parametrize(
    ("before", "action", "status"),
    [
        ([], "pay", "paid"),
        (["pay"], "ship", "shipped"),
        (["pay", "ship"], "deliver", "delivered"),
        ([], "cancel", "cancelled"),
        (["pay"], "cancel", "cancelled"),
    ],
)
def test_an_order_is_paid_shipped_and_delivered(
    shop: Shop, before: list[str], action: str, status: str
) -> None:
    shop.place_order(1, 2)
    answer = shop.move_order(1, *before, action)
    assert answer.status_code == 200
    moved = answer.get_json()
    assert moved["status"] == status
    assert moved["created_at"] < moved[f"{status}_at"] == moved["updated_at"]
    assert shop.get("/orders/1", headers=ADMIN).get_json() == moved
    sold = 0 if status == "cancelled" else 1
    assert (shop.stock_of(1), shop.stock_of(2)) == (5 - sold, 3 - sold)


@pytest.mark.parametrize(
    ("before", "refused"),
    [
        ([], ["ship", "deliver"]),
        (["pay"], ["pay", "deliver"]),
        (["pay", "ship"], ["pay", "ship", "cancel"]),
        (["pay", "ship", "deliver"], ["pay", "ship", "deliver", "cancel"]),
        (["cancel"], ["pay", "ship", "deliver", "cancel"]),
    ],
)
def test_an_order_takes_no_other_transition(
    shop: Shop, before: list[str], refused: list[str]
) -> None:
    shop.place_order(1)
    if before:
        shop.move_order(1, *before)
    stock, known = shop.stock_of(1), shop.get("/orders/1", headers=ADMIN).data
    for action in refused:
        answer = shop.move_order(1, action)
        assert answer.status_code == 409, action
        assert "Order 1 is" in answer.get_json()["detail"]
    assert shop.get("/orders/1", headers=ADMIN).data == known
    assert shop.stock_of(1) == stock


def test_an_unknown_order_or_action_is_not_found(shop: Shop) -> None:
    shop.place_order(1)
    assert shop.get("/orders/9", headers=ADMIN).status_code == 404
    assert shop.move_order(9, "pay").status_code == 404
    assert shop.move_order(1, "refund").status_code == 404


def test_a_cancellation_that_would_overflow_the_stock_is_a_conflict(shop: Shop) -> None:
    shop.place_order(1)
    shop.patch("/products/1", stock=2_147_483_647)
    assert shop.move_order(1, "cancel").status_code == 409
    shop.patch("/products/1", stock=2_147_483_646)
    assert shop.move_order(1, "cancel").status_code == 200
    assert shop.stock_of(1) == 2_147_483_647


def test_a_product_that_was_sold_is_not_deleted(shop: Shop) -> None:
    shop.place_order(1)
    answer = shop.delete("/products/1")
    assert answer.status_code == 409
    assert "inactive" in answer.get_json()["detail"]
    assert shop.delete("/products/2").status_code == 204


def ids(answer: TestResponse) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [row["id"] for row in answer.get_json()["items"]]


def test_pages_go_from_the_newest_to_the_oldest(shop: Shop) -> None:
    for _ in range(5):
        shop.place_order(1)
    first = shop.get("/orders?limit=2", headers=ADMIN)
    assert ids(first) == [5, 4]
    shop.place_order(2)  # moves no page that follows
    seen, link = [], first.headers.get("Link")
    while link:
        address, relation = link.split("; ")
        assert relation == 'rel="next"'
        page = shop.get(address.strip("<>"), headers=ADMIN)
        seen += ids(page)
        link = page.headers.get("Link")
    assert seen == [3, 2, 1]


def test_orders_of_one_moment_are_on_one_page_each(shop: Shop) -> None:
    for _ in range(4):
        shop.place_order(1)
    with shop.app.app_context(), db.engine.begin() as connection:
        connection.execute(text("UPDATE orders SET created_at = '2026-01-01'"))
    assert ids(shop.get("/orders?limit=2", headers=ADMIN)) == [4, 3]
    assert ids(shop.get("/orders?limit=2&after=3", headers=ADMIN)) == [2, 1]


def test_orders_are_found_by_status_customer_and_time(shop: Shop) -> None:
    for number in range(1, 4):
        shop.place_order(1)
        with shop.app.app_context(), db.engine.begin() as connection:
            values = {"id": number, "at": f"2026-0{number}-01T12:00:00Z"}
            connection.execute(text("UPDATE orders SET created_at = :at WHERE id = :id"), values)
    customer = CUSTOMER | {"email": "Other@Example.com"}
    shop.post("/orders", customer=customer, lines=[{"product_id": 2, "quantity": 1}])
    shop.move_order(2, "pay")

    def found(**query: str) -> list[int]:
        return ids(shop.get("/orders", query_string=query, headers=ADMIN))

    assert found(status="pending") == [4, 3, 1]
    assert found(status="paid") == [2]
    assert found(customer="OTHER@example.com") == [4]
    with shop.app.app_context(), db.engine.begin() as connection:
        connection.execute(text("UPDATE orders SET customer_email = 'ÄRGER@x.y' WHERE id = 4"))
    assert found(customer="ÄRGER@x.y") == [4]
    assert found(customer=CUSTOMER["email"], status="pending") == [3, 1]
    assert found(since="2026-02-01T12:00:00Z", until="2026-03-01T13:00:00+01:00") == [2]
    assert found(until="2026-02-01T12:00:00.000001Z") == [2, 1]
    assert found(since="9999-12-31T23:59:59Z") == []


@pytest.mark.parametrize(
    "query",
    [
        "status=lost", "statsu=paid", "customer=nobody", "since=yesterday", "until=2026-02-30",
        "since=2026-02-30T00:00:00Z", "since=0001-01-01T00:00:00%2B01:00",
        "until=9999-12-31T23:59:59-01:00", "since=2026-01-01T00:00:00",
        "limit=0", "limit=101", "limit=x", "after=0", "after=x", "after=7",
    ],
)  # fmt: skip
def test_a_wrong_query_is_refused(shop: Shop, query: str) -> None:
    answer = shop.get(f"/orders?{query}", headers=ADMIN)
    assert answer.status_code == 422
    assert set(wrong_fields(answer)) == {query.partition("=")[0]}


def test_reading_orders_needs_the_orders_scope(shop: Shop) -> None:
    shop.place_order(1)
    calls = [
        ("GET", "/orders", "orders:read"),
        ("GET", "/orders/1", "orders:read"),
        ("POST", "/orders", "orders:write"),
        ("POST", "/orders/1/pay", "orders:write"),
    ]
    for method, path, needed in calls:
        assert shop.client.open(path, method=method).status_code == 401
        for scope in ("catalog:write", "orders:read", "orders:write", "stats:read"):
            made = shop.command("keys", "create", "--name", "x", "--scope", scope)
            key = {"Authorization": f"Bearer {made.output.split()[-1]}"}
            answer = shop.request(method, path, headers=key)
            assert (answer.status_code == 403) == (scope != needed)


def test_a_session_writes_no_orders(shop: Shop) -> None:
    """tests/test_orders_of_sessions.py has what a session may read."""
    shop.place_order(1)
    session = shop.open_session()
    for path in ("/orders", "/orders/1/pay", "/orders/1/cancel"):
        answer = shop.request("POST", path, headers=session)
        assert (answer.status_code, answer.get_json()["scope"]) == (403, "orders:write")
        assert "A session may not do this" in answer.get_json()["detail"]


def test_customer_data_is_kept_only_in_the_database(shop: Shop, redis_cli: Any) -> None:
    shop.place_order(1)
    shop.get("/products/1")
    for answer in (
        shop.get("/orders", headers=ADMIN),
        shop.get("/orders/1", headers=ADMIN),
        shop.move_order(1, "pay"),
    ):
        assert answer.headers["Cache-Control"] == "no-store"
        assert "X-Cache" not in answer.headers
        assert "ETag" not in answer.headers
    kept = [redis_cli.get(key) for key in redis_cli.keys("*:id:*")]
    assert kept
    assert not any(CUSTOMER["email"] in value for value in kept)


def test_orders_work_without_redis(make_shop: Make) -> None:
    shop = make_shop(REDIS_ENABLED="false")
    shop.create_product(stock=2)
    shop.place_order(1)
    assert shop.stock_of(1) == 1
    assert shop.move_order(1, "cancel").status_code == 200
    assert shop.stock_of(1) == 2


def test_changes_of_orders_are_counted(shop: Shop) -> None:
    def counted(line: str) -> float:
        lines = shop.get("/metrics").text.splitlines()
        return sum(float(one.split()[-1]) for one in lines if one.startswith(line))

    expected = {
        'shop_orders_total{event="placed"}': 1,
        'shop_orders_total{event="cancelled"}': 1,
        'shop_order_refused_lines_total{reason="stock"}': 2,
        'shop_order_refused_lines_total{reason="unknown"}': 1,
        'shop_order_conflicts_total{action="pay"}': 1,
    }
    before = {line: counted(line) for line in expected}
    shop.place_order(1)
    shop.move_order(1, "cancel", "pay")
    order(shop, (1, 100), (2, 100))
    order(shop, (77, 1))
    assert {line: counted(line) - before[line] for line in expected} == expected
