"""Amounts have the decimal places of their currency, everywhere."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from conftest import CUSTOMER, await_true
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from shop.extensions import db
from shop.money import CURRENCIES, CURRENCY_DECIMALS_SQL, DECIMALS, decimals

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests
    from conftest import Service, Shop

    from dev.embedded.servers import Postgres

SHOWN = {"JPY": "100", "KRW": "1", "EUR": "19.90", "KWD": "1.250", "BHD": "0.001", "CLP": "5"}


@pytest.mark.parametrize(("currency", "price"), SHOWN.items())
@pytest.mark.parametrize("written", ["{}", '"{}"'])
def test_an_amount_has_the_decimal_places_of_its_currency(
    a_shop: Shop, currency: str, price: str, written: str
) -> None:
    a_shop.create_product()
    body = f'{{"price": {written.format(price)}, "currency": "{currency}"}}'
    answer = send(a_shop, "/products/1", body)
    assert answer.status_code == 200, answer.text
    assert answer.get_json()["price"] == price
    assert a_shop.get("/products/1").get_json()["price"] == price


def send(shop: Shop, path: str, body: str) -> Any:
    return shop.request("PATCH", path, data=body, content_type="application/json")


def test_every_currency_has_its_smallest_amount_and_none_below(a_shop: Shop) -> None:
    a_shop.create_product()
    for currency in CURRENCIES:
        smallest = Decimal(1).scaleb(-decimals(currency))
        answer = a_shop.patch("/products/1", price=f"{smallest}", currency=currency)
        assert answer.get_json()["price"] == f"{smallest}", answer.text
        refused = a_shop.patch("/products/1", price=f"{smallest + smallest / 10}")
        assert refused.status_code == 422, currency


def test_the_database_and_the_service_know_the_same_decimal_places(a_shop: Shop) -> None:
    question = f"SELECT currency, {CURRENCY_DECIMALS_SQL} FROM unnest(:codes) AS currency"
    with a_shop.app.app_context():
        found = db.session.execute(text(question), {"codes": list(CURRENCIES)}).all()
    assert {row[0]: row[1] for row in found} == DECIMALS
    assert [list(DECIMALS.values()).count(places) for places in (0, 2, 3)] == [16, 132, 7]


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    currency=st.sampled_from(CURRENCIES),
    amount=st.integers(0, 5).flatmap(lambda n: st.decimals(0, 10**10, places=n)),
)
@example("JPY", Decimal("100.50"))
@example("KRW", Decimal("0.50"))
@example("KWD", Decimal("1.250"))
@example("KWD", Decimal("9999999999.999"))
@example("EUR", Decimal("9999999999.999"))
@example("JPY", Decimal(9999999999))
@example("JPY", Decimal("100.00000"))
def test_text_and_numbers_are_accepted_if_the_currency_has_them(
    a_shop: Shop, currency: str, amount: Decimal
) -> None:
    if not a_shop.get("/products").get_json()["items"]:
        a_shop.create_product()
    step = Decimal(1).scaleb(-decimals(currency))
    expected = 200 if 0 < amount < 10**10 and amount % step == 0 else 422
    for price in (f"{amount:f}", f'"{amount:f}"'):
        answer = send(a_shop, "/products/1", f'{{"price": {price}, "currency": "{currency}"}}')
        assert answer.status_code == expected, (price, currency, answer.text)
        if expected == 200:
            product = answer.get_json()
            assert (product["price"], product["currency"]) == (f"{amount.quantize(step)}", currency)
        else:
            assert [error["field"] for error in answer.get_json()["errors"]] == ["price"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize(
    ("price", "currency", "places"),
    [("100.50", "JPY", 0), (0.5, "KRW", 0), ("19.999", "EUR", 2), ("0.001", "SEK", 2)],
)
def test_a_refusal_names_the_decimal_places_of_the_currency(
    a_shop: Shop, method: str, price: Any, currency: str, places: int
) -> None:
    product = a_shop.create_product()
    path = "/products" if method == "POST" else f"/products/{product['id']}"
    fields = {"name": "Hoe", "stock": 1, "category_id": 1, "price": price, "currency": currency}
    answer = a_shop.request(method, path, json=fields)
    assert answer.status_code == 422
    problem = answer.get_json()
    assert problem["type"] == "/problems/too-many-decimals"
    assert (problem["currency"], problem["decimal_places"]) == (currency, places)
    [error] = problem["errors"]
    assert error["field"] == "price"
    assert f"{currency}, which has {places} decimal places" in error["detail"]
    assert a_shop.get("/products").get_json()["items"] == [product]


def test_a_product_of_no_named_currency_is_sold_in_euros(a_shop: Shop) -> None:
    fields = {"name": "Hoe", "stock": 1, "category_id": a_shop.create_category()["id"]}
    assert a_shop.post("/products", price="1.250", **fields).get_json()["price"] == "1.25"
    assert a_shop.post("/products", price="1.255", **fields).status_code == 422


@pytest.mark.parametrize(
    ("price", "currency", "change", "field"),
    [
        ("100", "JPY", {"price": "100.50"}, "price"),
        ("100", "JPY", {"price": 100.5}, "price"),
        ("19.90", "EUR", {"currency": "JPY"}, "currency"),
        ("1.255", "KWD", {"currency": "EUR"}, "currency"),
        ("1.250", "KWD", {"currency": "JPY"}, "currency"),
        ("1.250", "KWD", {"price": "1.2505"}, "price"),
        ("100", "JPY", {"price": "0.50", "currency": "KRW"}, "price"),
    ],
)
def test_a_change_of_price_or_currency_is_checked_with_the_other(
    a_shop: Shop, price: str, currency: str, change: dict[str, Any], field: str
) -> None:
    product = a_shop.create_product(price=price, currency=currency)
    answer = a_shop.patch("/products/1", **change)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.get_json()["errors"]] == [field]
    assert a_shop.get("/products/1").get_json() == product


@pytest.mark.parametrize(
    ("price", "currency", "change", "changed"),
    [
        ("100.00", "EUR", {"currency": "JPY"}, "100"),
        ("100", "JPY", {"currency": "KWD"}, "100.000"),
        ("1.250", "KWD", {"currency": "EUR"}, "1.25"),
        ("19.90", "EUR", {"currency": "JPY", "price": "1990"}, "1990"),
        ("100", "JPY", {"currency": "EUR", "price": "0.50"}, "0.50"),
        ("100", "JPY", {"stock": 7}, "100"),
    ],
)
def test_a_price_takes_the_decimal_places_of_its_new_currency(
    a_shop: Shop, price: str, currency: str, change: dict[str, Any], changed: str
) -> None:
    a_shop.create_product(price=price, currency=currency)
    answer = a_shop.patch("/products/1", **change)
    assert answer.get_json()["price"] == changed
    assert a_shop.get("/products").get_json()["items"] == [answer.get_json()]


@pytest.mark.parametrize(
    ("price", "currency", "sums"),
    [
        ("105", "JPY", ("315", "320", "163")),
        ("19.95", "EUR", ("59.85", "64.85", "34.93")),
        ("1.255", "KWD", ("3.765", "8.765", "6.883")),
        ("1.250", "KWD", ("3.750", "8.750", "6.875")),
    ],
)
def test_totals_have_the_decimal_places_of_their_currency(
    a_shop: Shop, price: str, currency: str, sums: tuple[str, str, str]
) -> None:
    line, total, average = sums
    a_shop.create_product(price=price, currency=currency, stock=9)
    a_shop.create_product(price=5, currency=currency, stock=9)
    session = a_shop.open_session()
    for product_id, quantity in ((1, 3), (2, 1)):
        path = f"/cart/items/{product_id}"
        cart = a_shop.request("PUT", path, json={"quantity": quantity}, headers=session).get_json()
    assert [item["total"] for item in cart["items"]] == [line, text_of(5, currency)]
    assert [item["product"]["price"] for item in cart["items"]] == [price, text_of(5, currency)]
    assert cart["totals"] == [{"currency": currency, "total": total}]

    placed = a_shop.request("POST", "/cart/checkout", json={"customer": CUSTOMER}, headers=session)
    order = placed.get_json()
    assert order["total"] == total
    assert [(one["price"], one["total"]) for one in order["lines"]] == [
        (price, line),
        (text_of(5, currency), text_of(5, currency)),
    ]
    assert order == read(a_shop, "/orders/1") == read(a_shop, "/orders")["items"][0]
    assert a_shop.move_order(1, "pay").get_json()["total"] == total

    a_shop.place_order(2)
    a_shop.move_order(2, "pay")
    [revenue] = read(a_shop, "/stats/dashboard")["revenue"]
    both = text_of(Decimal(total) + 5, currency)
    assert revenue == {"currency": currency, "orders": 2, "revenue": both, "average_order": average}
    for path in ("/products/top-selling", "/products/trending"):
        prices = {
            item["product"]["id"]: item["product"]["price"] for item in read(a_shop, path)["items"]
        }
        assert prices == {1: price, 2: text_of(5, currency)}


def text_of(amount: Decimal | int, currency: str) -> str:
    return f"{amount:.{decimals(currency)}f}"


def read(shop: Shop, path: str) -> Any:
    answer = shop.get(path, headers={"Authorization": f"Bearer {shop.key}"})
    assert answer.status_code == 200, answer.text
    return answer.get_json()


def test_the_largest_order_can_be_stored_and_added_up(a_shop: Shop) -> None:
    for number in range(100):
        a_shop.create_product(
            name=f"Vault {number}", price="9999999999.999", currency="KWD", stock=20_000
        )
    total = "9999999999999000.000"
    for _ in range(2):
        placed = a_shop.place_order(*range(1, 101), quantity=10_000)
        assert placed["total"] == total
        a_shop.move_order(placed["id"], "pay")
    [revenue] = read(a_shop, "/stats/dashboard")["revenue"]
    assert (revenue["revenue"], revenue["average_order"]) == ("19999999999998000.000", total)


def test_two_changes_at_once_leave_no_invalid_amount(
    serve: Callable[..., Service], postgres: Postgres, a_shop: Shop
) -> None:
    a_shop.create_product(price="100.00", currency="EUR")
    service = serve(WEB_CONCURRENCY="2")
    holder, onlooker = (psycopg2.connect(postgres.url) for _ in range(2))
    onlooker.autocommit = True

    def waiting() -> int:
        with onlooker.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            [(count,)] = cursor.fetchall()
            return int(count)

    def change(**fields: str) -> requests.Response:
        return service.write("PATCH", "/products/1", **fields)

    with ThreadPoolExecutor(2) as pool:
        for _ in range(5):
            a_shop.patch("/products/1", price="100.00", currency="EUR")
            with holder.cursor() as cursor:
                cursor.execute("SELECT FROM products WHERE id = 1 FOR UPDATE")
            both = [pool.submit(change, price="100.50"), pool.submit(change, currency="JPY")]
            await_true(lambda: waiting() == 2)
            holder.rollback()
            answers = [one.result() for one in both]
            assert sorted(one.status_code for one in answers) == [200, 422]
            product = service.get("/products/1").json()
            assert (product["price"], product["currency"]) in {("100.50", "EUR"), ("100", "JPY")}
    for connection in (holder, onlooker):
        connection.close()


def test_the_document_describes_every_valid_amount(a_shop: Shop) -> None:
    schemas = a_shop.get("/openapi.json").get_json()["components"]["schemas"]
    assert schemas["ProductInput"]["properties"]["currency"]["enum"] == list(CURRENCIES)
    price = schemas["Product"]["properties"]["price"]["pattern"]
    total = schemas["Order"]["properties"]["total"]["pattern"]
    for amount in ("100", "19.90", "1.250", "9999999999", "9999999999.999"):
        assert re.search(price, amount)
        assert re.search(total, amount)
    for amount in ("1.5", "1.", ".5", "1.0000", "", "-1", "1e2"):
        assert not re.search(price, amount)
        assert not re.search(total, amount)


@pytest.mark.parametrize(
    ("price", "valid"),
    [
        ("100", True), ("19.9", True), ("1.250", True), ("1.2500000000000", True),
        ("9999999999.999", True), (1, True), (0.001, True), (9999999999.99, True),
        ("0", False), ("0.00", False), ("000", False), ("1.2345", False), ("1.", False),
        (".5", False), ("1e2", False), ("-1", False), ("10000000000", False), ("", False),
        (0, False), (-1, False), (10**10, False), (None, False), (True, False),
    ],
)  # fmt: skip
def test_a_price_is_refused_by_the_document_as_by_the_service(
    a_shop: Shop, price: Any, *, valid: bool
) -> None:
    a_shop.create_product(currency="KWD")
    answer = a_shop.patch("/products/1", price=price)
    assert answer.status_code == (200 if valid else 422), answer.text
    schemas = a_shop.get("/openapi.json").get_json()["components"]["schemas"]
    written, number = schemas["ProductInput"]["properties"]["price"]["anyOf"]
    if isinstance(price, str):
        matches = re.search(written["pattern"], price)
        assert bool(matches and not re.search(written["not"]["pattern"], price)) == valid
    elif type(price) in {int, float}:
        assert (number["exclusiveMinimum"] < price < number["exclusiveMaximum"]) == valid
