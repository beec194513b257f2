"""Products, call by call."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from shop.pages import dump
from shop.products import rows

if TYPE_CHECKING:
    from conftest import Shop

FIELDS = {
    "id", "name", "description", "sku", "price", "currency", "stock", "category_id", "active",
    "created_at", "updated_at",
}  # fmt: skip


def test_a_created_product_is_answered_whole(a_shop: Shop) -> None:
    category = a_shop.create_category()
    response = a_shop.post(
        "/products", name="Rake", price="19.9", stock=3, category_id=category["id"]
    )
    product = response.get_json()
    assert response.status_code == 201
    assert response.headers["Location"] == f"/products/{product['id']}"
    assert set(product) == FIELDS
    assert product | {"created_at": 0, "updated_at": 0} == {
        "id": 1, "name": "Rake", "description": "", "sku": None, "price": "19.90",
        "currency": "EUR", "stock": 3, "category_id": category["id"], "active": True,
        "created_at": 0, "updated_at": 0,
    }  # fmt: skip
    assert product["created_at"].endswith("Z")
    assert a_shop.get(response.headers["Location"]).get_json() == product


def test_an_unknown_product_is_404(a_shop: Shop) -> None:
    too_large = ("2147483648", "9999999999", "9" * 5000)
    for name in ("1", "2147483647", *too_large, "0", "007", "-1", "1.0", "x", "%D9%A1"):
        for method in ("GET", "DELETE", "PATCH"):
            assert a_shop.request(method, f"/products/{name}", json={}).status_code == 404


def test_a_list_is_in_id_order_and_links_to_its_neighbours(a_shop: Shop) -> None:
    ids = [a_shop.create_product(name=f"Rake {n}")["id"] for n in range(5)]

    first = a_shop.get("/products?skip=0&limit=2")
    assert [item["id"] for item in first.get_json()["items"]] == ids[:2]
    assert (first.get_json()["skip"], first.get_json()["limit"]) == (0, 2)
    assert first.headers["Link"] == '</products?skip=2&limit=2>; rel="next"'

    middle = a_shop.get("/products?skip=1&limit=2")
    assert middle.headers["Link"] == (
        '</products?skip=0&limit=2>; rel="prev", </products?skip=3&limit=2>; rel="next"'
    )
    last = a_shop.get("/products?skip=3&limit=2")
    assert [item["id"] for item in last.get_json()["items"]] == ids[3:]
    assert last.headers["Link"] == '</products?skip=1&limit=2>; rel="prev"'
    assert a_shop.get("/products?skip=9").get_json()["items"] == []


def test_a_list_has_ten_rows_by_default_and_a_hundred_at_most(a_shop: Shop) -> None:
    for n in range(11):
        a_shop.create_product(name=f"Rake {n}")
    assert len(a_shop.get("/products").get_json()["items"]) == 10
    assert len(a_shop.get("/products?limit=100").get_json()["items"]) == 11
    assert a_shop.get("/products?limit=101").status_code == 422


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("skip", value) for value in ("-1", "x", "", "1e1", "2147483648", "9" * 30)],
        *[("limit", value) for value in ("0", "x", "", "1e1", "1_0", " 1", "1.0")],
    ],
)
def test_a_wrong_page_is_422(a_shop: Shop, field: str, value: str) -> None:
    response = a_shop.get(f"/products?{field}={value}")
    assert response.status_code == 422
    assert [error["field"] for error in response.get_json()["errors"]] == [field]


def test_put_replaces_all_fields_and_patch_only_those_sent(a_shop: Shop) -> None:
    product = a_shop.create_product(description="Long handle", sku="RK-1", active=False)
    path = f"/products/{product['id']}"

    patched = a_shop.patch(path, stock=0).get_json()
    assert patched == product | {"stock": 0, "updated_at": patched["updated_at"]}
    assert patched["updated_at"] > product["updated_at"]

    replaced = a_shop.put(
        path, name="Broom", price=5, stock=1, category_id=product["category_id"]
    ).get_json()
    assert replaced["description"] == ""
    assert replaced["sku"] is None
    assert replaced["active"] is True
    assert replaced["created_at"] == product["created_at"]
    assert a_shop.get(path).get_json() == replaced


def test_an_empty_patch_changes_nothing(a_shop: Shop) -> None:
    product = a_shop.create_product()
    response = a_shop.patch(f"/products/{product['id']}")
    assert response.status_code == 200
    assert response.get_json() == product


@pytest.mark.parametrize("field", ["name", "stock", "price", "active", "sku"])
def test_a_patch_that_changes_nothing_is_no_update(a_shop: Shop, field: str) -> None:
    product = a_shop.create_product()
    with a_shop.statements() as sent:
        response = a_shop.patch(f"/products/{product['id']}", **{field: product[field]})
    assert response.get_json() == product
    assert [one for one in sent if one.startswith("UPDATE")] == []


def test_one_statement_changes_a_product(a_shop: Shop) -> None:
    """The product is read first only for a price or a condition."""
    product = a_shop.create_product()
    path = f"/products/{product['id']}"
    with a_shop.statements() as sent:
        changed = a_shop.patch(path, stock=7, name="Spade").get_json()
    assert len(sent) == 1
    assert changed["updated_at"] > product["updated_at"]
    assert changed == product | {"stock": 7, "name": "Spade", "updated_at": changed["updated_at"]}
    assert a_shop.get(path).get_json() == changed


def test_a_deleted_product_is_gone(a_shop: Shop) -> None:
    path = f"/products/{a_shop.create_product()['id']}"
    response = a_shop.delete(path)
    assert (response.status_code, response.data) == (204, b"")
    assert a_shop.get(path).status_code == 404
    assert a_shop.delete(path).status_code == 404
    assert a_shop.get("/products").get_json()["items"] == []


def test_writes_to_an_unknown_product_are_404(a_shop: Shop) -> None:
    category = a_shop.create_category()
    fields = {"name": "Rake", "price": 1, "stock": 1, "category_id": category["id"]}
    assert a_shop.put("/products/9", **fields).status_code == 404
    assert a_shop.patch("/products/9", stock=1).status_code == 404
    assert a_shop.delete("/products/9").status_code == 404


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""), ("name", "   "), ("name", "x" * 201), ("name", "a\x00b"), ("name", "\ud800"),
        ("name", "a\n"),        ("name", 5), ("name", None),
        ("price", 0), ("price", -1), ("price", "0.00"), ("price", "1.999"), ("price", 1.999),
        ("price", "1e2"), ("price", "NaN"), ("price", ""), ("price", True), ("price", None),
        ("price", "10000000000"), ("price", [1]), ("price", " 1"),
        ("stock", -1), ("stock", 1.5), ("stock", "3"), ("stock", True), ("stock", 2**31),
        ("stock", 10**30), ("stock", None),
        ("category_id", 0), ("category_id", "1"), ("category_id", None),
        ("currency", "EURO"), ("currency", "eur"), ("currency", "ZZZ"), ("currency", None),
        ("sku", ""), ("sku", "a b"), ("sku", "x" * 65), ("sku", "-a"), ("sku", "a\n"),
        ("active", "yes"), ("active", 1), ("active", None),
        ("description", "x" * 10_001), ("description", None), ("description", "a\x00"),
        ("id", 7), ("colour", "red"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_422_and_named(a_shop: Shop, field: str, value: Any) -> None:
    product = a_shop.create_product()
    fields = {"name": "Rake", "price": "1.00", "stock": 1, "category_id": product["category_id"]}
    for response in (
        a_shop.post("/products", **fields | {field: value}),
        a_shop.put(f"/products/{product['id']}", **fields | {field: value}),
        a_shop.patch(f"/products/{product['id']}", **{field: value}),
    ):
        assert response.status_code == 422
        assert [error["field"] for error in response.get_json()["errors"]] == [field]
    assert a_shop.get(f"/products/{product['id']}").get_json() == product


def test_missing_fields_are_named_one_by_one(a_shop: Shop) -> None:
    response = a_shop.post("/products")
    assert response.status_code == 422
    named = {error["field"] for error in response.get_json()["errors"]}
    assert named == {"name", "price", "stock", "category_id"}


def test_an_unknown_category_is_422(a_shop: Shop) -> None:
    product = a_shop.create_product()
    for response in (
        a_shop.post("/products", name="Rake", price=1, stock=1, category_id=99),
        a_shop.patch(f"/products/{product['id']}", category_id=99),
    ):
        assert response.status_code == 422
        assert response.get_json()["errors"] == [
            {"field": "category_id", "detail": "There is no category 99."}
        ]


def test_a_sku_is_unique(a_shop: Shop) -> None:
    first = a_shop.create_product(sku="RK-1")
    second = a_shop.create_product(sku="RK-2")
    again = {"name": "Rake", "price": 1, "stock": 1, "category_id": first["category_id"]}
    assert a_shop.post("/products", **again, sku="RK-1").status_code == 409
    assert a_shop.patch(f"/products/{second['id']}", sku="RK-1").status_code == 409
    assert a_shop.patch(f"/products/{second['id']}", sku="RK-2").status_code == 200


def test_one_of_several_racing_creates_with_the_same_sku_wins(a_shop: Shop) -> None:
    category = a_shop.create_category()

    def create(n: int) -> int:
        fields = {"name": f"Rake {n}", "price": 1, "stock": 1, "category_id": category["id"]}
        client = a_shop.app.test_client()
        headers = {"Authorization": f"Bearer {a_shop.key}"}
        return client.post("/products", json={**fields, "sku": "RK"}, headers=headers).status_code

    with ThreadPoolExecutor(6) as pool:
        statuses = sorted(pool.map(create, range(6)))
    assert statuses == [201, 409, 409, 409, 409, 409]


def test_a_racing_write_is_answered_with_what_it_wrote(a_shop: Shop) -> None:
    """The answer does not depend on a later change or deletion of the row."""
    headers = {"Authorization": f"Bearer {a_shop.key}"}

    def patch(stock: int) -> None:
        client = a_shop.app.test_client()
        for path in paths:
            response = client.patch(path, json={"stock": stock}, headers=headers)
            assert response.status_code in {200, 404}
            if response.status_code == 200:
                assert response.get_json()["stock"] == stock

    def delete() -> None:
        client = a_shop.app.test_client()
        for path in paths:
            assert client.delete(path, headers=headers).status_code == 204

    paths = [f"/products/{a_shop.create_product(name=f'Rake {n}')['id']}" for n in range(40)]
    with ThreadPoolExecutor(4) as pool:
        jobs = [*(pool.submit(patch, stock) for stock in (1, 2, 3)), pool.submit(delete)]
    for job in jobs:
        job.result()


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        ("0.1", "0.10"), ("9007199254740993.0", None), ("0.30", "0.30"), ("1e1", "10.00"),
        ("9999999999.99", "9999999999.99"), ("4", "4.00"), ('"0.07"', "0.07"), ("0.070", "0.07"),
        ("0.1000000000000000055511151231257827", None),
    ],
)  # fmt: skip
def test_money_is_exact(a_shop: Shop, sent: str, answered: str | None) -> None:
    """A number of the body is a decimal: what a float would round is refused, not stored."""
    product = a_shop.create_product()
    response = a_shop.request(
        "PATCH",
        f"/products/{product['id']}",
        data=f'{{"price": {sent}}}',
        content_type="application/json",
    )
    if answered is None:
        assert response.status_code == 422
    else:
        assert response.get_json()["price"] == answered
        assert a_shop.get(f"/products/{product['id']}").get_json()["price"] == answered


def test_a_document_is_what_its_schema_makes_of_a_row() -> None:
    made = datetime(2026, 1, 2, 3, 4, 5, 678, UTC)
    values = (7, "Räke", "", None, Decimal("1.250"), "KWD", 0, 3, False, made, made)
    row = dict(zip(rows.COLUMN_NAMES, values, strict=True))
    for changed in ({}, {"sku": "A-1", "price": Decimal(100), "currency": "JPY", "active": True}):
        assert rows.document(row | changed) == dump(rows.schema.dump(row | changed))
