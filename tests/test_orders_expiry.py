"""Orders that are not paid in time: they cannot be paid later, and give their stock back once."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
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
LATE = {"type": "/problems/order-expired", "title": "Order expired", "status": 409}


@pytest.fixture
def shop(a_shop: Shop) -> Shop:
    """A shop with a rake (1)."""
    a_shop.create_product(name="Rake", price="19.90", stock=5)
    return a_shop


def sql(shop: Shop, statement: str) -> list[Any]:
    with shop.app.app_context(), db.engine.begin() as connection:
        found = connection.execute(text(statement))
        return list(found) if found.returns_rows else []


def let_expire(shop: Shop, order_id: int) -> None:
    """Let the time of an order be over, as far as the database knows."""
    past = "date_trunc('second', now() - interval '1 minute')"
    sql(shop, f"UPDATE orders SET expires_at = {past} WHERE id = {order_id}")


def let_two_expire(shop: Shop) -> None:
    """Let an order of each of two products expire."""
    shop.create_product(name="Spade", stock=5)
    for order_id, product_id in ((1, 1), (2, 2)):
        shop.place_order(product_id)
        let_expire(shop, order_id)
    expiry._warn.cache_clear()  # it says each once in the life of a process


def expire(shop: Shop) -> str:
    result = shop.command("orders", "expire")
    assert result.exit_code == 0, result.output
    output: str = result.output
    return output


def order(shop: Shop, order_id: int) -> dict[str, Any]:
    found: dict[str, Any] = shop.get(f"/orders/{order_id}", headers=ADMIN).get_json()
    return found


def test_an_order_has_a_payment_deadline(shop: Shop) -> None:
    made = shop.place_order(1)
    times = [datetime.fromisoformat(made[name]) for name in ("created_at", "expires_at")]
    assert times[1] - times[0] == timedelta(minutes=30)
    assert made["cancel_reason"] is None
    assert order(shop, 1) == made


def test_the_time_to_pay_is_a_setting(make_shop: Make) -> None:
    shop = make_shop(ORDER_PAYMENT_SECONDS="7")
    shop.create_product()
    made = shop.place_order(1)
    times = [datetime.fromisoformat(made[name]) for name in ("created_at", "expires_at")]
    assert times[1] - times[0] == timedelta(seconds=7)


def test_no_order_expires_without_a_payment_deadline(make_shop: Make) -> None:
    shop = make_shop(ORDER_PAYMENT_SECONDS="0")
    shop.create_product()
    assert shop.place_order(1)["expires_at"] is None
    assert expire(shop) == "0 orders\n"
    assert shop.move_order(1, "pay").status_code == 200


def test_an_order_that_is_paid_in_time_does_not_expire(shop: Shop) -> None:
    shop.place_order(1)
    paid = shop.move_order(1, "pay").get_json()
    assert (paid["status"], paid["expires_at"], paid["cancel_reason"]) == ("paid", None, None)
    assert expire(shop) == "0 orders\n"
    cancelled = shop.move_order(1, "cancel").get_json()
    assert (cancelled["expires_at"], cancelled["cancel_reason"]) == (None, "requested")


def test_a_late_order_cannot_be_paid_before_or_after_its_expiry_is_recorded(shop: Shop) -> None:
    shop.place_order(1)
    let_expire(shop, 1)
    assert order(shop, 1)["status"] == "pending"
    assert_late(shop, shop.move_order(1, "pay"))
    assert expire(shop) == "1 orders\n"
    assert_late(shop, shop.move_order(1, "pay"))
    assert order(shop, 1)["paid_at"] is None


def assert_late(shop: Shop, answer: TestResponse) -> None:
    problem = answer.get_json()
    assert LATE.items() <= problem.items()
    assert problem["order_id"] == 1
    assert problem["expires_at"] == order(shop, 1)["expires_at"]


def test_an_expired_order_is_cancelled_and_its_stock_returned_once(shop: Shop) -> None:
    shop.place_order(1, quantity=2)
    let_expire(shop, 1)
    assert shop.stock_of(1) == 3
    assert expire(shop) == "1 orders\n"
    assert shop.stock_of(1) == 5  # and not what the cache had
    ended = order(shop, 1)
    assert (ended["status"], ended["cancel_reason"]) == ("cancelled", "expired")
    assert ended["expires_at"] < ended["cancelled_at"] == ended["updated_at"]
    assert expire(shop) == "0 orders\n"
    assert shop.move_order(1, "cancel").get_json()["type"] == "/problems/order-status"
    assert shop.stock_of(1) == 5


def test_a_cancellation_says_that_it_was_requested(shop: Shop) -> None:
    made = shop.place_order(1)
    cancelled = shop.move_order(1, "cancel").get_json()
    assert (cancelled["status"], cancelled["cancel_reason"]) == ("cancelled", "requested")
    assert cancelled["expires_at"] == made["expires_at"]


def test_a_late_order_can_be_cancelled_by_hand(shop: Shop) -> None:
    shop.place_order(1)
    let_expire(shop, 1)
    assert shop.move_order(1, "cancel").get_json()["cancel_reason"] == "expired"
    assert expire(shop) == "0 orders\n"
    assert shop.stock_of(1) == 5


def test_a_repeated_payment_is_answered_as_the_first_also_when_it_is_late(shop: Shop) -> None:
    shop.place_order(1)
    key = {"Idempotency-Key": "pay-1"}
    first = shop.move_order(1, "pay", **key)
    let_expire(shop, 1)
    again = shop.move_order(1, "pay", **key)
    assert (again.status_code, again.data) == (200, first.data)
    assert expire(shop) == "0 orders\n"


def test_a_refused_payment_is_not_kept_under_its_key(shop: Shop) -> None:
    shop.place_order(1)
    let_expire(shop, 1)
    assert shop.move_order(1, "pay", **{"Idempotency-Key": "late"}).status_code == 409
    sql(shop, "UPDATE orders SET expires_at = now() + interval '1 hour'")
    assert shop.move_order(1, "pay", **{"Idempotency-Key": "late"}).status_code == 200


def test_expiry_leaves_other_orders_alone(shop: Shop) -> None:
    for _ in range(5):
        shop.place_order(1)
    shop.move_order(1, "pay", "ship")
    shop.move_order(2, "cancel")
    sql(shop, "UPDATE orders SET expires_at = NULL WHERE id = 4")  # of a version before
    let_expire(shop, 5)
    assert expire(shop) == "1 orders\n"
    statuses = sql(shop, "SELECT status FROM orders ORDER BY id")
    assert [row[0] for row in statuses] == [
        "shipped", "cancelled", "pending", "pending", "cancelled",
    ]  # fmt: skip


def test_an_order_that_is_locked_is_left_for_the_next_run(shop: Shop) -> None:
    for order_id in (1, 2):
        shop.place_order(1)
        let_expire(shop, order_id)
    with shop.app.app_context(), db.engine.begin() as other:
        other.execute(text("SELECT FROM orders WHERE id = 1 FOR UPDATE"))
        assert expire(shop) == "1 orders\n"
    assert [order(shop, one)["status"] for one in (1, 2)] == ["pending", "cancelled"]
    assert expire(shop) == "1 orders\n"


def test_an_order_that_cannot_be_cancelled_does_not_stop_others(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    let_two_expire(shop)
    shop.patch("/products/1", stock=2**31 - 1)
    for done in ("1 orders\n", "0 orders\n"):
        assert expire(shop) == done
    assert [order(shop, one)["status"] for one in (1, 2)] == ["pending", "cancelled"]
    said = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert len([one for one in said if "Order 1 was not paid in time, and cannot" in one]) == 1


def test_an_order_whose_product_is_locked_does_not_stop_others(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """An operator's transaction, which may take long, holds the lock."""
    let_two_expire(shop)
    with shop.app.app_context(), db.engine.begin() as other:
        other.execute(text("SELECT FROM products WHERE id = 1 FOR UPDATE"))
        assert expire(shop) == "1 orders\n"
    assert [order(shop, one)["status"] for one in (1, 2)] == ["pending", "cancelled"]
    assert "Order 1 was not paid in time, and cannot be cancelled: what it needs" in caplog.text
    assert expire(shop) == "1 orders\n"


