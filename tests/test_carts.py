"""Carts of sessions, and their checkout."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ADMIN_KEY, CUSTOMER, await_true
from faults import before_statement, engine_of
from sqlalchemy import text

from shop.extensions import db

if TYPE_CHECKING:
    from conftest import Make, Shop
    from werkzeug.test import TestResponse

ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}"}


class Buyer:
    """Somebody with a session."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.headers = shop.open_session()

    def put(self, product_id: int, quantity: int = 1) -> TestResponse:
        path = f"/cart/items/{product_id}"
        return self.shop.request("PUT", path, json={"quantity": quantity}, headers=self.headers)

    def remove(self, product_id: int) -> TestResponse:
        return self.shop.request("DELETE", f"/cart/items/{product_id}", headers=self.headers)

    def cart(self) -> dict[str, Any]:
        answer = self.shop.get("/cart", headers=self.headers)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
        found: dict[str, Any] = answer.get_json()
        return found

    def states(self) -> dict[int, str]:
        return {item["product_id"]: item["state"] for item in self.cart()["items"]}

    def check_out(self, **headers: str) -> TestResponse:
        return self.shop.request(
            "POST", "/cart/checkout", json={"customer": CUSTOMER}, headers=self.headers | headers
        )


@pytest.fixture
def shop(a_shop: Shop) -> Shop:
    """A shop with a rake (1) and a spade (2)."""
    a_shop.create_product(name="Rake", price="19.90", stock=5)
    a_shop.create_product(name="Spade", price="0.10", stock=3)
    return a_shop


@pytest.fixture
def buyer(shop: Shop) -> Buyer:
    return Buyer(shop)


def test_a_cart_shows_its_products_as_they_are_now(shop: Shop, buyer: Buyer) -> None:
    assert buyer.cart() == {"items": [], "totals": []}
    buyer.put(2, 3)
    put = buyer.put(1, 2)
    cart = buyer.cart()
    assert put.get_json() == cart
    assert [item["product_id"] for item in cart["items"]] == [2, 1]
    assert cart["items"][1] == {
        "product_id": 1,
        "quantity": 2,
        "state": "available",
        "total": "39.80",
        "product": shop.get("/products/1").get_json(),
    }
    assert cart["totals"] == [{"currency": "EUR", "total": "40.10"}]
    shop.patch("/products/1", price="1.00", name="Old rake")
    cart = buyer.cart()
    assert cart["items"][1]["product"]["name"] == "Old rake"
    assert cart["totals"] == [{"currency": "EUR", "total": "2.30"}]


def test_a_cart_shows_which_items_are_unavailable(shop: Shop, buyer: Buyer) -> None:
    shop.create_product(name="Hoe")
    shop.create_product(name="Axe", currency="CHF")
    for product_id in (1, 2, 3, 4):
        buyer.put(product_id, 2)
    shop.patch("/products/1", stock=1)
    shop.patch("/products/2", active=False)
    shop.delete("/products/3")
    assert buyer.states() == {1: "short", 2: "inactive", 3: "gone", 4: "available"}
    cart = buyer.cart()
    assert [item["total"] for item in cart["items"]] == [None, None, None, "39.80"]
    assert cart["items"][2]["product"] is None
    assert cart["totals"] == [{"currency": "CHF", "total": "39.80"}]
    assert buyer.check_out().status_code == 422
    assert buyer.remove(3).status_code == 204
    assert buyer.check_out().status_code in {409, 422}
    assert set(buyer.states()) == {1, 2, 4}


def test_an_item_of_a_cart_is_put_changed_and_removed(shop: Shop, buyer: Buyer) -> None:
    assert buyer.put(1, 2).status_code == 200
    assert buyer.put(1, 7).get_json()["items"][0]["quantity"] == 7
    assert buyer.states() == {1: "short"}
    assert buyer.remove(1).status_code == 204
    assert buyer.remove(1).status_code == 404
    assert buyer.cart()["items"] == []


def test_cart_refuses_a_product_that_is_not_sold(shop: Shop, buyer: Buyer) -> None:
    shop.patch("/products/2", active=False)
    assert buyer.put(2).status_code == 409
    assert buyer.put(9).status_code == 404
    for quantity in (0, -1, 10_001, 1.5, "1", None):
        assert buyer.put(1, quantity).status_code == 422  # type: ignore[arg-type]
    assert buyer.cart()["items"] == []


def test_a_cart_has_room_for_as_many_items_as_an_order(shop: Shop, buyer: Buyer) -> None:
    with shop.app.app_context(), db.engine.begin() as connection:
        some = "SELECT 1, n, 1 FROM generate_series(1001, 1099) AS n"
        connection.execute(
            text(f"INSERT INTO cart_items (session_id, product_id, quantity) {some}")
        )
    assert buyer.put(1).status_code == 200
    full = buyer.put(2)
    assert (full.status_code, "100 items" in full.get_json()["detail"]) == (409, True)
    assert buyer.put(1, 2).status_code == 200


