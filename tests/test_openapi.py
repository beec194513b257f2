"""The API's document is whole, and the service does what it says."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

from shop.fields import INTEGER_MAX

if TYPE_CHECKING:
    from conftest import Make, Shop

CATALOGUE = {
    (method, path)
    for collection, one in (
        ("/products", "/products/{product_id}"),
        ("/categories", "/categories/{category_id}"),
    )
    for method, path in (
        ("GET", collection), ("POST", collection),
        ("GET", one), ("PUT", one), ("PATCH", one), ("DELETE", one),
    )
}  # fmt: skip
CACHED = {(method, path) for method, path in CATALOGUE if method == "GET"}
CACHED |= {
    ("GET", "/products/top-selling"),
    ("GET", "/products/trending"),
    ("GET", "/search/suggest"),
    ("GET", "/stats/dashboard"),
}
CONDITIONAL = {(method, path) for method, path in CATALOGUE if method not in {"GET", "POST"}}
CONDITIONAL |= {("PATCH", "/products/{product_id}/stock")}
ONCE = {
    ("POST", "/orders"),
    ("POST", "/orders/{order_id}/pay"),
    ("POST", "/orders/{order_id}/ship"),
    ("POST", "/orders/{order_id}/deliver"),
    ("POST", "/orders/{order_id}/cancel"),
    ("POST", "/cart/checkout"),
}
OF_SESSIONS = {
    ("DELETE", "/sessions/current"),
    ("GET", "/cart"),
    ("PUT", "/cart/items/{product_id}"),
    ("DELETE", "/cart/items/{product_id}"),
    ("POST", "/cart/checkout"),
}
OF_EITHER = {("GET", "/orders"), ("GET", "/orders/{order_id}")}
FREE = {("GET", "/rate_limit"), ("POST", "/sessions")}
OF_OPERATORS = {
    ("GET", "/ops/status"),
    ("POST", "/ops/cache/clear"),
    ("POST", "/ops/limits/reset"),
    ("PUT", "/ops/limits/mode"),
    ("DELETE", "/ops/limits/mode"),
}
OPERATIONS = CATALOGUE | CACHED | CONDITIONAL | ONCE | OF_SESSIONS | OF_EITHER | FREE | OF_OPERATORS

# Items of the lists in a search, which are strings in the document.
LONGEST = {"id": 100, "sku": 100, "category_id": 100, "facets": 3, "fields": 11, "include": 1}


@pytest.fixture
def document(a_shop: Shop) -> dict[str, Any]:
    found: dict[str, Any] = a_shop.get("/openapi.json").get_json()
    return found


def test_the_command_that_prints_the_document_prints_all_of_it(make_shop: Make) -> None:
    printed = make_shop().command("openapi", "print").output
    assert json.loads(printed) == make_shop().get("/openapi.json").get_json()


def test_two_concurrent_first_readers_get_the_same_whole_document(a_shop: Shop) -> None:
    def read(_: int) -> dict[str, Any]:
        client = a_shop.app.test_client()
        found: dict[str, Any] = client.get("/openapi.json").get_json()
        return found

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(read, range(2))
    assert one == other == read(0)
    assert "/products/{product_id}" in one["paths"]


def test_every_call_is_in_the_document(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    documented = {
        (method.upper(), path)
        for path, operations in document["paths"].items()
        for method in operations
        if method != "parameters"
    }
    assert documented == OPERATIONS


def test_every_answer_is_documented_with_its_headers(document: dict[str, Any]) -> None:
    for method, path in OPERATIONS:
        operation = document["paths"][path][method.lower()]
        responses = operation["responses"]
        assert operation["summary"]
        assert {"429", "500", "503"} <= set(responses)
        assert set(responses["429"]["headers"]) > {"Retry-After", "RateLimit", "X-Request-ID"}
        for status, response in responses.items():
            if int(status) >= 400:
                assert set(response["content"]) == {"application/problem+json"}
        if "requestBody" in operation:
            assert {"400", "413", "415", "422"} <= set(responses)


def operation_of(document: dict[str, Any], call: tuple[str, str]) -> dict[str, Any]:
    method, path = call
    found: dict[str, Any] = document["paths"][path][method.lower()]
    return found


def parameters(operation: dict[str, Any]) -> list[str]:
    return [parameter["name"] for parameter in operation.get("parameters", [])]


def test_permissions_are_documented(document: dict[str, Any]) -> None:
    others = CACHED | FREE | OF_SESSIONS | OF_EITHER
    for call in OPERATIONS - others | {("GET", "/stats/dashboard")}:
        operation = operation_of(document, call)
        assert {"401", "403"} <= set(operation["responses"])
        assert operation["security"] == [{"key": []}]
    for call in OF_EITHER:
        operation = operation_of(document, call)
        assert {"401", "403"} <= set(operation["responses"])
        assert operation["security"] == [{"key": []}, {"session": []}]
    for call in OF_SESSIONS:
        operation = operation_of(document, call)
        assert "401" in operation["responses"]
        assert operation["security"] == [{"session": []}]
    limits = operation_of(document, ("GET", "/rate_limit"))
    assert limits["security"] == [{}, {"key": []}, {"session": []}]
    assert set(document["components"]["securitySchemes"]) == {"key", "session"}


def test_answers_of_cached_reads_are_documented(document: dict[str, Any]) -> None:
    for call in OPERATIONS:
        operation = operation_of(document, call)
        assert ("If-None-Match" in parameters(operation)) == (call in CACHED)
        if call in CACHED:
            headers = operation["responses"]["200"]["headers"]
            assert {"ETag", "X-Cache", "Cache-Control"} < set(headers)
            assert "304" in operation["responses"]


def test_conditions_and_keys_of_writes_are_documented(document: dict[str, Any]) -> None:
    for call in OPERATIONS:
        operation = operation_of(document, call)
        assert ("If-Match" in parameters(operation)) == (call in CONDITIONAL)
        assert ("412" in operation["responses"]) == (call in CONDITIONAL)
        assert ("Idempotency-Key" in parameters(operation)) == (call in ONCE)
        if call in ONCE:
            success = {"200", "201"} & set(operation["responses"])
            headers = operation["responses"][success.pop()]["headers"]
            assert "Idempotent-Replayed" in headers
            assert {"400", "409", "422"} <= set(operation["responses"])
    for path in ("/products", "/categories", "/orders", "/cart/checkout"):
        created = operation_of(document, ("POST", path))["responses"]["201"]
        assert "Location" in created["headers"]


def test_the_page_brings_its_own_scripts_and_styles(a_shop: Shop) -> None:
    page = a_shop.get("/docs")
    assert page.content_type.startswith("text/html")
    assert "//" not in page.text
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(addresses) == 4
    for address in addresses:
        assert a_shop.get(address).status_code == 200


@pytest.mark.parametrize("name", ["../__init__.py", "%2e%2e/__init__.py", "nothing.js", ""])
def test_assets_are_those_of_the_page_alone(a_shop: Shop, name: str) -> None:
    assert a_shop.get(f"/docs/assets/{name}").status_code == 404


def test_generated_requests_get_documented_answers(make_shop: Make) -> None:
    """Valid and invalid requests are made from the document, and each answer is checked."""
    shop = make_shop(LOG_LEVEL="WARNING")
    shop.create_product(sku="RK-1")
    shop.place_order(1)
    session = shop.open_session()
    schema = schemathesis.openapi.from_wsgi("/openapi.json", shop.app)
    statuses: set[int] = set()
    for operation in schema.get_all_operations():
        assert isinstance(operation, Ok)
        call = operation.ok()
        of_session = (call.method.upper(), call.path) in OF_SESSIONS
        of_either = (call.method.upper(), call.path) in OF_EITHER
        senders = [session["Authorization"]] if of_session or of_either else []
        senders += [] if of_session else [f"Bearer {shop.key}"]
        for authorization in senders:
            statuses |= answers_to(call, GenerationMode.POSITIVE, authorization)
            with suppress(Unsatisfiable):  # where nothing wrong can be sent
                statuses |= answers_to(call, GenerationMode.NEGATIVE, authorization)
    assert not [status for status in statuses if status >= 500]
    assert {200, 201, 404, 422} <= statuses


def fitted(query: dict[str, Any]) -> dict[str, Any]:
    """Return what fits together of the parameters of a search: no schema can say that."""
    found = {name: value for name, value in query.items() if name != "after"}
    for name in LONGEST.keys() & found.keys():
        items = [one[:64] for one in str(found[name]).split(",")]
        if name in {"id", "category_id"}:
            items = [one for one in items if 0 < int(one) <= INTEGER_MAX] or ["1"]
        found[name] = ",".join(items[: LONGEST[name]])
    if {"id", "sku"} & set(found):
        return {name: found[name] for name in found if name in {"id", "sku", "fields", "include"}}
    if found.get("sort") == "relevance":
        found["q"] = "rake"
    return found


def answers_to(operation: Any, mode: GenerationMode, authorization: str) -> set[int]:
    """Send an operation many requests, check all answers, and return their statuses."""
    statuses: set[int] = set()
    # No schema can say which rows there are and which ETags they have, that a number has two
    # decimal places, or that a product is in one line alone.
    reads = operation.method == "get" and operation.path != "/orders"
    excluded: list[Any] = [] if reads else [positive_data_acceptance]

    @settings(
        max_examples=40,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: schemathesis.Case[Any]) -> None:
        if operation.path == "/products" and mode is GenerationMode.POSITIVE:
            case.query = fitted(case.query)
        response = case.call_and_validate(
            headers={"Authorization": authorization}, excluded_checks=excluded
        )
        statuses.add(response.status_code)

    send()
    return statuses