def test_more_late_orders_than_one_batch_all_expire(shop: Shop) -> None:
    for _ in range(5):
        shop.place_order(1)
    sql(shop, "UPDATE orders SET expires_at = now() - interval '1 s'")
    with shop.app.app_context():
        assert [expiry.expire_orders(2) for _ in range(4)] == [2, 2, 1, 0]
    assert shop.stock_of(1) == 5


def test_an_expired_order_is_no_longer_a_sale(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "shop")
    for _ in range(2):
        shop.place_order(1)
    [before] = shop.get("/products/trending").get_json()["items"]
    let_expire(shop, 2)
    assert counted(shop, "shop_orders_overdue ") == 1
    expired = counted(shop, 'shop_orders_total{event="expired"} ')
    expire(shop)
    [after] = shop.get("/products/trending").get_json()["items"]
    assert round(after["score"] / before["score"], 2) == 0.5
    assert counted(shop, "shop_orders_overdue ") == 0
    assert counted(shop, 'shop_orders_total{event="expired"} ') == expired + 1
    assert "Order 2 was not paid in time, and is cancelled" in caplog.messages
    assert not any(part in caplog.text for part in CUSTOMER.values())
    statuses = shop.get("/stats/dashboard", headers=ADMIN).get_json()["orders"]
    assert (statuses["pending"], statuses["cancelled"]) == (1, 1)


def counted(shop: Shop, line: str) -> float:
    lines = shop.get("/metrics").text.splitlines()
    return sum(float(one.split()[-1]) for one in lines if one.startswith(line))


def test_orders_expire_without_redis(make_shop: Make) -> None:
    shop = make_shop(REDIS_ENABLED="false")
    shop.create_product(stock=2)
    shop.place_order(1)
    let_expire(shop, 1)
    assert expire(shop) == "1 orders\n"
    assert shop.stock_of(1) == 2


def test_the_time_of_the_next_expiry_is_known(shop: Shop) -> None:
    with shop.app.app_context():
        assert expiry.seconds_to_next_expiry() is None
        for _ in range(2):
            shop.place_order(1)
        sql(shop, "UPDATE orders SET expires_at = now() + interval '1 hour' WHERE id = 2")
        let_expire(shop, 1)
        left = expiry.seconds_to_next_expiry()
    assert left is not None
    assert 3000 < left <= 3600
