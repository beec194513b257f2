"""The caps on unpaid orders of sessions and addresses that check out without a key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from conftest import ADMIN_KEY, CUSTOMER
from sqlalchemy import text

from shop.extensions import db
from shop.orders import expiry

if TYPE_CHECKING:
    from conftest import Make, Shop
    from werkzeug.test import TestResponse

ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}"}
HERE = "127.0.0.1"
PAST = "UPDATE orders SET expires_at = now() - interval '1 s' WHERE id = {}"


class Buyers:
    """A shop behind one proxy, and sessions from chosen addresses."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.product: int = shop.create_product(stock=1000)["id"]

    def session(self, address: str = HERE) -> dict[str, str]:
        return self.shop.open_session() | {"X-Forwarded-For": address}

    def check_out(self, session: dict[str, str], **headers: str) -> TestResponse:
        path = f"/cart/items/{self.product}"
        sent = session | headers
        put = self.shop.request("PUT", path, json={"quantity": 1}, headers=sent)
        assert put.status_code == 200
        body = {"customer": CUSTOMER}
        return self.shop.request("POST", "/cart/checkout", json=body, headers=sent)

    def statuses(self, *sessions: dict[str, str]) -> list[int]:
        return [self.check_out(session).status_code for session in sessions]

    def sql(self, statement: str) -> list[Any]:
        with self.shop.app.app_context(), db.engine.begin() as connection:
            found = connection.execute(text(statement))
            return [tuple(row) for row in found] if found.returns_rows else []


@pytest.fixture
def buyers(make_shop: Make) -> Buyers:
    """A session may have two open orders, an address three."""
    caps = {"SESSION_OPEN_ORDERS": "2", "ADDRESS_OPEN_ORDERS": "3", "TRUSTED_PROXIES": "1"}
    return Buyers(make_shop(**caps))


def test_a_session_has_a_cap_of_open_orders_and_keeps_its_cart(buyers: Buyers) -> None:
    session = buyers.session()
    assert buyers.statuses(session, session) == [201, 201]
    stock = buyers.shop.stock_of(1)
    refused = buyers.check_out(session)
    assert refused.status_code == 409
    problem = refused.get_json()
    assert problem["type"] == "/problems/session-open-orders"
    assert (problem["open_orders"], problem["limit"]) == (2, 2)
    assert buyers.shop.stock_of(1) == stock
    [item] = buyers.shop.get("/cart", headers=session).get_json()["items"]
    assert item["quantity"] == 1


def test_the_sessions_of_an_address_share_a_cap_of_open_orders(buyers: Buyers) -> None:
    assert buyers.statuses(*(buyers.session() for _ in range(3))) == [201, 201, 201]
    refused = buyers.check_out(buyers.session())
    assert refused.status_code == 409
    problem = refused.get_json()
    assert problem["type"] == "/problems/address-open-orders"
    assert (problem["open_orders"], problem["limit"]) == (3, 3)
    assert buyers.statuses(buyers.session("192.0.2.7")) == [201]


def test_an_ipv6_network_is_one_address(buyers: Buyers) -> None:
    sessions = [buyers.session(f"2001:db8::{number}") for number in range(1, 5)]
    assert buyers.statuses(*sessions) == [201, 201, 201, 409]
    assert buyers.statuses(buyers.session("2001:db8:0:1::1")) == [201]
    kept = buyers.sql("SELECT DISTINCT client_address FROM orders ORDER BY 1")
    assert kept == [("2001:db8:0:1::/64",), ("2001:db8::/64",)]


def test_a_session_counts_for_the_address_that_it_is_used_from(buyers: Buyers) -> None:
    session = buyers.session()
    for number in range(3):
        assert buyers.statuses(buyers.session(f"192.0.2.{number}")) == [201]
    away = session | {"X-Forwarded-For": "192.0.2.0"}
    assert buyers.statuses(away, session, session) == [201, 201, 409]
    assert buyers.sql("SELECT count(*) FROM orders WHERE client_address = '192.0.2.0'") == [(2,)]


@pytest.mark.parametrize("step", ["pay", "cancel", "expire", "time"])
def test_paid_cancelled_or_expired_order_is_not_open(buyers: Buyers, step: str) -> None:
    session = buyers.session()
    assert buyers.statuses(session, session, session) == [201, 201, 409]
    if step in {"pay", "cancel"}:
        assert buyers.shop.move_order(1, step).status_code == 200
    else:
        buyers.sql(PAST.format(1))
    if step == "expire":
        assert buyers.shop.command("orders", "expire").output == "1 orders\n"
    assert buyers.statuses(session, session) == [201, 409]


def test_an_order_that_never_expires_stays_open(make_shop: Make) -> None:
    buyers = Buyers(make_shop(ORDER_PAYMENT_SECONDS="0", SESSION_OPEN_ORDERS="1"))
    session = buyers.session()
    assert buyers.statuses(session, session) == [201, 409]


