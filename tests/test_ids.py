"""Ids: what uses one up, and that those of what grows with traffic do not run out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from conftest import CUSTOMER
from sqlalchemy import text

from shop.extensions import db

if TYPE_CHECKING:
    from conftest import Make, Shop


def sequences(shop: Shop) -> dict[str, int | None]:
    """Return the last value that each sequence of the database has given."""
    with shop.app.app_context(), db.engine.connect() as connection:
        found = connection.execute(text("SELECT sequencename, last_value FROM pg_sequences"))
        return {name: last for name, last in found}  # noqa: C416  (rows are no pairs to mypy)


def product(**fields: Any) -> dict[str, Any]:
    return {"name": "Hoe", "price": "1.50", "stock": 1, "category_id": 1} | fields


def order(product_id: int, quantity: int = 1) -> dict[str, Any]:
    line = {"product_id": product_id, "quantity": quantity}
    return {"customer": CUSTOMER, "lines": [line]}


REFUSED: list[tuple[str, dict[str, Any], int]] = [
    ("/products", product(sku="TAKEN"), 409),
    ("/products", product(category_id=9), 422),
    ("/products", product(currency="JPY"), 422),
    ("/products", product(name=""), 422),
    ("/categories", {"name": "Garden"}, 409),
    ("/categories", {"name": ""}, 422),
    ("/orders", order(1, quantity=4), 409),
    ("/orders", order(9), 422),
    ("/orders", order(1, quantity=0), 422),
]


@pytest.mark.parametrize(("path", "body", "status"), REFUSED)
def test_a_request_that_is_refused_uses_up_no_id(
    a_shop: Shop, path: str, body: dict[str, Any], status: int
) -> None:
    """Or whoever may write could use them all up."""
    a_shop.create_product(sku="TAKEN")
    before = sequences(a_shop)
    for _ in range(3):
        assert a_shop.post(path, **body).status_code == status
    assert sequences(a_shop) == before


def test_a_cart_and_a_checkout_that_is_refused_use_up_no_id(a_shop: Shop) -> None:
    a_shop.create_product()
    session = a_shop.open_session()
    before = sequences(a_shop)
    for quantity in (1, 2, 4):
        a_shop.request("PUT", "/cart/items/1", json={"quantity": quantity}, headers=session)
    checkout = {"json": {"customer": CUSTOMER}, "headers": session}
    assert a_shop.request("POST", "/cart/checkout", **checkout).status_code == 409
    assert sequences(a_shop) == before


def test_a_request_that_is_repeated_with_its_idempotency_key_uses_up_one_id(a_shop: Shop) -> None:
    a_shop.create_product()
    once = {"json": order(1), "headers": {"Idempotency-Key": "once"}}
    for _ in range(3):
        assert a_shop.request("POST", "/orders", **once).status_code == 201
    assert sequences(a_shop)["orders_id_seq"] == 1


def test_a_request_that_a_limit_refuses_uses_up_no_id(make_shop: Make) -> None:
    shop = make_shop(SESSION_LIMIT_CALLS="1")
    shop.key = None
    assert shop.post("/sessions").status_code == 201
    before = sequences(shop)
    assert shop.post("/sessions").status_code == 429
    assert sequences(shop) == before