def test_each_session_has_its_own_cart(shop: Shop, buyer: Buyer) -> None:
    other = Buyer(shop)
    buyer.put(1)
    other.put(2)
    assert (set(buyer.states()), set(other.states())) == ({1}, {2})
    shop.request("DELETE", "/sessions/current", headers=buyer.headers)
    assert set(other.states()) == {2}


def test_a_flush_of_redis_loses_no_cart(shop: Shop, buyer: Buyer, redis_cli: Any) -> None:
    buyer.put(1)
    redis_cli.flushall()
    assert buyer.states() == {1: "available"}


def test_a_checkout_makes_an_order_and_empties_the_cart(shop: Shop, buyer: Buyer) -> None:
    buyer.put(2, 3)
    buyer.put(1)
    answer = buyer.check_out()
    assert (answer.status_code, answer.headers["Location"]) == (201, "/orders/1")
    order = answer.get_json()
    assert (order["total"], order["customer"]) == ("20.20", CUSTOMER)
    assert [line["product_id"] for line in order["lines"]] == [2, 1]
    assert shop.get("/orders/1", headers=ADMIN).get_json() == order
    assert (shop.stock_of(1), shop.stock_of(2)) == (4, 0)
    assert buyer.cart()["items"] == []


def test_a_second_checkout_finds_an_empty_cart(shop: Shop, buyer: Buyer) -> None:
    buyer.put(1)
    assert buyer.check_out().status_code == 201
    again = buyer.check_out()
    assert (again.status_code, again.get_json()["detail"]) == (409, "The cart is empty.")
    assert shop.stock_of(1) == 4


def test_a_repeated_checkout_gets_its_order_again(shop: Shop, buyer: Buyer) -> None:
    buyer.put(1)
    key = {"Idempotency-Key": "first"}
    first = buyer.check_out(**key)
    buyer.put(2)
    again = buyer.check_out(**key)
    assert (again.status_code, again.data) == (201, first.data)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert buyer.states() == {2: "available"}
    assert shop.stock_of(1) == 4


def test_a_checkout_that_is_refused_leaves_the_cart(shop: Shop, buyer: Buyer) -> None:
    buyer.put(1)
    buyer.put(2, 4)
    answer = buyer.check_out(**{"Idempotency-Key": "again"})
    assert answer.status_code == 409
    assert [error["field"] for error in answer.get_json()["errors"]] == ["items.1.quantity"]
    assert buyer.states() == {1: "available", 2: "short"}
    assert shop.stock_of(1) == 5
    buyer.put(2, 3)
    assert buyer.check_out(**{"Idempotency-Key": "again"}).status_code == 201


def test_a_removal_comes_before_a_checkout_or_after_it(shop: Shop, buyer: Buyer) -> None:
    """No buyer gets an item whose removal was acknowledged."""
    buyer.put(1)
    buyer.put(2)
    with ThreadPoolExecutor(2) as pool, shop.app.app_context(), db.engine.connect() as holder:
        holder.execute(text("SELECT FROM products WHERE id = 1 FOR UPDATE"))
        checkout = pool.submit(buyer.check_out)
        await_true(lambda: count_waiting() == 1)
        removal = pool.submit(buyer.remove, 2)
        await_true(lambda: count_waiting() == 2)
        holder.rollback()
        ordered, removed = checkout.result(), removal.result()
    assert [line["product_id"] for line in ordered.get_json()["lines"]] == [1, 2]
    assert removed.status_code == 404


def count_waiting() -> int:
    """Return how many connections wait for a lock. A transaction would see the same each time."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with db.engine.connect() as connection:
        return connection.scalar(text(waiting)) or 0


def test_a_checkout_needs_its_customer(shop: Shop, buyer: Buyer) -> None:
    buyer.put(1)
    for body in ({}, {"customer": {"name": "A"}}, {"customer": CUSTOMER, "lines": []}):
        answer = shop.request("POST", "/cart/checkout", json=body, headers=buyer.headers)
        assert answer.status_code == 422
    assert shop.stock_of(1) == 5


def test_a_session_that_ends_during_its_request_gets_401(shop: Shop, buyer: Buyer) -> None:
    """The session was valid when the request began."""
    with before_statement(engine_of(shop), "products.description", lambda: end_sessions(shop)):
        answer = buyer.put(1)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def end_sessions(shop: Shop) -> None:
    with engine_of(shop).begin() as connection:
        connection.execute(text("DELETE FROM sessions"))


def test_carts_work_without_redis(make_shop: Make) -> None:
    shop = make_shop(REDIS_ENABLED="false")
    shop.create_product()
    buyer = Buyer(shop)
    buyer.put(1)
    assert buyer.check_out().status_code == 201
    assert shop.stock_of(1) == 2
