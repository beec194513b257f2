"""Error responses, and the headers of every answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Make, Shop
    from werkzeug.test import TestResponse


PROBLEM = {"type", "title", "status", "detail", "instance", "request_id"}


def send(shop: Shop, body: bytes | str, content_type: str = "application/json") -> TestResponse:
    return shop.request("POST", "/categories", data=body, content_type=content_type)


def assert_problem(response: TestResponse, status: int, *members: str) -> dict[str, Any]:
    assert response.status_code == status
    assert response.content_type == "application/problem+json"
    problem: dict[str, Any] = response.get_json()
    assert set(problem) - {"errors", *members} == PROBLEM
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["X-Request-ID"]
    return problem


def test_an_unknown_path_is_404(a_shop: Shop) -> None:
    problem = assert_problem(a_shop.get("/nothing"), 404)
    assert (problem["type"], problem["instance"]) == ("/problems/unknown-address", "/nothing")
    assert problem["detail"] == "There is no such address."


def test_an_unknown_method_is_405_and_says_what_is_allowed(a_shop: Shop) -> None:
    response = a_shop.request("DELETE", "/products")
    assert_problem(response, 405)
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"nothing", b'{"name": NaN}', b'{"name": Infinity}', b'{"name": "\xff"}',
        b"[" * 100_000, b'{"name": 1' + b"0" * 5000 + b"}",
    ],
)  # fmt: skip
def test_a_body_that_is_not_json_is_400(a_shop: Shop, body: bytes) -> None:
    assert_problem(send(a_shop, body), 400)


@pytest.mark.parametrize("body", [b"[]", b"1", b'"x"', b"null", b"true"])
def test_json_that_is_no_object_is_422(a_shop: Shop, body: bytes) -> None:
    assert_problem(send(a_shop, body), 422)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_another_content_type_is_415(a_shop: Shop, content_type: str) -> None:
    assert_problem(send(a_shop, b'{"name": "Garden"}', content_type), 415)


KIB = 1024
LIMITS = [
    ("PATCH", "/products/1/stock", 64 * KIB),
    ("POST", "/sessions", 64 * KIB),
    ("PUT", "/cart/items/1", 64 * KIB),
    ("POST", "/cart/checkout", 64 * KIB),
    ("POST", "/orders/1/pay", 64 * KIB),
    ("GET", "/products", 64 * KIB),
    ("DELETE", "/products/1", 64 * KIB),
    ("POST", "/products", 1024 * KIB),
    ("PUT", "/products/1", 1024 * KIB),
    ("PATCH", "/products/1", 1024 * KIB),
    ("POST", "/orders", 1024 * KIB),
    ("POST", "/categories", 1024 * KIB),
    ("PUT", "/categories/1", 1024 * KIB),
    ("PATCH", "/categories/1", 1024 * KIB),
]


@pytest.mark.parametrize(("method", "path", "longest"), LIMITS)
def test_a_body_above_the_limit_of_its_route_is_413(
    a_shop: Shop, method: str, path: str, longest: int
) -> None:
    a_shop.create_product()
    headers = a_shop.open_session() if path.startswith("/cart") else {}

    def sent(length: int) -> TestResponse:
        body = b'{"name": ""}'.ljust(length)
        return a_shop.request(
            method, path, data=body, content_type="application/json", headers=headers
        )

    assert assert_problem(sent(longest + 1), 413, "limit")["limit"] == longest
    assert sent(longest).status_code != 413


def test_a_body_that_is_too_large_is_not_read(a_shop: Shop) -> None:
    """The limit holds for every caller, and on routes that take no body."""
    a_shop.key = None
    for method, path, longest in LIMITS:
        unreadable = {"wsgi.input": None, "CONTENT_LENGTH": str(longest + 1)}
        assert_problem(a_shop.request(method, path, environ_overrides=unreadable), 413, "limit")


def test_each_wrong_field_has_one_entry(a_shop: Shop) -> None:
    response = a_shop.post("/products", name="", price="x", stock=-1, category_id=1)
    problem = assert_problem(response, 422)
    assert {error["field"] for error in problem["errors"]} == {"name", "price", "stock"}
    assert len(problem["errors"]) == 3
    assert all(error["detail"] for error in problem["errors"])


def test_a_fault_is_500_without_its_cause_and_is_logged(
    a_shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    @a_shop.app.get("/fault")
    def fault() -> str:
        raise RuntimeError("the cause")

    response = a_shop.get("/fault")
    assert_problem(response, 500)
    assert "the cause" not in response.text
    assert "the cause" in caplog.text


def test_without_the_database_the_answer_is_503(make_shop: Make) -> None:
    shop = make_shop(DATABASE_URL="postgresql://nobody:hidden@127.0.0.1:1/none")
    response = shop.get("/products")
    assert_problem(response, 503)
    assert response.headers["Retry-After"] == "1"
    health = shop.get("/health_check")
    assert (health.status_code, health.get_json()["database"]) == (503, "unreachable")


def test_a_sane_request_id_is_kept_and_any_other_replaced(a_shop: Shop) -> None:
    def answered(given: str) -> str:
        return a_shop.get("/products", headers={"X-Request-ID": given}).headers["X-Request-ID"]

    assert answered("order-7.b_2") == "order-7.b_2"
    for given in ("", "a b", "x" * 65, "<script>", "ü"):
        assert answered(given) != given
        assert len(answered(given)) == 32
    assert answered("") != answered("")


@pytest.mark.parametrize("path", ["/products", "/nothing", "/health_check", "/metrics", "/docs"])
def test_every_answer_has_the_security_headers(a_shop: Shop, path: str) -> None:
    headers = a_shop.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Content-Security-Policy"].startswith("default-src ")


def names_like_lines(count: int) -> dict[str, int]:
    name = "lines.0" + "\U0001f600" * 195
    return {f"{name}{number}": 1 for number in range(count)}


@pytest.mark.parametrize("path", ["/orders", "/sessions", "/categories", "/cart/checkout"])
def test_field_names_that_look_like_order_lines_are_not_taken_for_lines(
    a_shop: Shop, path: str
) -> None:
    headers = a_shop.open_session() if path == "/cart/checkout" else {}
    body = json.dumps(names_like_lines(75), ensure_ascii=False).encode()
    answer = a_shop.request(
        "POST", path, data=body, headers=headers, content_type="application/json"
    )
    problem = answer.get_json()
    assert len(problem["errors"]) == 20
    assert len(answer.data) < 16 * 1024
    query = "&".join(f"items.0{number}=1" for number in range(60))
    refused = a_shop.get(f"/products?{query}").get_json()
    assert (len(refused["errors"]), refused["errors_omitted"]) == (20, 40)


@pytest.mark.parametrize("character", ["\U0001f600", "\x01", "é", "\ud800", '"', "a"])
def test_the_largest_refusal_of_lines_stays_small(a_shop: Shop, character: str) -> None:
    names = {character * 200 + str(number): 1 for number in range(3)}
    lines = [names | {"product_id": 1, "quantity": 1}] * 100
    body = {"customer": {"name": "A", "email": "a@example.com"}, "lines": lines}
    answer = a_shop.post("/orders", **body)
    problem = answer.get_json()
    assert (answer.status_code, len(problem["errors"])) == (422, 100)
    assert problem["errors_omitted"] == 200
    assert len(answer.data) < 64 * 1024


def test_field_names_with_points_are_not_taken_for_paths(a_shop: Shop) -> None:
    body = {"customer": {"email": "a@example.com"}, "customer.name": 1, "lines": [1]}
    errors = a_shop.post("/orders", **body).get_json()["errors"]
    assert sorted((error["field"], error["detail"]) for error in errors) == [
        ("customer.name", "Missing data for required field."),
        ("customer.name", "Unknown field."),
        ("lines.0", "Invalid input type."),
    ]


@pytest.mark.parametrize("body", ["null", "[]", "0", '""', "[{}]"])
def test_an_error_of_the_whole_body_names_no_field(a_shop: Shop, body: str) -> None:
    [error] = send(a_shop, body).get_json()["errors"]
    assert error == {"field": "", "detail": "Invalid input type."}


def test_a_field_that_has_the_name_of_an_object_s_own_errors_is_unknown(a_shop: Shop) -> None:
    body = {"customer": {"_schema": 1}, "lines": [{"_schema": 2}], "_schema": 3}
    errors = a_shop.post("/orders", **body).get_json()["errors"]
    unknown = {error["field"] for error in errors if error["detail"] == "Unknown field."}
    assert unknown == {"_schema", "customer._schema", "lines.0._schema"}


@pytest.mark.parametrize(
    "parameters",
    ["; charset=latin-1; charset=utf-8", "; charset=", "; charset", "; charset=\xff", ";charset=a"],
)
def test_any_charset_but_one_utf_8_is_415(a_shop: Shop, parameters: str) -> None:
    assert_problem(send(a_shop, b'{"name": "Garden"}', f"application/json{parameters}"), 415)


@pytest.mark.parametrize("parameters", ["; charset=utf-8", ';charset="UTF-8"', "; charset = utf8"])
def test_utf_8_may_be_declared(a_shop: Shop, parameters: str) -> None:
    answer = send(a_shop, b'{"name": "Garden"}', f"application/json{parameters}")
    assert answer.status_code == 201
