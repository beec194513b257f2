"""The orders of a session: it reads the orders that it checked out, and no others."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ADMIN_KEY, CUSTOMER
from faults import before_statement, engine_of
from sqlalchemy import text

from shop.extensions import db

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Make, Service, Shop
    from werkzeug.test import TestResponse

ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}"}
LATE = "UPDATE orders SET expires_at = now() - interval '1 s' WHERE id = {}"
ENDED = "UPDATE sessions SET expires_at = now() - interval '1 s'"


class Buyer:
    """Somebody with a session."""

    def __init__(self, shop: Shop, **headers: str) -> None:
        self.shop = shop
        self.headers = shop.open_session() | headers

    def buy(self, *, email: str = CUSTOMER["email"], key: str | None = None) -> Any:
        """Check out a cart with one unit of the first product, and return the order."""
        self.shop.request("PUT", "/cart/items/1", json={"quantity": 1}, headers=self.headers)
        body = {"customer": CUSTOMER | {"email": email}}
        once = {"Idempotency-Key": key} if key else {}
        answer = self.shop.request("POST", "/cart/checkout", json=body, headers=self.headers | once)
        assert answer.status_code == 201, answer.text
        return answer.get_json()

    def get(self, path: str, **query: str) -> TestResponse:
        return self.shop.get(path, query_string=query or None, headers=self.headers)

    def order(self, order_id: int) -> Any:
        return self.get(f"/orders/{order_id}").get_json()

    def found(self, **query: str) -> list[int]:
        return ids(self.get("/orders", **query))

    def close(self) -> None:
        ended = self.shop.request("DELETE", "/sessions/current", headers=self.headers)
        assert ended.status_code == 204


def ids(answer: TestResponse) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [row["id"] for row in answer.get_json()["items"]]


def sql(shop: Shop, statement: str) -> list[Any]:
    with shop.app.app_context(), db.engine.begin() as connection:
        found = connection.execute(text(statement))
        return list(found) if found.returns_rows else []


def refusal(answer: TestResponse) -> dict[str, Any]:
    """Return a refusal without the id of its request."""
    problem: dict[str, Any] = answer.get_json()
    del problem["request_id"]
    return problem


@pytest.fixture
def shop(a_shop: Shop) -> Shop:
    """A shop with a rake (1)."""
    a_shop.create_product(name="Rake", price="19.90", stock=50)
    return a_shop


@pytest.fixture
def buyer(shop: Shop) -> Buyer:
    return Buyer(shop)


def test_a_buyer_reads_the_order_at_the_location_that_the_checkout_named(
    shop: Shop, buyer: Buyer
) -> None:
    shop.request("PUT", "/cart/items/1", json={"quantity": 2}, headers=buyer.headers)
    made = shop.request(
        "POST", "/cart/checkout", json={"customer": CUSTOMER}, headers=buyer.headers
    )
    read = buyer.get(made.headers["Location"])
    assert (read.status_code, read.data) == (200, made.data)
    assert read.data == shop.get("/orders/1", headers=ADMIN).data


def test_a_session_that_has_ordered_nothing_finds_nothing(shop: Shop, buyer: Buyer) -> None:
    shop.place_order(1)
    answer = buyer.get("/orders")
    assert (answer.status_code, answer.get_json()) == (200, {"items": [], "limit": 20})


def test_a_session_reads_its_own_orders_and_a_key_reads_all(shop: Shop, buyer: Buyer) -> None:
    other = Buyer(shop)
    for one in (buyer, other, buyer):
        one.buy()
    shop.place_order(1)
    assert (buyer.found(), other.found()) == ([3, 1], [2])
    assert ids(shop.get("/orders", headers=ADMIN)) == [4, 3, 2, 1]
    readable = {n: [one.get(f"/orders/{n}").status_code for one in (buyer, other)] for n in (1, 2)}
    assert readable == {1: [200, 404], 2: [404, 200]}


def test_two_sessions_of_one_address_and_one_customer_read_nothing_of_each_other(
    make_shop: Make,
) -> None:
    shop = make_shop(TRUSTED_PROXIES="1")
    shop.create_product(stock=9)
    one, other = (Buyer(shop, **{"X-Forwarded-For": "192.0.2.7"}) for _ in range(2))
    one.buy()
    other.buy()
    assert sql(shop, "SELECT DISTINCT client_address FROM orders") == [("192.0.2.7",)]
    assert (one.found(), other.found()) == ([1], [2])
    assert other.found(customer=CUSTOMER["email"]) == [2]


def test_an_order_of_another_session_does_not_exist_for_a_buyer(shop: Shop, buyer: Buyer) -> None:
    """Orders of another session, of an ended one and of a key get the same answer."""
    Buyer(shop).buy()
    ended = Buyer(shop)
    ended.buy()
    ended.close()
    shop.place_order(1)
    missing = buyer.get("/orders/9")
    assert (missing.status_code, missing.get_json()["detail"]) == (404, "There is no order 9.")
    for order_id in (1, 2, 3):
        answer = buyer.get(f"/orders/{order_id}")
        assert answer.status_code == 404
        told = {"detail": f"There is no order {order_id}.", "instance": f"/orders/{order_id}"}
        assert refusal(answer) == refusal(missing) | told
        assert answer.headers["Cache-Control"] == missing.headers["Cache-Control"]
        assert set(dict(answer.headers)) == set(dict(missing.headers))


def test_a_page_does_not_begin_after_an_order_of_another_session(shop: Shop, buyer: Buyer) -> None:
    buyer.buy()
    Buyer(shop).buy()
    shop.place_order(1)
    missing = buyer.get("/orders", after="9")
    assert missing.status_code == 422
    for order_id in (2, 3):
        answer = buyer.get("/orders", after=str(order_id))
        assert answer.status_code == 422
        told = refusal(missing)
        told["detail"] = told["errors"][0]["detail"] = f"There is no order {order_id}."
        assert refusal(answer) == told


def test_an_order_of_another_session_costs_the_same_as_an_unknown_order(
    shop: Shop, buyer: Buyer
) -> None:
    """It sends the same statements, with other numbers, so that its time reveals nothing."""
    Buyer(shop).buy()
    buyer.get("/orders")
    sent: list[list[str]] = []
    for path in ("/orders/1", "/orders/9", "/orders?after=1", "/orders?after=9"):
        with shop.statements() as statements:
            buyer.get(path)
        sent.append(list(statements))
    assert [len(one) for one in sent] == [1, 1, 1, 1]
    assert (sent[0], sent[2]) == (sent[1], sent[3])


def test_pages_go_from_the_newest_own_order_to_the_oldest(shop: Shop, buyer: Buyer) -> None:
    other = Buyer(shop)
    for _ in range(4):
        buyer.buy()
        other.buy()
    buyer.buy()
    first = buyer.get("/orders", limit="2")
    assert ids(first) == [9, 7]
    buyer.buy()  # moves no page that follows
    seen, link = [], first.headers.get("Link")
    while link:
        address, relation = link.split("; ")
        assert relation == 'rel="next"'
        page = buyer.get(address.strip("<>"))
        seen += ids(page)
        link = page.headers.get("Link")
    assert seen == [5, 3, 1]


def test_the_last_page_of_a_session_has_no_next_despite_orders_of_others(
    shop: Shop, buyer: Buyer
) -> None:
    shop.place_order(1)
    for _ in range(2):
        buyer.buy()
    assert "Link" not in buyer.get("/orders", limit="2").headers
    assert "Link" in buyer.get("/orders", limit="1").headers


def test_own_orders_are_found_by_status_customer_and_time(shop: Shop, buyer: Buyer) -> None:
    other = Buyer(shop)
    for number, email in enumerate(("a@example.com", "b@example.com", "a@example.com"), 1):
        buyer.buy(email=email)
        other.buy(email=email)
        sql(shop, f"UPDATE orders SET created_at = '2026-0{number}-01' WHERE id > {2 * number - 2}")
    shop.move_order(3, "pay")
    shop.move_order(4, "pay")
    assert buyer.found(status="pending") == [5, 1]
    assert buyer.found(status="paid") == [3]
    assert buyer.found(customer="A@Example.com") == [5, 1]
    assert buyer.found(since="2026-02-01T00:00:00Z", until="2026-03-01T00:00:00Z") == [3]
    assert buyer.found(status="pending", after="5") == [1]
    assert buyer.found(status="shipped") == []
    for wrong in ({"status": "lost"}, {"limit": "101"}, {"session_id": "2"}, {"after": "x"}):
        answer = buyer.get("/orders", **wrong)
        assert answer.status_code == 422
        assert [one["field"] for one in answer.get_json()["errors"]] == list(wrong)


@pytest.mark.parametrize(
    ("steps", "status"),
    [
        (["pay"], "paid"),
        (["pay", "ship"], "shipped"),
        (["pay", "ship", "deliver"], "delivered"),
        (["cancel"], "cancelled"),
        (["expire"], "cancelled"),
    ],
)
def test_an_order_stays_readable_in_every_status(
    shop: Shop, buyer: Buyer, steps: list[str], status: str
) -> None:
    buyer.buy()
    for step in steps:
        if step == "expire":
            sql(shop, LATE.format(1))
            assert shop.command("orders", "expire").output == "1 orders\n"
        else:
            assert shop.move_order(1, step).status_code == 200
        known = shop.get("/orders/1", headers=ADMIN).data
        assert buyer.get("/orders/1").data == known
    assert buyer.order(1)["status"] == status
    assert buyer.found(status=status) == [1]


def test_a_repeated_checkout_leads_to_the_same_order(shop: Shop, buyer: Buyer) -> None:
    first = buyer.buy(key="once")
    assert buyer.buy(key="once") == first
    assert (buyer.found(), buyer.order(1)) == ([1], first)
    shop.move_order(1, "pay")
    assert buyer.buy(key="once")["status"] == "pending"  # as it was answered at first
    assert buyer.order(1)["status"] == "paid"


def test_a_key_that_is_another_sessions_too_leads_each_to_its_own_order(shop: Shop) -> None:
    one, other = Buyer(shop), Buyer(shop)
    assert [buyer.buy(key="once")["id"] for buyer in (one, other)] == [1, 2]
    assert (one.found(), other.found()) == ([1], [2])


def test_reading_orders_needs_a_session_or_a_scope(shop: Shop, buyer: Buyer) -> None:
    buyer.buy()
    key = shop.command("keys", "create", "--name", "x", "--scope", "orders:write").output
    for path in ("/orders", "/orders/1"):
        assert shop.get(path, headers=buyer.headers).status_code == 200
        nobody = shop.get(path)
        assert (nobody.status_code, nobody.get_json()["type"]) == (401, "/problems/key-required")
        assert "session" in nobody.get_json()["detail"]
        wrong = shop.get(path, headers={"Authorization": "Bearer shop_x"})
        assert (wrong.status_code, wrong.get_json()["type"]) == (401, "/problems/invalid-key")
        lacking = shop.get(path, headers={"Authorization": f"Bearer {key.split()[-1]}"})
        assert (lacking.status_code, lacking.get_json()["scope"]) == (403, "orders:read")


def test_a_buyer_cannot_move_an_order(shop: Shop, buyer: Buyer) -> None:
    buyer.buy()
    for action in ("pay", "ship", "deliver", "cancel"):
        answer = shop.move_order(1, action, **buyer.headers)
        assert (answer.status_code, answer.get_json()["scope"]) == (403, "orders:write")
    assert buyer.order(1)["status"] == "pending"


def test_a_shop_without_keys_asks_for_a_session_and_not_for_a_key(
    make_shop: Make, shop: Shop
) -> None:
    """No caller can have a key there, and a key is not needed to read an own order."""
    keyless = make_shop(ADMIN_API_KEY="")
    buyer = Buyer(keyless)
    buyer.buy()
    assert buyer.found() == [1]
    assert keyless.get("/orders").status_code == 401
    wrong = keyless.get("/orders", headers={"Authorization": "Bearer wrong"})
    assert (wrong.status_code, wrong.get_json()["type"]) == (403, "/problems/no-keys")


@pytest.mark.parametrize("path", ["/orders", "/orders/1"])
def test_an_ended_session_gets_401_for_its_orders(
    shop: Shop, buyer: Buyer, redis_cli: Any, path: str
) -> None:
    """The cart answers in the same way."""
    closed = Buyer(shop)
    closed.buy()
    closed.close()
    sql(shop, ENDED)
    redis_cli.flushall()
    for ended in (closed, buyer):
        answer, cart = ended.get(path), ended.get("/cart")
        assert (answer.status_code, cart.status_code) == (401, 401)
        assert answer.headers["WWW-Authenticate"] == cart.headers["WWW-Authenticate"]
        assert refusal(answer) == refusal(cart) | {"instance": path}


def test_the_next_session_of_a_browser_reads_nothing_of_the_one_before(shop: Shop) -> None:
    """The next person at a shared machine is another buyer."""
    before = Buyer(shop)
    before.buy()
    before.close()
    after = Buyer(shop)
    assert after.found() == []
    assert after.get("/orders/1").status_code == 404


def test_orders_remain_for_keys_when_their_session_is_purged(
    shop: Shop, buyer: Buyer, redis_cli: Any
) -> None:
    made = buyer.buy()
    sql(shop, ENDED)
    redis_cli.flushall()
    assert shop.command("purge").output == "1 sessions, 0 idempotency keys\n"
    assert buyer.get("/orders/1").status_code == 401
    assert Buyer(shop).found() == []
    assert shop.get("/orders/1", headers=ADMIN).get_json() == made
    assert ids(shop.get("/orders", headers=ADMIN)) == [1]


def test_a_session_that_is_closed_while_it_reads_finds_nothing(shop: Shop, buyer: Buyer) -> None:
    """The session was valid when the request began; its orders belong to no session since."""
    buyer.buy()
    close_sessions = partial(sql, shop, "DELETE FROM sessions")
    with before_statement(engine_of(shop), "FROM orders", close_sessions):
        assert buyer.get("/orders/1").status_code == 404
    assert sql(shop, "SELECT session_id FROM orders") == [(None,)]


def test_orders_of_a_buyer_are_not_cached_and_count_for_the_session(make_shop: Make) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="4")
    shop.create_product()
    buyer = Buyer(shop)
    buyer.buy()  # two requests
    for path in ("/orders/1", "/orders"):
        answer = buyer.get(path)
        assert answer.headers["Cache-Control"] == "no-store"
        assert not {"ETag", "X-Cache"} & set(answer.headers.keys())
    refused = buyer.get("/orders/1")
    assert (refused.status_code, CUSTOMER["email"] in refused.text) == (429, False)
    assert Buyer(shop).get("/orders").status_code == 200


@pytest.mark.parametrize(("limit", "cost"), [(None, 1), (20, 1), (21, 2), (100, 5), (101, 1)])
def test_a_large_page_costs_a_session_more_and_a_key_not(
    make_shop: Make, limit: int | None, cost: int
) -> None:
    """Anybody can open a session; 101 are refused."""
    shop = make_shop(RATE_LIMIT_CALLS="50")
    key = shop.command("keys", "create", "--name", "x", "--scope", "orders:read").output
    path = f"/orders?limit={limit}" if limit else "/orders"
    readers = (Buyer(shop).headers, {"Authorization": f"Bearer {key.split()[-1]}"})
    answers = [shop.get(path, headers=headers) for headers in readers]
    left = [int(answer.headers["X-RateLimit-Remaining"]) for answer in answers]
    assert left == [50 - cost, 49]


def test_each_read_of_orders_is_current_also_with_the_edge(shop: Shop, buyer: Buyer) -> None:
    """The edge does not learn to answer it."""
    buyer.buy()
    for step, status in (("pay", "paid"), ("ship", "shipped"), ("deliver", "delivered")):
        assert {buyer.order(1)["status"] for _ in range(3)} == {buyer.order(1)["status"]}
        shop.move_order(1, step)
        assert buyer.order(1)["status"] == status
        assert buyer.get("/orders").get_json()["items"][0]["status"] == status


def test_data_of_orders_is_in_neither_redis_the_log_nor_the_metrics(
    shop: Shop, buyer: Buyer, redis_cli: Any, caplog: pytest.LogCaptureFixture
) -> None:
    buyer.buy(email="marker@example.com")
    with caplog.at_level(logging.DEBUG, "shop"):
        assert buyer.found(customer="marker@example.com") == [1]
        assert buyer.get("/orders/1").status_code == 200
    assert any("/orders/1 200" in message for message in caplog.messages)
    metrics = shop.get("/metrics").text
    token = buyer.headers["Authorization"].removeprefix("Bearer session_")
    for told in ("marker", CUSTOMER["address"], token):
        assert told not in caplog.text
        assert told not in metrics
    kept = [redis_cli.get(key) for key in redis_cli.keys("*") if redis_cli.type(key) == "string"]
    assert not any("marker" in value for value in kept)


def test_own_orders_are_read_without_redis(make_shop: Make) -> None:
    shop = make_shop(REDIS_ENABLED="false")
    shop.create_product()
    buyer = Buyer(shop)
    buyer.buy()
    assert (buyer.found(), buyer.order(1)["status"]) == ([1], "pending")
    buyer.close()
    assert buyer.get("/orders").status_code == 401


def test_a_page_of_a_session_reads_no_order_of_others(shop: Shop, buyer: Buyer) -> None:
    """The index of sessions finds its few orders among many."""
    buyer.get("/orders")
    sql(
        shop,
        "INSERT INTO orders (customer_name, customer_email, customer_address, currency, total,"
        " created_at, session_id) SELECT 'A', 'a@example.com', '', 'EUR', 1,"
        " now() - n * interval '1 s', CASE WHEN n % 500 = 0 THEN 1 END"
        " FROM generate_series(1, 20000) n",
    )
    sql(shop, "ANALYZE orders")
    with shop.statements() as sent:
        page = buyer.get("/orders")
    assert ids(page) == list(range(500, 10_001, 500))
    assert len(sent) == 2  # the orders, and their lines
    explained = sent[0] % {"session_id_1": 1, "param_1": 21}
    plan = "\n".join(row[0] for row in sql(shop, f"EXPLAIN (ANALYZE) {explained}"))
    assert "ix_orders_session_id" in plan
    assert "Rows Removed by Filter" not in plan


class Reading:
    """The reads of a buyer of six orders while these are paid and expire."""

    def __init__(self, shop: Shop, service: Service) -> None:
        buyer = Buyer(shop)
        self.own = sorted((buyer.buy()["id"] for _ in range(6)), reverse=True)
        self.states: dict[int, str] = {}
        self._headers = buyer.headers
        self._service = service

    def read(self) -> None:
        items = self._service.get("/orders", headers=self._headers).json()["items"]
        assert [item["id"] for item in items] == self.own
        for item in items:
            assert self.states.get(item["id"]) in {None, "pending", item["status"]}
            assert (item["paid_at"] is not None) == (item["status"] == "paid")
            assert (item["cancel_reason"] == "expired") == (item["status"] == "cancelled")
            self.states[item["id"]] = item["status"]

    def read_until(self, settled: threading.Event) -> None:
        while not settled.is_set():
            self.read()
        self.read()


def test_buyers_read_their_own_orders_while_these_are_paid_and_expire(
    shop: Shop, serve: Callable[..., Service]
) -> None:
    """Over two workers each read shows one state of each order, and no earlier one than before."""
    service = serve(WEB_CONCURRENCY="2")
    readings = [Reading(shop, service) for _ in range(3)]
    settled = threading.Event()
    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(one.read_until, settled) for one in readings]
        try:
            sql(shop, "UPDATE orders SET expires_at = now() WHERE id % 2 = 0")
            for order_id in range(1, 18, 2):
                assert service.write("POST", f"/orders/{order_id}/pay").status_code == 200
            assert shop.command("orders", "expire").output == "9 orders\n"
        finally:
            settled.set()
        for future in running:
            future.result()
    for one in readings:
        assert one.states == {n: "paid" if n % 2 else "cancelled" for n in one.own}
