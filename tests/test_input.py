"""Any input is stored exactly or refused, and is never a fault."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from conftest import Shop

ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=200).filter(
    lambda name: name.strip(" ")
)
PRICES = st.decimals("0.01", "9999999999.99", places=2)

relaxed = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def product(a_shop: Shop) -> dict[str, Any]:
    return a_shop.create_product()


@relaxed
@given(name=NAMES, price=PRICES, stock=st.integers(0, 2**31 - 1))
def test_a_valid_value_is_answered_as_it_was_sent(
    a_shop: Shop, product: dict[str, Any], name: str, price: Decimal, stock: int
) -> None:
    written = price if stock % 2 else f'"{price}"'
    body = f'{{"name": {json.dumps(name)}, "stock": {stock}, "price": {written}}}'
    response = a_shop.request(
        "PATCH", f"/products/{product['id']}", data=body, content_type="application/json"
    )
    assert response.status_code == 200, response.text
    read = a_shop.get(f"/products/{product['id']}").get_json()
    assert (read["name"], read["stock"]) == (name, stock)
    assert Decimal(read["price"]) == price
    assert read == response.get_json()


@relaxed
@given(
    fields=st.dictionaries(
        st.sampled_from(
            ["name", "description", "sku", "price", "currency", "stock", "category_id", "active"]
        )
        | st.text(max_size=5),
        ANYTHING,
    )
)
def test_any_json_is_stored_or_refused(
    a_shop: Shop, product: dict[str, Any], fields: dict[str, Any]
) -> None:
    path = f"/products/{product['id']}"
    before = a_shop.get(path).get_json()
    response = a_shop.request(
        "PATCH", path, data=json.dumps(fields), content_type="application/json"
    )
    after = a_shop.get(path).get_json()
    if response.status_code == 200:
        assert after == response.get_json()
    else:
        assert response.status_code in {400, 409, 422}
        assert after == before


@relaxed
@given(body=st.binary(max_size=300), content_type=st.sampled_from(["application/json", "x/y", ""]))
def test_any_bytes_are_refused(a_shop: Shop, body: bytes, content_type: str) -> None:
    response = a_shop.request("POST", "/products", data=body, content_type=content_type)
    assert response.status_code in {400, 415, 422}


@relaxed
@given(
    path=st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    query=st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
)
def test_any_url_is_answered(a_shop: Shop, path: str, query: str) -> None:
    for prefix in ("/", "/products/", "/categories/", "/docs/assets/"):
        response = a_shop.client.get(prefix + quote(path), query_string=query)
        assert response.status_code < 500
    assert a_shop.client.get("/products", query_string=query).status_code in {200, 422}


@relaxed
@given(
    header=st.sampled_from(
        ["Authorization", "If-None-Match", "X-Request-ID", "X-Forwarded-For", "Accept", "Range"]
    ),
    value=st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=40),
)
def test_any_header_is_answered(a_shop: Shop, header: str, value: str) -> None:
    for prefix in ("", "Bearer ", "bytes="):
        response = a_shop.client.get("/products", headers={header: prefix + value})
        assert response.status_code in {200, 206, 304, 416}
        write = a_shop.client.post("/products", headers={header: prefix + value})
        assert write.status_code in {401, 415}
