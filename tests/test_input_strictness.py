"""Parameters, names and codings that would be ignored are refused, and a refusal is short."""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Make, Shop
    from werkzeug.test import TestResponse

JSON = "application/json"


def wrong_fields(answer: TestResponse, status: int = 422) -> list[str]:
    assert answer.status_code == status, answer.text
    return [error["field"] for error in answer.get_json()["errors"]]


def send(shop: Shop, body: bytes | str, content_type: str = JSON, **headers: str) -> TestResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return shop.request("POST", "/categories", data=body, content_type=content_type, headers=named)


def test_no_call_takes_a_parameter_that_it_does_not_have(a_shop: Shop) -> None:
    """The refusal is the same with other errors in the request, and for every caller."""
    calls = every_call(a_shop)
    assert len(calls) > 20
    for key in (a_shop.key, None):
        a_shop.key = key
        for method, path, known in calls:
            answer = a_shop.request(method, path, query_string="categry_id=3&x[]=1")
            assert wrong_fields(answer) == ["categry_id", "x[]"], (method, path)
            detail = answer.get_json()["detail"]
            assert all(name in detail for name in known or ["no parameters"]), (method, path)


def test_no_parameter_is_sent_twice(a_shop: Shop) -> None:
    twice = [(call, name) for call in every_call(a_shop) for name in call[2]]
    assert len(twice) > 10
    for (method, path, _), name in twice:
        answer = a_shop.request(method, path, query_string=f"{name}=1&{name}=1")
        assert wrong_fields(answer) == [name], (method, path)
        assert "once" in answer.get_json()["errors"][0]["detail"]


def every_call(shop: Shop) -> list[tuple[str, str, list[str]]]:
    """Return every call of the document: its method, a URL, and its parameters."""
    paths = shop.get("/openapi.json").get_json()["paths"]
    return [
        (
            method.upper(),
            re.sub(r"{(\w+)}", lambda found: "pay" if found[1] == "action" else "7", path),
            [one["name"] for one in call.get("parameters", []) if one.get("in") == "query"],
        )
        for path, calls in paths.items()
        for method, call in calls.items()
        if method != "parameters"
    ]


@pytest.mark.parametrize("edge", ["true", "false"])
def test_an_unknown_parameter_is_charged_once_with_and_without_the_edge(
    make_shop: Make, edge: str
) -> None:
    shop = make_shop(EDGE_ENABLED=edge, RATE_LIMIT_CALLS="10")
    shop.create_product()
    for left in (9, 8, 7):
        answer = shop.get("/products/1?x=1")
        assert wrong_fields(answer) == ["x"]
        assert answer.headers["X-RateLimit-Remaining"] == str(left)
    assert [shop.get("/products?limit=1").status_code for _ in range(3)] == [200] * 3
    answer = shop.get("/products?limit=1&limit=1")
    assert wrong_fields(answer) == ["limit"]
    assert answer.headers["X-RateLimit-Remaining"] == "3"


@pytest.mark.parametrize(
    "path", ["/health_check", "/metrics", "/openapi.json", "/docs", "/docs/assets/index.css"]
)
def test_routes_outside_the_api_ignore_parameters(a_shop: Shop, path: str) -> None:
    assert a_shop.get(path).status_code == a_shop.get(f"{path}?v=1&v=2").status_code


@pytest.mark.parametrize(
    "query", ["limit=%ff", "limit=\xff", "\xff=1", "limit=%", "limit=1;skip=2"]
)
def test_a_query_that_is_not_utf_8_is_refused(a_shop: Shop, query: str) -> None:
    answer = a_shop.client.get("/products", environ_overrides={"QUERY_STRING": query})
    assert answer.status_code == 422


@pytest.mark.parametrize("query", ["", "&", "&&limit=1&", "limit=%31", "%6cimit=1"])
def test_a_query_may_be_written_in_several_ways(a_shop: Shop, query: str) -> None:
    assert a_shop.get("/products", query_string=query).status_code == 200


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ('{"name": "a", "name": "b"}', "name"),
        ('{"name": "a", "n\\u0061me": "a"}', "name"),
        ('{"name": "a", "more": [{"x": {"deep": 1, "deep": 1}}]}', "deep"),
        (json.dumps({"x" * n: n for n in range(1, 500)})[:-1] + ', "xx": 1}', "xx"),
    ],
)
def test_a_name_twice_in_an_object_is_refused(a_shop: Shop, body: str, name: str) -> None:
    answer = send(a_shop, body)
    assert (answer.status_code, answer.get_json()["type"]) == (400, "/problems/invalid-json")
    assert f'"{name}"' in answer.get_json()["detail"]


def test_one_name_in_several_objects_is_no_duplicate(a_shop: Shop) -> None:
    a_shop.create_product()
    a_shop.create_product()
    assert len(a_shop.place_order(1, 2)["lines"]) == 2


