"""Idempotency-Key: a request that is sent again is carried out once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from conftest import ADMIN_KEY, CUSTOMER, await_true
from faults import execute
from sqlalchemy import text

from shop.extensions import db

if TYPE_CHECKING:
    from conftest import Make, Shop
    from werkzeug.test import TestResponse

    from dev.embedded.servers import Redis

ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}"}
KEY = {"Idempotency-Key": "b0a5d8f4-9d4e-4a0d-8f6c-2f6d7f0f8a10"}


@pytest.fixture
def shop(a_shop: Shop) -> Shop:
    a_shop.create_product(stock=5)
    return a_shop


def order(
    shop: Shop, key: str = KEY["Idempotency-Key"], *, quantity: int = 1, **headers: str
) -> TestResponse:
    body = {"customer": CUSTOMER, "lines": [{"product_id": 1, "quantity": quantity}]}
    headers["Idempotency-Key"] = key
    return shop.request("POST", "/orders", json=body, headers=headers)


def count_orders(shop: Shop) -> int:
    return len(shop.get("/orders", headers=ADMIN).get_json()["items"])


def test_a_repeat_gets_the_first_answer(shop: Shop) -> None:
    first = order(shop)
    shop.move_order(1, "pay")
    again = order(shop)
    assert (again.status_code, again.data) == (201, first.data)
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert (count_orders(shop), shop.stock_of(1)) == (1, 4)


def test_a_repeated_transition_gets_the_first_answer(shop: Shop) -> None:
    shop.place_order(1)
    first = shop.move_order(1, "cancel", **KEY)
    again = shop.move_order(1, "cancel", **KEY)
    assert (again.status_code, again.data) == (200, first.data)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert shop.stock_of(1) == 5


def test_a_key_belongs_to_one_request(shop: Shop) -> None:
    order(shop)
    shop.place_order(1)
    for answer in (order(shop, quantity=2), shop.move_order(1, "pay", **KEY)):
        assert answer.status_code == 422
        assert "another request" in answer.get_json()["detail"]
    assert shop.get("/orders/1", headers=ADMIN).get_json()["status"] == "pending"
    assert shop.stock_of(1) == 3


def test_a_key_belongs_to_one_client(shop: Shop) -> None:
    order(shop)
    made = shop.command("keys", "create", "--name", "x", "--scope", "orders:write")
    other = order(shop, Authorization=f"Bearer {made.output.split()[-1]}")
    assert (other.status_code, other.get_json()["id"]) == (201, 2)


def test_requests_without_an_idempotency_key_are_independent(shop: Shop) -> None:
    for _ in range(2):
        shop.place_order(1)
    assert count_orders(shop) == 2


def test_a_request_that_was_refused_can_be_tried_again(shop: Shop) -> None:
    shop.patch("/products/1", stock=0)
    assert order(shop).status_code == 409
    shop.patch("/products/1", stock=1)
    assert order(shop).status_code == 201
    assert order(shop).headers["Idempotent-Replayed"] == "true"


def test_a_repeat_while_the_first_is_under_way_is_a_conflict(shop: Shop) -> None:
    """Neither request waits for the other."""
    with shop.app.app_context(), db.engine.begin() as holder:
        claim = "SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"
        holder.execute(text(claim), {"name": f"admin {KEY['Idempotency-Key']}"})
        answer = order(shop)
        assert answer.status_code == 409
        assert "under way" in answer.get_json()["detail"]
    assert order(shop).status_code == 201


@pytest.mark.parametrize("key", ["", " ", "two words", "é", "x" * 256])
def test_an_invalid_idempotency_key_is_refused(shop: Shop, key: str) -> None:
    answer = order(shop, key)
    assert answer.status_code == 400
    assert "Idempotency-Key" in answer.get_json()["detail"]
    assert count_orders(shop) == 0


@pytest.mark.parametrize("key", ["k", '"quoted"', "x" * 255, "%00"])
def test_any_visible_characters_are_a_key(shop: Shop, key: str) -> None:
    assert order(shop, key).status_code == 201
    assert order(shop, key).headers["Idempotent-Replayed"] == "true"


def age(shop: Shop, seconds: int) -> None:
    """Make all kept answers older."""
    with shop.app.app_context(), db.engine.begin() as connection:
        connection.execute(
            text("UPDATE idempotency_keys SET created_at = created_at - :s * interval '1 second'"),
            {"s": seconds},
        )


def test_an_idempotency_key_is_forgotten_after_a_day(shop: Shop) -> None:
    order(shop)
    age(shop, 86_400 - 60)
    assert order(shop).headers["Idempotent-Replayed"] == "true"
    age(shop, 60)
    assert order(shop).get_json()["id"] == 2
    again = order(shop)
    assert (again.get_json()["id"], again.headers["Idempotent-Replayed"]) == (2, "true")


def test_expired_idempotency_keys_are_purged(shop: Shop) -> None:
    order(shop)
    age(shop, 86_400)
    order(shop, "new")
    assert shop.command("purge").output == "0 sessions, 1 idempotency keys\n"
    assert shop.command("purge").output == "0 sessions, 0 idempotency keys\n"
    assert order(shop, "new").headers["Idempotent-Replayed"] == "true"


@pytest.mark.hurried
def test_a_repeat_is_not_answered_before_the_first_is_committed(
    make_shop: Make, own_redis: Redis
) -> None:
    """A worker that cannot tell Redis waits after its COMMIT; what it wrote can be seen by then."""
    cut_off = make_shop(REDIS_URL="redis://127.0.0.1:1")
    other = make_shop(REDIS_URL=own_redis.url)
    cut_off.create_product(stock=1000)
    for number in range(3):
        key = str(number)
        assert other.stock_of(1) == 1000 - number
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(order, cut_off, key)
            await_true(lambda: other.stock_of(1) and count_orders(other) > number)  # noqa: B023
            again = order(other, key)
            assert again.headers["Idempotent-Replayed"] == "true"
            assert other.stock_of(1) == 1000 - number - 1
            assert first.result().data == again.data


FAIL = """
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE SQLSTATE 'XX000'; END $$;
CREATE TRIGGER fail BEFORE INSERT ON idempotency_keys FOR EACH ROW EXECUTE FUNCTION fail()
"""


def test_the_answer_and_the_order_are_kept_together_or_not_at_all(shop: Shop) -> None:
    execute(shop, FAIL)
    try:
        assert order(shop).status_code == 500
    finally:
        execute(shop, "DROP FUNCTION fail CASCADE")
    assert (count_orders(shop), shop.stock_of(1)) == (0, 5)
    assert order(shop).status_code == 201