def test_callers_with_a_key_have_no_cap_on_open_orders(buyers: Buyers) -> None:
    for _ in range(5):
        buyers.shop.place_order(1)
    assert buyers.statuses(buyers.session()) == [201]
    assert buyers.sql("SELECT count(*) FROM orders WHERE client_address IS NULL") == [(5,)]
    assert buyers.sql("SELECT count(*) FROM orders WHERE session_id IS NULL") == [(5,)]


def test_without_caps_nothing_is_counted_and_no_address_is_kept(make_shop: Make) -> None:
    buyers = Buyers(make_shop(SESSION_OPEN_ORDERS="0", ADDRESS_OPEN_ORDERS="0"))
    session = buyers.session()
    with buyers.shop.statements() as sent:
        assert buyers.statuses(*[session] * 25) == [201] * 25
    assert not any("pg_advisory" in one or "count(*) FILTER" in one for one in sent)
    assert buyers.sql("SELECT DISTINCT client_address FROM orders") == [(None,)]


def test_each_cap_can_be_lifted_alone(make_shop: Make) -> None:
    buyers = Buyers(make_shop(SESSION_OPEN_ORDERS="0", ADDRESS_OPEN_ORDERS="2"))
    session = buyers.session()
    assert buyers.statuses(session, session, session) == [201, 201, 409]
    assert buyers.check_out(session).get_json()["type"] == "/problems/address-open-orders"


def test_a_repeated_checkout_is_answered_beyond_the_cap(buyers: Buyers) -> None:
    session = buyers.session()
    key = {"Idempotency-Key": "the-second"}
    buyers.check_out(session)
    second = buyers.check_out(session, **key)
    body = {"customer": CUSTOMER}
    again = buyers.shop.request("POST", "/cart/checkout", json=body, headers=session | key)
    assert (again.status_code, again.data) == (201, second.data)


def test_the_end_of_a_session_frees_no_open_order_of_its_address(buyers: Buyers) -> None:
    for _ in range(3):
        session = buyers.session()
        assert buyers.statuses(session) == [201]
        ended = buyers.shop.request("DELETE", "/sessions/current", headers=session)
        assert ended.status_code == 204
    assert buyers.statuses(buyers.session()) == [409]
    assert buyers.sql("SELECT DISTINCT session_id FROM orders") == [(None,)]


def test_an_order_outlives_the_session_that_is_purged(buyers: Buyers) -> None:
    buyers.check_out(buyers.session())
    assert buyers.sql("SELECT session_id FROM orders") == [(1,)]
    buyers.sql("UPDATE sessions SET expires_at = now() - interval '1 s'")
    assert buyers.shop.command("purge").output == "1 sessions, 0 idempotency keys\n"
    assert buyers.sql("SELECT session_id, status FROM orders") == [(None, "pending")]
    assert buyers.shop.move_order(1, "pay").status_code == 200


@pytest.mark.parametrize("end", ["pay", "cancel", "expire"])
def test_the_address_is_kept_while_the_order_is_pending(buyers: Buyers, end: str) -> None:
    buyers.check_out(buyers.session("192.0.2.7"))
    assert buyers.sql("SELECT client_address FROM orders") == [("192.0.2.7",)]
    document = buyers.shop.get("/orders/1", headers=ADMIN).text
    assert "192.0.2.7" not in document
    if end == "expire":
        buyers.sql(PAST.format(1))
        with buyers.shop.app.app_context():
            assert expiry.expire_orders(1) == 1
    else:
        buyers.shop.move_order(1, end)
    assert buyers.sql("SELECT client_address, session_id FROM orders") == [(None, 1)]


def test_a_leftover_address_of_a_closed_order_is_purged(buyers: Buyers) -> None:
    """The version before, which knows of no address, leaves one when an order is paid."""
    session = buyers.session()
    assert buyers.statuses(session, session) == [201, 201]
    buyers.sql("UPDATE orders SET status = 'paid', paid_at = now() WHERE id = 1")
    before = buyers.sql("SELECT updated_at FROM orders ORDER BY id")
    assert buyers.shop.command("purge").exit_code == 0
    kept = buyers.sql("SELECT client_address FROM orders ORDER BY id")
    assert kept == [(None,), (HERE,)]
    assert buyers.sql("SELECT updated_at FROM orders ORDER BY id") == before


def test_checkouts_over_a_cap_are_counted(buyers: Buyers) -> None:
    def counted() -> dict[str, float]:
        lines = buyers.shop.get("/metrics").text.splitlines()
        name = 'shop_checkouts_over_cap_total{cap="'
        found = [one.removeprefix(name).split('"} ') for one in lines if one.startswith(name)]
        return {cap: float(count) for cap, count in found}

    before = {"session": 0.0, "address": 0.0} | counted()
    session = buyers.session()
    assert buyers.statuses(session, session, session) == [201, 201, 409]
    assert buyers.statuses(buyers.session(), buyers.session()) == [201, 409]
    assert counted() == {cap: count + 1 for cap, count in before.items()}