def test_a_byte_order_mark_before_a_body_is_skipped(a_shop: Shop) -> None:
    mark = "\ufeff".encode()
    assert send(a_shop, mark + b'{"name": "Garden"}').get_json()["name"] == "Garden"
    assert send(a_shop, mark + mark + b'{"name": "Shed"}').status_code == 400
    assert send(a_shop, '{"name": "Shed"}'.encode("utf-16")).status_code == 400


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json", "Application/JSON", "application/json;charset=utf-8",
        'application/json; charset="UTF-8"', "application/json ; charset=utf8",
        "application/json;", "application/json; version=1",
    ],
)  # fmt: skip
def test_json_in_utf_8_is_read_with_every_accepted_declaration(
    a_shop: Shop, content_type: str
) -> None:
    assert send(a_shop, '{"name": "Café"}'.encode(), content_type).get_json()["name"] == "Café"


@pytest.mark.parametrize(
    "content_type",
    [
        "application/vnd.shop+json", "application/problem+json", "application/jsonp", "text/json",
        "application/json, application/json", "application/json; charset=iso-8859-1",
        "application/json; charset=us-ascii", "application/json; charset=utf-16",
        "json", "*/*", "", "multipart/form-data; boundary=x",
    ],
)  # fmt: skip
def test_another_declaration_is_415(a_shop: Shop, content_type: str) -> None:
    answer = send(a_shop, '{"name": "Garden"}', content_type)
    assert answer.status_code == 415
    assert answer.get_json()["detail"].startswith("Send ")


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "x", "gzip, identity", "aws-chunked"])
def test_an_encoded_body_is_415_on_every_call_that_takes_one(a_shop: Shop, coding: str) -> None:
    answer = send(a_shop, '{"name": "Garden"}', Content_Encoding=coding)
    assert answer.status_code == 415
    assert "Content-Encoding" in answer.get_json()["detail"]
    assert a_shop.get("/categories").get_json()["items"] == []


@pytest.mark.parametrize("coding", ["identity", "Identity", ""])
def test_content_encoding_identity_is_accepted(a_shop: Shop, coding: str) -> None:
    assert send(a_shop, '{"name": "Garden"}', Content_Encoding=coding).status_code == 201


@pytest.mark.parametrize("path", ["/sessions", "/orders/1/pay"])
def test_a_call_without_fields_takes_none(a_shop: Shop, path: str) -> None:
    a_shop.create_product()
    a_shop.place_order(1)

    def sent(body: bytes, content_type: str = JSON) -> TestResponse:
        return a_shop.request("POST", path, data=body, content_type=content_type)

    assert wrong_fields(sent(b'{"amount": "19.90"}')) == ["amount"]
    assert sent(b"amount=1", "application/x-www-form-urlencoded").status_code == 415
    assert sent(b"{").status_code == 400
    assert sent(b"{}").status_code in {200, 201}
    assert sent(b"", "").status_code in {201, 409}


def test_a_problem_has_twenty_errors_and_says_how_many_there_are(a_shop: Shop) -> None:
    fields = {f"f{n:03}": n for n in range(1000)} | {"name": "Garden"}
    answer = a_shop.request("POST", "/categories", json=fields)
    assert wrong_fields(answer) == [f"f{n:03}" for n in range(20)]
    assert answer.get_json()["errors_omitted"] == 980
    few = a_shop.request("POST", "/categories", json={"name": "", "x": 1})
    assert sorted(wrong_fields(few)) == ["name", "x"]
    assert "errors_omitted" not in few.get_json()


def test_every_line_of_an_order_can_be_named(a_shop: Shop) -> None:
    customer = {"name": "A", "email": "a@example.com"}

    def order(lines: list[dict[str, int]], **more: int) -> TestResponse:
        body = {"customer": customer, "lines": lines, **more}
        return a_shop.request("POST", "/orders", json=body)

    without = order([{"quantity": 1}] * 100)
    assert wrong_fields(without) == [f"lines.{n}.product_id" for n in range(100)]
    unknown = order([{"product_id": n, "quantity": 1} for n in range(1, 101)])
    assert len(unknown.get_json()["errors"]) == 100
    twice = order([{}] * 100, **{f"f{n}": n for n in range(50)})
    assert len(wrong_fields(twice)) == 100
    assert twice.get_json()["errors_omitted"] == 150
    assert wrong_fields(order([{}] * 101)) == ["lines"]


def test_a_long_field_name_is_answered_shortened(a_shop: Shop) -> None:
    name = "n" * 50_000
    [told] = wrong_fields(a_shop.request("POST", "/categories", json={"name": "a", name: 1}))
    assert name.startswith(told.rstrip("…"))
    assert 50 <= len(told) < 100


def test_a_long_url_is_answered_and_logged_shortened(
    a_shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    path = "/products/" + "x" * 100_000
    with caplog.at_level(logging.INFO, "shop.access"):
        answer = a_shop.get(path)
    assert answer.status_code == 404
    assert path.startswith(answer.get_json()["instance"])
    assert len(answer.data) < 4000
    assert len(caplog.text) < 8000
