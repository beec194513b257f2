"""The first page, and how every answer ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

if TYPE_CHECKING:
    from conftest import Shop

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.mark.parametrize(
    "accept",
    [None, "", "*/*", "application/json", "application/json, */*", "image/png", "text/*;q=0"],
)
def test_a_program_gets_an_index(a_shop: Shop, accept: str | None) -> None:
    answer = a_shop.get("/", headers={} if accept is None else {"Accept": accept})
    assert answer.status_code == 200
    assert answer.content_type == "application/json"
    assert answer.headers["Vary"] == "Accept"
    index = answer.get_json()
    assert index["name"] == "shop"
    for address in ("documentation", "openapi", "problems", "health", "products", "categories"):
        assert a_shop.get(index[address]).status_code == 200


@pytest.mark.parametrize("accept", [BROWSER, "text/html", "application/json;q=0.5, text/html"])
def test_a_browser_gets_a_page(a_shop: Shop, accept: str) -> None:
    answer = a_shop.get("/", headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.content_type == "text/html; charset=utf-8"
    assert answer.headers["Vary"] == "Accept"
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'")
    for part in ('href="/docs"', 'href="/health_check"', "flask cache", "flask keys", "flask seed"):
        assert part in answer.text
    assert "<script" not in answer.text
    assert "style=" not in answer.text


def test_head_of_the_first_page_has_its_headers_without_a_body(a_shop: Shop) -> None:
    for accept in ("*/*", BROWSER):
        whole = a_shop.get("/", headers={"Accept": accept})
        head = a_shop.request("HEAD", "/", headers={"Accept": accept})
        assert (head.status_code, head.data) == (200, b"")
        assert head.content_type == whole.content_type
        assert head.content_length == len(whole.data)


def test_every_json_document_is_compact(a_shop: Shop) -> None:
    a_shop.create_product()
    paths = (
        "/", "/products", "/products/1", "/products/7", "/categories", "/rate_limit", "/nothing",
        "/openapi.json", "/health_check", "/livez", "/readyz", "/products/trending",
    )  # fmt: skip
    for path in paths:
        body = a_shop.get(path).data
        assert body == body.strip(), path
        assert b'": ' not in body[:100], path
        assert orjson.loads(body)


def test_an_answer_without_content_has_no_content_type(a_shop: Shop) -> None:
    a_shop.create_product()
    headers = a_shop.open_session()
    a_shop.request("PUT", "/cart/items/1", json={"quantity": 1}, headers=headers)
    for method, path, more in (
        ("DELETE", "/cart/items/1", headers), ("DELETE", "/sessions/current", headers),
        ("DELETE", "/products/1", {}), ("DELETE", "/categories/1", {}),
        ("OPTIONS", "/products", {}),
    ):  # fmt: skip
        answer = a_shop.request(method, path, headers=more)
        assert (answer.status_code, answer.data) == (204, b""), path
        assert "Content-Type" not in answer.headers
        assert "Content-Length" not in answer.headers
