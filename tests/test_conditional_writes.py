"""Writes that depend on what their sender has read, and stock that changes by a difference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Shop

GONE = '"0123456789abcdef01234567"'


@pytest.fixture
def shop(a_shop: Shop) -> Shop:
    a_shop.create_product(stock=5)
    return a_shop


def writes(path: str) -> list[tuple[str, str, dict[str, Any] | None]]:
    """All writes of one row; the last one deletes it."""
    if path.startswith("/categories"):
        return [
            ("PUT", path, {"name": "Hall"}),
            ("PATCH", path, {"name": "Yard"}),
            ("DELETE", path, None),
        ]
    whole = {"name": "Hoe", "price": "5", "stock": 5, "category_id": 1}
    return [
        ("PUT", path, whole),
        ("PATCH", path, {"name": "Spade"}),
        ("PATCH", f"{path}/stock", {"delta": 1}),
        ("DELETE", path, None),
    ]


@pytest.mark.parametrize("path", ["/products/1", "/categories/2"])
def test_a_write_is_refused_when_its_row_has_moved(shop: Shop, path: str) -> None:
    shop.create_category("Attic")
    read = shop.get(path)
    for seen in (GONE, f"W/{read.headers['ETag']}", "", "*x"):
        for method, address, body in writes(path):
            answer = shop.request(method, address, json=body, headers={"If-Match": seen})
            assert answer.status_code == 412
            assert answer.get_json()["status"] == 412
    assert shop.get(path).data == read.data


@pytest.mark.parametrize("path", ["/products/1", "/categories/2"])
def test_each_write_returns_the_etag_for_the_next_write(shop: Shop, path: str) -> None:
    shop.create_category("Attic")
    etag = shop.get(path).headers["ETag"]
    *changes, deletion = writes(path)
    for method, address, body in changes:
        answer = shop.request(method, address, json=body, headers={"If-Match": etag})
        assert answer.status_code == 200
        assert answer.headers["ETag"] != etag
        etag = answer.headers["ETag"]
        read = shop.get(path)
        assert (read.headers["ETag"], read.data) == (etag, answer.data)
    method, address, _ = deletion
    seen = {"If-Match": f"{GONE}, {etag}"}
    assert shop.request(method, address, headers=seen).status_code == 204


@pytest.mark.parametrize("path", ["/products/1", "/categories/1"])
def test_a_weak_etag_is_refused_with_the_reason(shop: Shop, path: str) -> None:
    etag = shop.get(path).headers["ETag"]
    for seen, reason in ((f"W/{etag}", "is weak"), (f'W/{GONE}, "x"', "changed since")):
        answer = shop.request("PATCH", path, json={}, headers={"If-Match": seen})
        assert answer.status_code == 412
        assert reason in answer.get_json()["detail"]
    both = {"If-Match": f"W/{etag}, {etag}"}
    assert shop.request("PATCH", path, json={}, headers=both).status_code == 200


def test_if_match_with_a_star_matches_any_version(shop: Shop) -> None:
    star = {"If-Match": "*"}
    assert shop.request("PATCH", "/products/1", json={}, headers=star).status_code == 200
    assert shop.request("PATCH", "/products/9", json={}, headers=star).status_code == 404


def test_creation_answers_the_etag(shop: Shop) -> None:
    made = shop.post("/products", name="Hoe", price="5", stock=1, category_id=1)
    assert made.headers["ETag"] == shop.get("/products/2").headers["ETag"]


def test_a_sale_moves_the_product(shop: Shop) -> None:
    seen = {"If-Match": shop.get("/products/1").headers["ETag"]}
    shop.place_order(1)
    answer = shop.request("PATCH", "/products/1", json={"stock": 99}, headers=seen)
    assert (answer.status_code, shop.stock_of(1)) == (412, 4)


@pytest.mark.parametrize(
    ("delta", "left"), [(1, 6), (-5, 0), (0, 5), (2_147_483_642, 2_147_483_647)]
)
def test_stock_changes_by_a_difference(shop: Shop, delta: int, left: int) -> None:
    answer = shop.patch("/products/1/stock", delta=delta)
    assert (answer.status_code, answer.get_json()["stock"]) == (200, left)
    assert shop.stock_of(1) == left


@pytest.mark.parametrize("delta", [-6, -2_147_483_647, 2_147_483_643, 2_147_483_647])
def test_stock_stays_within_its_bounds(shop: Shop, delta: int) -> None:
    answer = shop.patch("/products/1/stock", delta=delta)
    assert (answer.status_code, shop.stock_of(1)) == (409, 5)
    assert answer.get_json()["detail"] == "Product 1 has a stock of 5."


@pytest.mark.parametrize(
    "body", [{}, {"delta": None}, {"delta": "1"}, {"delta": 1.5}, {"delta": 2**40}, {"stock": 1}]
)
def test_a_wrong_difference_is_refused(shop: Shop, body: dict[str, Any]) -> None:
    assert shop.request("PATCH", "/products/1/stock", json=body).status_code == 422
    assert shop.stock_of(1) == 5


def test_only_a_key_with_catalog_write_changes_stock(shop: Shop) -> None:
    assert shop.patch("/products/9/stock", delta=1).status_code == 404
    shop.key = None
    assert shop.patch("/products/1/stock", delta=1).status_code == 401
