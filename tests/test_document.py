"""The API's document has all that people and generators of clients need, and no more."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from document import Document, is_bounded, operations, references

from shop.limits.headers import QUOTA_EXCEEDED

if TYPE_CHECKING:
    from conftest import Shop

CALLS = {
    "listProducts": ("GET", "/products"),
    "getProduct": ("GET", "/products/{product_id}"),
    "createProduct": ("POST", "/products"),
    "replaceProduct": ("PUT", "/products/{product_id}"),
    "updateProduct": ("PATCH", "/products/{product_id}"),
    "adjustStock": ("PATCH", "/products/{product_id}/stock"),
    "deleteProduct": ("DELETE", "/products/{product_id}"),
    "listBestSellers": ("GET", "/products/top-selling"),
    "listTrendingProducts": ("GET", "/products/trending"),
    "listSuggestions": ("GET", "/search/suggest"),
    "listCategories": ("GET", "/categories"),
    "getCategory": ("GET", "/categories/{category_id}"),
    "createCategory": ("POST", "/categories"),
    "replaceCategory": ("PUT", "/categories/{category_id}"),
    "updateCategory": ("PATCH", "/categories/{category_id}"),
    "deleteCategory": ("DELETE", "/categories/{category_id}"),
    "openSession": ("POST", "/sessions"),
    "closeSession": ("DELETE", "/sessions/current"),
    "getCart": ("GET", "/cart"),
    "putCartItem": ("PUT", "/cart/items/{product_id}"),
    "removeCartItem": ("DELETE", "/cart/items/{product_id}"),
    "checkOutCart": ("POST", "/cart/checkout"),
    "listOrders": ("GET", "/orders"),
    "getOrder": ("GET", "/orders/{order_id}"),
    "placeOrder": ("POST", "/orders"),
    "payOrder": ("POST", "/orders/{order_id}/pay"),
    "shipOrder": ("POST", "/orders/{order_id}/ship"),
    "deliverOrder": ("POST", "/orders/{order_id}/deliver"),
    "cancelOrder": ("POST", "/orders/{order_id}/cancel"),
    "getDashboard": ("GET", "/stats/dashboard"),
    "getRateLimit": ("GET", "/rate_limit"),
    "getServiceStatus": ("GET", "/ops/status"),
    "clearCache": ("POST", "/ops/cache/clear"),
    "resetClientQuota": ("POST", "/ops/limits/reset"),
    "setLimitMode": ("PUT", "/ops/limits/mode"),
    "resetLimitMode": ("DELETE", "/ops/limits/mode"),
}
ANSWERS = {
    "listProducts": "ProductPage",
    "getProduct": "Product",
    "updateProduct": "Product",
    "listBestSellers": "BestSellerList",
    "listTrendingProducts": "TrendingProductList",
    "listSuggestions": "SuggestionList",
    "listCategories": "CategoryPage",
    "openSession": "Session",
    "getCart": "Cart",
    "checkOutCart": "Order",
    "listOrders": "OrderPage",
    "payOrder": "Order",
    "getDashboard": "DashboardStats",
    "getRateLimit": "RateLimit",
    "getServiceStatus": "ServiceStatus",
}
BODIES = {
    "createProduct": "ProductInput",
    "replaceProduct": "ProductInput",
    "updateProduct": "ProductPatch",
    "adjustStock": "StockAdjustment",
    "createCategory": "CategoryInput",
    "replaceCategory": "CategoryInput",
    "updateCategory": "CategoryPatch",
    "putCartItem": "CartItemInput",
    "checkOutCart": "CheckoutInput",
    "placeOrder": "OrderInput",
    "clearCache": "CacheClearInput",
    "resetClientQuota": "QuotaResetInput",
    "setLimitMode": "LimitModeInput",
}


@pytest.fixture
def document(a_shop: Shop) -> Document:
    return Document(a_shop.get("/openapi.json").get_json())


def test_each_call_has_a_name_in_the_usual_terms(document: Document) -> None:
    assert {
        name: (method, path) for name, (method, path, _) in document.operations.items()
    } == CALLS
    names = Counter(operation["operationId"] for _, _, operation in operations(document.all))
    assert set(names.values()) == {1}
    assert all(re.fullmatch(r"[a-z]+([A-Z][a-z]+)+", name) for name in names)


def test_each_call_takes_and_answers_the_schemas_of_its_name(document: Document) -> None:
    for name, expected in BODIES.items():
        body = document.operations[name][2]["requestBody"]
        assert body["required"] is True
        assert references(body) == {expected}
    takes = {name for name, (_, _, one) in document.operations.items() if "requestBody" in one}
    assert takes == set(BODIES)
    for name, expected in ANSWERS.items():
        responses = document.operations[name][2]["responses"]
        assert references(responses.get("200", responses.get("201"))["content"]) == {expected}


def test_the_document_names_its_contact_and_server(document: Document) -> None:
    assert document.all["info"]["contact"]["name"]
    assert document.all["info"]["description"]
    assert [server["url"] for server in document.all["servers"]] == ["/"]


def test_everything_is_described(document: Document) -> None:
    tags = {tag["name"]: tag["description"] for tag in document.all["tags"]}
    assert all(tags.values())
    for _, _, operation in document.operations.values():
        assert operation["summary"].endswith(".")
        assert operation["description"].endswith(".")
        assert set(operation["tags"]) < set(tags)
        assert all(response["description"] for response in operation["responses"].values())
    described = {
        **dict(document.parameters()),
        **dict(document.properties()),
        **document.schemas,
        **document.all["components"]["headers"],
        **document.all["components"]["securitySchemes"],
    }
    assert [name for name, part in described.items() if not part.get("description")] == []


def test_every_example_is_valid(document: Document) -> None:
    parts = {
        **document.schemas,
        **{name: parameter["schema"] for name, parameter in document.parameters()},
        **{
            name: header["schema"] for name, header in document.all["components"]["headers"].items()
        },
        **dict(document.properties()),
    }
    for name, schema in parts.items():
        assert "example" not in schema, name  # of OpenAPI 3.0
        for example in schema.get("examples", []):
            document.validator(schema).validate(example)


def test_each_problem_is_shown_as_its_call_answers_it(document: Document) -> None:
    for name, (_, path, operation) in document.operations.items():
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                content = response["content"]["application/problem+json"]
                document.validator(content["schema"]).validate(content["example"])
                assert content["example"]["status"] == int(status), name
                if status == "429":
                    assert content["example"].items() >= QUOTA_EXCEEDED.items()
                assert content["example"]["instance"] == re.sub("{.*}", "7", path), name


def test_composed_examples_are_valid_and_plausible(document: Document) -> None:
    for name, schema in document.schemas.items():
        example = document.example(schema)
        document.validator(schema).validate(example)
        assert "2147483647" not in str(example), name
    for _, parameter in document.parameters():
        assert document.example(parameter["schema"]) is not None


def test_no_body_has_a_default_that_a_client_would_send_by_itself(document: Document) -> None:
    bodies = document.bodies()
    assert {"ProductInput", "ProductPatch", "CustomerInput", "OrderLineInput"} <= set(bodies)
    for name, schema in bodies.items():
        for member, found in schema["properties"].items():
            assert "default" not in str(found.keys()), f"{name}.{member}"
    for name in ("ProductPatch", "CategoryPatch"):
        assert "required" not in bodies[name]
        assert "Default" not in str(bodies[name])
        assert [len(example) for example in bodies[name]["examples"]] == [1]
    told = bodies["ProductInput"]["properties"]
    assert told["currency"]["description"].endswith('Default: `"EUR"`.')
    assert told["active"]["description"].endswith("Default: `true`.")
    assert set(bodies["ProductInput"]["required"]) == {"name", "price", "stock", "category_id"}


def test_bodies_and_answers_have_no_other_members_than_the_document_says(
    document: Document,
) -> None:
    of_problems = {"Problem", "QuotaExceededProblem", "FieldError"}
    for name, schema in document.schemas.items():
        assert schema["additionalProperties"] is (name in of_problems), name


def test_every_parameter_has_bounds(document: Document) -> None:
    for name, parameter in document.parameters():
        assert is_bounded(parameter["schema"]), name


def test_every_member_of_a_body_has_bounds(document: Document) -> None:
    for name, schema in document.bodies().items():
        for member, found in schema["properties"].items():
            assert is_bounded(found), f"{name}.{member}"


def test_every_component_is_used(document: Document) -> None:
    for kind, components in document.all["components"].items():
        if kind == "securitySchemes":
            used = {
                name
                for _, _, operation in document.operations.values()
                for way in operation["security"]
                for name in way
            }
        else:
            used = references(document.all, kind)
        assert set(components) == used, kind


def test_every_answer_that_can_occur_is_documented(document: Document) -> None:
    for name, (_, path, operation) in document.operations.items():
        expected = {"429", "500", "503"}
        if "{" in path:
            expected.add("404")
        if "requestBody" in operation:
            expected |= {"400", "413", "415", "422"}
        if any(parameter["in"] == "query" for parameter in operation.get("parameters", [])):
            expected.add("422")
        for way in operation["security"]:
            expected |= (
                {"401", "403"} if "key" in way and {} not in operation["security"] else set()
            )
            expected |= {"401"} if "session" in way and {} not in operation["security"] else set()
        assert expected <= set(operation["responses"]), name
