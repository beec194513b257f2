"""The API's document is whole, and the service does what it says."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

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
OPERATIONS = CATALOGUE | {("GET", "/rate_limit")}


@pytest.fixture
def document(a_shop: Shop) -> dict[str, Any]:
    found: dict[str, Any] = a_shop.get("/openapi.json").get_json()
    return found


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
        if path == "/rate_limit":
            assert operation["security"] == [{}, {"key": []}]
        elif method == "GET":
            names = [parameter["name"] for parameter in operation["parameters"]]
            listed = ["skip", "limit"] if path in {"/products", "/categories"} else []
            assert names == [*listed, "If-None-Match"]
            assert {"200", "304"} <= set(responses)
            assert {"ETag", "X-Cache", "Cache-Control"} < set(responses["200"]["headers"])
        else:
            assert {"401", "403"} <= set(responses)
            assert operation["security"] == [{"key": []}]
        if method in {"POST", "PUT", "PATCH"}:
            assert {"400", "409", "413", "415", "422"} <= set(responses)
    assert "Location" in document["paths"]["/products"]["post"]["responses"]["201"]["headers"]


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
    """Requests made from the document, valid ones and wrong ones; each answer is checked."""
    shop = make_shop(LOG_LEVEL="WARNING")
    shop.create_product(sku="RK-1")
    schema = schemathesis.openapi.from_wsgi("/openapi.json", shop.app)
    statuses: set[int] = set()
    for operation in schema.get_all_operations():
        assert isinstance(operation, Ok)
        statuses |= answers_to(operation.ok(), GenerationMode.POSITIVE, f"Bearer {shop.key}")
        with suppress(Unsatisfiable):  # where nothing wrong can be sent
            statuses |= answers_to(operation.ok(), GenerationMode.NEGATIVE, f"Bearer {shop.key}")
    assert not [status for status in statuses if status >= 500]
    assert {200, 201, 404, 422} <= statuses


def answers_to(operation: Any, mode: GenerationMode, authorization: str) -> set[int]:
    """Send an operation many requests, check all answers, and return their statuses."""
    statuses: set[int] = set()
    # No schema can say which categories there are, or that a number has two decimal places.
    is_product = operation.path.startswith("/products") and operation.method != "get"
    excluded: list[Any] = [positive_data_acceptance] if is_product else []

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
        response = case.call_and_validate(
            headers={"Authorization": authorization}, excluded_checks=excluded
        )
        statuses.add(response.status_code)

    send()
    return statuses
