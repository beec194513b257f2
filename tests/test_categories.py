"""Categories, call by call."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Shop


def test_a_created_category_is_answered_whole(a_shop: Shop) -> None:
    response = a_shop.post("/categories", name="Garden")
    category = response.get_json()
    assert response.status_code == 201
    assert response.headers["Location"] == "/categories/1"
    assert set(category) == {"id", "name", "created_at", "updated_at"}
    assert a_shop.get("/categories/1").get_json() == category


def test_an_unknown_category_is_404(a_shop: Shop) -> None:
    for path in ("/categories/1", "/categories/0", "/categories/99999999999"):
        assert a_shop.get(path).status_code == 404
    assert a_shop.put("/categories/1", name="Garden").status_code == 404
    assert a_shop.patch("/categories/1", name="Garden").status_code == 404
    assert a_shop.delete("/categories/1").status_code == 404


def test_a_list_has_a_hundred_rows_by_default_and_a_thousand_at_most(a_shop: Shop) -> None:
    ids = [a_shop.create_category(f"Category {n}")["id"] for n in range(101)]
    page = a_shop.get("/categories")
    assert [item["id"] for item in page.get_json()["items"]] == ids[:100]
    assert page.headers["Link"] == '</categories?skip=100&limit=100>; rel="next"'
    assert len(a_shop.get("/categories?limit=1000").get_json()["items"]) == 101
    assert a_shop.get("/categories?limit=1001").status_code == 422


def test_a_name_is_unique(a_shop: Shop) -> None:
    a_shop.create_category("Garden")
    other = a_shop.create_category("Kitchen")
    assert a_shop.post("/categories", name="Garden").status_code == 409
    assert a_shop.put(f"/categories/{other['id']}", name="Garden").status_code == 409
    assert a_shop.patch(f"/categories/{other['id']}", name="Garden").status_code == 409
    assert a_shop.get(f"/categories/{other['id']}").get_json() == other


def test_one_of_several_racing_creates_with_the_same_name_wins(a_shop: Shop) -> None:
    def create(_: int) -> int:
        headers = {"Authorization": f"Bearer {a_shop.key}"}
        client = a_shop.app.test_client()
        return client.post("/categories", json={"name": "Garden"}, headers=headers).status_code

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(create, range(6))) == [201, 409, 409, 409, 409, 409]


def test_put_and_patch_change_the_name(a_shop: Shop) -> None:
    category = a_shop.create_category("Garden")
    path = f"/categories/{category['id']}"
    assert a_shop.put(path, name="Gardening").get_json()["name"] == "Gardening"
    assert a_shop.get(path).get_json()["name"] == "Gardening"
    assert a_shop.patch(path, name="Outdoors").get_json()["name"] == "Outdoors"
    assert a_shop.get("/categories").get_json()["items"][0]["name"] == "Outdoors"
    assert a_shop.patch(path).get_json()["name"] == "Outdoors"


def test_a_wrong_name_is_422(a_shop: Shop) -> None:
    category = a_shop.create_category("Garden")
    for name in ("", " ", "x" * 101, "a\nb", 7, None):
        assert a_shop.post("/categories", name=name).status_code == 422
        assert a_shop.put(f"/categories/{category['id']}", name=name).status_code == 422
    assert a_shop.post("/categories").status_code == 422
    assert a_shop.post("/categories", name="Kitchen", colour="red").status_code == 422


def test_a_category_with_products_is_not_deleted(a_shop: Shop) -> None:
    product = a_shop.create_product()
    path = f"/categories/{product['category_id']}"
    assert a_shop.delete(path).status_code == 409
    assert a_shop.get(path).status_code == 200

    assert a_shop.delete(f"/products/{product['id']}").status_code == 204
    assert a_shop.delete(path).status_code == 204
    assert a_shop.get(path).status_code == 404


def test_a_category_that_is_deleted_while_a_product_joins_it_leaves_no_orphan(a_shop: Shop) -> None:
    """Either the product is there with its category, or neither is."""
    headers = {"Authorization": f"Bearer {a_shop.key}"}
    for n in range(10):
        category = a_shop.create_category(f"Garden {n}")
        fields = {"name": "Rake", "price": 1, "stock": 1, "category_id": category["id"]}

        def create(fields: dict[str, object] = fields) -> int:
            client = a_shop.app.test_client()
            return client.post("/products", json=fields, headers=headers).status_code

        def delete(path: str = f"/categories/{category['id']}") -> int:
            return a_shop.app.test_client().delete(path, headers=headers).status_code

        with ThreadPoolExecutor(2) as pool:
            created, deleted = pool.submit(create), pool.submit(delete)
        assert (created.result(), deleted.result()) in {(201, 409), (422, 204)}
