"""Ids: the requests that use one up, and room for the ids of tables that grow with traffic."""

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
    """A caller with write access could use up all ids otherwise."""
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


def begin_ids_at(shop: Shop, first: int) -> None:
    """Let the next session and the next order have this id."""
    with shop.app.app_context(), db.engine.begin() as connection:
        for name in ("sessions", "orders"):
            connection.execute(text(f"SELECT setval('{name}_id_seq', {first}, false)"))


@pytest.mark.parametrize("first", [2**31 - 1, 2**31, 2**32, 2**53 - 1])
def test_sessions_and_orders_get_ids_beyond_four_bytes(a_shop: Shop, first: int) -> None:
    a_shop.create_product()
    begin_ids_at(a_shop, first)
    session = a_shop.open_session()
    put = a_shop.request("PUT", "/cart/items/1", json={"quantity": 2}, headers=session)
    assert put.status_code == 200
    once = session | {"Idempotency-Key": "once"}
    for _ in range(2):
        placed = a_shop.request("POST", "/cart/checkout", json={"customer": CUSTOMER}, headers=once)
        assert placed.status_code == 201
        assert placed.headers["Location"] == f"/orders/{first}"
        assert placed.get_json()["id"] == first
    assert a_shop.get(f"/orders/{first}", headers=session).get_json()["id"] == first
    with_key = {"Authorization": f"Bearer {a_shop.key}"}
    assert a_shop.move_order(first, "pay", "ship", "deliver").status_code == 200
    listed = a_shop.get("/orders?limit=1", headers=with_key).get_json()["items"]
    assert [one["id"] for one in listed] == [first]
    assert a_shop.get(f"/orders?after={first}", headers=with_key).get_json()["items"] == []


@pytest.mark.parametrize("name", [2**53, 2**63, "9" * 40])
def test_an_id_that_no_row_can_have_is_not_found(a_shop: Shop, name: int | str) -> None:
    with_key = {"Authorization": f"Bearer {a_shop.key}"}
    assert a_shop.get(f"/orders/{name}", headers=with_key).status_code == 404
    assert a_shop.post(f"/orders/{name}/pay").status_code == 404
    assert a_shop.get(f"/orders?after={name}", headers=with_key).status_code == 422
    for kind in ("products", "categories"):
        assert a_shop.get(f"/{kind}/{name}").status_code == 404
