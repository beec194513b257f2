"""Kinds of problems: each has a type, a page and members of its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from shop.problems import problem_types

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Make, Shop
    from werkzeug.test import TestResponse

CUSTOMER = {"name": "A. Customer", "email": "customer@example.com"}
COMMON = {"type", "title", "status", "detail", "instance", "request_id", "errors"}


@pytest.fixture
def shop(a_shop: Shop) -> Shop:
    a_shop.create_product(sku="RK-1")
    a_shop.create_product(sku="RK-2", currency="CHF")
    a_shop.create_product(active=False)
    return a_shop


def order(shop: Shop, *lines: tuple[int, int], **headers: str) -> TestResponse:
    body = {
        "customer": CUSTOMER,
        "lines": [{"product_id": one, "quantity": quantity} for one, quantity in lines],
    }
    return shop.request("POST", "/orders", json=body, headers=headers)


def of_session(shop: Shop, method: str, path: str, **options: Any) -> TestResponse:
    return shop.request(method, path, headers=shop.open_session(), **options)


def pay_twice(shop: Shop) -> TestResponse:
    shop.place_order(1)
    return shop.move_order(1, "pay", "pay")


def send_another(shop: Shop) -> TestResponse:
    key = {"Idempotency-Key": "one"}
    order(shop, (1, 1), **key)
    return order(shop, (1, 2), **key)


def delete_ordered(shop: Shop) -> TestResponse:
    shop.place_order(1)
    return shop.delete("/products/1")


def without_key(shop: Shop, **headers: str) -> TestResponse:
    return shop.client.post("/products", json={}, headers=headers)


def with_a_reader(shop: Shop) -> TestResponse:
    key = shop.command("keys", "create", "--name", "reader").output.split()[-1]
    return without_key(shop, Authorization=f"Bearer {key}")


def raw(shop: Shop, body: bytes, content_type: str = "application/json") -> TestResponse:
    return shop.request("POST", "/categories", data=body, content_type=content_type)


CALLS: dict[str, tuple[int, dict[str, Any], Callable[[Shop], TestResponse]]] = {
    "invalid-json": (400, {}, lambda shop: raw(shop, b"{")),
    "invalid-idempotency-key": (
        400,
        {},
        lambda shop: order(shop, (1, 1), **{"Idempotency-Key": "x" * 256}),
    ),
    "invalid-condition": (
        400,
        {},
        lambda shop: shop.get("/products/1", headers={"If-None-Match": '"' + "x" * 2000 + '"'}),
    ),
    "key-required": (401, {}, without_key),
    "invalid-key": (401, {}, lambda shop: without_key(shop, Authorization="Bearer wrong")),
    "session-required": (401, {}, lambda shop: shop.get("/cart")),
    "scope-required": (403, {"scope": "catalog:write"}, with_a_reader),
    "not-found": (404, {}, lambda shop: shop.get("/products/9")),
    "unknown-address": (404, {}, lambda shop: shop.get("/nothing")),
    "method-not-allowed": (405, {}, lambda shop: shop.delete("/products")),
    "sku-taken": (
        409,
        {"sku": "RK-1", "product_id": 1},
        lambda shop: shop.patch("/products/2", sku="RK-1"),
    ),
    "name-taken": (
        409,
        {"name": "Garden", "category_id": 1},
        lambda shop: shop.post("/categories", name="Garden"),
    ),
    "category-in-use": (409, {"category_id": 1}, lambda shop: shop.delete("/categories/1")),
    "product-ordered": (409, {"product_id": 1}, delete_ordered),
    "out-of-stock": (
        409,
        {"product_id": 1, "available": 3},
        lambda shop: shop.patch("/products/1/stock", delta=-4),
    ),
    "stock-limit": (
        409,
        {"product_id": 1, "available": 3},
        lambda shop: shop.patch("/products/1/stock", delta=2**31 - 1),
    ),
    "cart-empty": (
        409,
        {},
        lambda shop: of_session(shop, "POST", "/cart/checkout", json={"customer": CUSTOMER}),
    ),
    "not-for-sale": (
        409,
        {"product_id": 3},
        lambda shop: of_session(shop, "PUT", "/cart/items/3", json={"quantity": 1}),
    ),
    "order-status": (409, {"order_id": 1, "order_status": "paid", "action": "pay"}, pay_twice),
    "precondition-failed": (
        412,
        {},
        lambda shop: shop.request("DELETE", "/products/1", headers={"If-Match": '"other"'}),
    ),
    "body-too-large": (413, {"limit": 2**20}, lambda shop: raw(shop, b" " * (2**20 + 1))),
    "unsupported-media-type": (415, {}, lambda shop: raw(shop, b"{}", "text/plain")),
    "invalid-fields": (422, {}, lambda shop: shop.post("/categories")),
    "mixed-currencies": (422, {}, lambda shop: order(shop, (1, 1), (2, 1))),
    "too-many-decimals": (
        422,
        {"currency": "JPY", "decimal_places": 0},
        lambda shop: shop.patch("/products/1", currency="JPY"),
    ),
    "idempotency-key-reused": (422, {}, send_another),
}


@pytest.mark.parametrize("slug", CALLS)
def test_each_kind_of_problem_has_a_type_and_its_own_members(shop: Shop, slug: str) -> None:
    status, members, call = CALLS[slug]
    answer = call(shop)
    problem = answer.get_json()
    assert (answer.status_code, problem["type"]) == (status, f"/problems/{slug}")
    assert {name: problem[name] for name in problem if name not in COMMON} == members
    assert set(members) == set(problem_types()[slug].members)
    assert problem["status"] == problem_types()[slug].status == status
    assert problem["title"] == problem_types()[slug].title()


@pytest.mark.parametrize("slug", problem_types())
def test_a_problem_type_leads_to_a_page_that_explains_it(a_shop: Shop, slug: str) -> None:
    kind = problem_types()[slug]
    page = a_shop.get(kind.type())
    assert page.status_code == 200
    assert page.content_type == "text/html; charset=utf-8"
    assert kind.title() in page.text
    for member in kind.members:
        assert f"<code>{member}</code>" in page.text
    assert kind.type() in a_shop.get("/problems").text


def test_every_kind_of_problem_has_its_own_explanation() -> None:
    texts = [kind.__doc__ for kind in problem_types().values()]
    assert all(texts)
    assert len(set(texts)) == len(texts)


def test_a_401_says_that_no_key_exists_yet(make_shop: Make) -> None:
    answer = without_key(make_shop(ADMIN_API_KEY=""))
    assert (answer.status_code, answer.get_json()["type"]) == (403, "/problems/no-keys")


def test_faults_of_the_service_have_problem_types_of_their_own(make_shop: Make) -> None:
    shop = make_shop(DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")

    @shop.app.get("/fault")
    def fault() -> str:
        raise RuntimeError

    assert shop.get("/products").get_json()["type"] == "/problems/database-unavailable"
    assert shop.get("/fault").get_json()["type"] == "/problems/internal"


def test_a_refused_cancellation_reports_the_stock(shop: Shop) -> None:
    shop.place_order(1)
    shop.patch("/products/1", stock=2**31 - 1)
    problem = shop.move_order(1, "cancel").get_json()
    assert problem["type"] == "/problems/stock-limit"
    assert (problem["product_id"], problem["available"]) == (1, 2**31 - 1)


def test_words_of_the_api_are_marked_on_the_pages(a_shop: Shop) -> None:
    page = a_shop.get("/problems/out-of-stock").text
    assert "`" not in page
    assert "<code>errors</code>" in page


def test_an_unknown_problem_type_has_no_page(a_shop: Shop) -> None:
    answer = a_shop.get("/problems/nothing")
    assert (answer.status_code, answer.get_json()["type"]) == (404, "/problems/unknown-address")


def test_pages_load_nothing_from_elsewhere(a_shop: Shop) -> None:
    for path in ("/problems", "/problems/out-of-stock"):
        page = a_shop.get(path)
        for address in re.findall(r'(?:src|href)="([^"]+)"', page.text):
            assert address.startswith("/")
            assert a_shop.get(address).status_code == 200
        assert page.headers["Content-Security-Policy"] == "default-src 'none'; style-src 'self'"


def test_unavailable_lines_report_the_product_and_its_stock(shop: Shop) -> None:
    problem = order(shop, (1, 4), (3, 1)).get_json()
    assert problem["type"] == "/problems/out-of-stock"
    assert problem["errors"] == [
        {
            "field": "lines.0.quantity",
            "detail": "Product 1 has a stock of 3.",
            "product_id": 1,
            "available": 3,
        },
        {
            "field": "lines.1.product_id",
            "detail": "Product 3 is not sold now.",
            "product_id": 3,
            "available": 0,
        },
    ]


@pytest.mark.parametrize(
    ("slug", "title"),
    [("sku-taken", "SKU taken"), ("invalid-json", "Invalid JSON"), ("not-found", "Not found")],
)
def test_a_problem_type_is_named_by_its_class(slug: str, title: str) -> None:
    assert problem_types()[slug].title() == title
