"""Finding products: what each parameter does, what is refused, and how pages go on."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from shop.search import layouts

if TYPE_CHECKING:
    from conftest import Shop

PRICES = ["30.00", "10.00", "20.00", "10.00"]


def ids(found: Any) -> list[int]:
    assert found.status_code == 200, found.text
    return [item["id"] for item in found.get_json()["items"]]


def next_page(found: Any) -> str:
    address = re.search('<([^>]*)>; rel="next"', found.headers["Link"])
    assert address
    return address[1]


def errors(found: Any) -> dict[str, str]:
    assert found.status_code == 422, found.text
    return {one["field"]: one["detail"] for one in found.get_json()["errors"]}


def test_products_are_filtered_by_category(a_shop: Shop) -> None:
    garden, books = (a_shop.create_category(name)["id"] for name in ("Garden", "Books"))
    rake = a_shop.create_product(category_id=garden)["id"]
    novel = a_shop.create_product(category_id=books)["id"]
    assert ids(a_shop.get(f"/products?category_id={books}")) == [novel]
    assert ids(a_shop.get(f"/products?category_id={books},{garden}")) == [rake, novel]
    assert ids(a_shop.get("/products?category_id=999")) == []


@pytest.mark.parametrize(
    ("sort", "order"), [("price", [1, 3, 2, 0]), ("-price", [0, 2, 1, 3]), ("id", [0, 1, 2, 3])]
)
def test_pages_by_after_have_every_product_once_in_order(
    a_shop: Shop, sort: str, order: list[int]
) -> None:
    made = [a_shop.create_product(price=price)["id"] for price in PRICES]
    found, seen = a_shop.get(f"/products?sort={sort}&limit=1"), []
    seen += ids(found)
    while "Link" in found.headers:
        found = a_shop.get(next_page(found))
        seen += ids(found)
    assert seen == [made[at] for at in order]


def test_a_price_filter_includes_both_ends(a_shop: Shop) -> None:
    made = [a_shop.create_product(price=price)["id"] for price in PRICES]
    assert ids(a_shop.get("/products?min_price=10&max_price=20.000")) == [made[1], *made[2:]]
    assert ids(a_shop.get("/products?min_price=20.01")) == [made[0]]
    assert ids(a_shop.get("/products?min_price=20&max_price=10")) == []


def test_prices_of_several_currencies_are_not_compared(a_shop: Shop) -> None:
    a_shop.create_product(currency="EUR")
    dear = a_shop.create_product(currency="JPY", price="500")["id"]
    refused = a_shop.get("/products?sort=price")
    assert refused.status_code == 422
    problem = refused.get_json()
    assert problem["type"] == "/problems/currency-required"
    assert problem["currencies"] == ["EUR", "JPY"]
    assert [one["field"] for one in problem["errors"]] == ["currency"]
    assert ids(a_shop.get("/products?sort=price&currency=JPY")) == [dear]
    assert a_shop.get("/products?max_price=3").status_code == 422


def test_names_are_sorted_without_regard_to_case_and_accents(a_shop: Shop) -> None:
    names = ["Zebra", "éclair", "Eclipse", "apple"]
    made = {name: a_shop.create_product(name=name)["id"] for name in names}
    order = [made[name] for name in ("apple", "éclair", "Eclipse", "Zebra")]
    assert ids(a_shop.get("/products?sort=name")) == order


def test_stock_is_filtered_and_counted(a_shop: Shop) -> None:
    there = a_shop.create_product(stock=3)["id"]
    gone = a_shop.create_product(stock=0)["id"]
    assert ids(a_shop.get("/products?in_stock=true")) == [there]
    found = a_shop.get("/products?in_stock=false&facets=in_stock,category&total=true").get_json()
    assert [item["id"] for item in found["items"]] == [gone]
    assert found["total"] == {"count": 1, "exact": True}
    assert found["facets"]["in_stock"] == {"true": 1, "false": 1}
    assert found["facets"]["category"] == [{"id": 1, "count": 1}]


def test_a_range_of_the_price_facet_finds_as_many_products_as_it_counts(a_shop: Shop) -> None:
    for price in ("0.50", "9.99", "10.00", "19.99", "20.00", "9999999999.99"):
        a_shop.create_product(price=price)
    counts = a_shop.get("/products?facets=price&max_price=3").get_json()["facets"]["price"]
    assert counts[1] == {"currency": "EUR", "from": "5.00", "to": "9.99", "count": 1}
    assert sum(one["count"] for one in counts) == 6
    for one in counts:
        query = f"min_price={one['from']}&max_price={one['to']}&currency={one['currency']}"
        assert len(ids(a_shop.get(f"/products?{query}"))) == one["count"]


def test_chosen_products_come_in_the_requested_order(a_shop: Shop) -> None:
    made = [a_shop.create_product(sku=f"S-{number}")["id"] for number in range(3)]
    hidden = a_shop.create_product(sku="HIDDEN", active=False)["id"]
    query = f"id={made[2]},{made[0]},{hidden},999&sku=S-1,NONE,HIDDEN,S-0"
    found = a_shop.get(f"/products?{query}&limit=100")
    assert ids(found) == [made[2], made[0], made[1]]
    missing = found.get_json()["missing"]
    assert missing == {"ids": [hidden, 999], "skus": ["NONE", "HIDDEN"]}


def test_fields_and_the_category_are_shown_as_requested(a_shop: Shop) -> None:
    made = a_shop.create_product(name="Rake")
    [item] = a_shop.get("/products?fields=name,id&include=category").get_json()["items"]
    category = a_shop.get(f"/categories/{made['category_id']}").get_json()
    assert item == {"id": made["id"], "name": "Rake", "category": category}


def test_categories_show_their_number_of_active_products(a_shop: Shop) -> None:
    full, empty = a_shop.create_category("Full")["id"], a_shop.create_category("Empty")["id"]
    a_shop.create_product(category_id=full)
    a_shop.create_product(category_id=full, active=False)
    found = a_shop.get("/categories?include=counts").get_json()["items"]
    assert [(one["id"], one["product_count"]) for one in found] == [(full, 1), (empty, 0)]
    a_shop.create_product(category_id=empty)
    found = a_shop.get("/categories?include=counts").get_json()["items"]
    assert [one["product_count"] for one in found] == [1, 1]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("sort=cheapest", "sort"),
        ("sort=relevance", "sort"),
        ("category_id=", "category_id.0"),
        ("category_id=1,x", "category_id.1"),
        ("category_id=0", "category_id.0"),
        ("id=" + ",".join(["1"] * 101), "id"),
        ("id=1&q=desk", "q"),
        ("id=1,2&limit=1", "limit"),
        ("id=1&skip=0", "skip"),
        ("sku=A&in_stock=true", "in_stock"),
        ("min_price=-1", "min_price"),
        ("min_price=1e3", "min_price"),
        ("max_price=abc", "max_price"),
        ("currency=EURO", "currency"),
        ("in_stock=yes", "in_stock"),
        ("total=1", "total"),
        ("facets=colour", "facets.0"),
        ("fields=secret", "fields.0"),
        ("include=orders", "include.0"),
        ("after=abc", "after"),
        ("after=", "after"),
        ("skip=10001", "skip"),
        ("q=", "q"),
        ("q=" + "a" * 201, "q"),
        ("color=red", "color"),
    ],
)
def test_an_invalid_parameter_is_refused_by_name(a_shop: Shop, query: str, field: str) -> None:
    assert field in errors(a_shop.get(f"/products?{query}"))


def test_a_skip_that_is_too_large_is_referred_to_after(a_shop: Shop) -> None:
    for skip in (10001, -1):
        told = errors(a_shop.get(f"/products?skip={skip}"))["skip"]
        assert "from 0 to 10000" in told
        assert "after" in told
    assert a_shop.get("/products?skip=10000").status_code == 200


def test_a_cursor_belongs_to_its_query(a_shop: Shop) -> None:
    for price in PRICES:
        a_shop.create_product(price=price)
    address = next_page(a_shop.get("/products?sort=price&limit=2"))
    assert ids(a_shop.get(address.replace("limit=2", "limit=3") + "&total=true"))
    assert "after" in errors(a_shop.get(address.replace("sort=price", "sort=-price")))
    assert "after" in errors(a_shop.get(address + "&in_stock=true"))
    assert "skip" in errors(a_shop.get(address + "&skip=1"))


def test_inactive_products_are_filtered_with_a_key_alone(a_shop: Shop) -> None:
    a_shop.create_product()
    hidden = a_shop.create_product(active=False)["id"]
    assert a_shop.get("/products?active=false").status_code == 401
    session = a_shop.open_session()
    assert a_shop.get("/products?active=true", headers=session).status_code == 403
    key = {"Authorization": f"Bearer {a_shop.key}"}
    assert ids(a_shop.get("/products?active=false", headers=key)) == [hidden]
    assert len(ids(a_shop.get("/products?sort=price", headers=key))) == 2
    assert len(ids(a_shop.get("/products?sort=price"))) == 1


def test_best_sellers_come_first_with_the_time_of_their_report(a_shop: Shop) -> None:
    made = [a_shop.create_product(stock=50)["id"] for _ in range(4)]
    for product_id, quantity in ((made[2], 3), (made[1], 5)):
        order = a_shop.place_order(product_id, quantity=quantity)
        a_shop.move_order(order["id"], "pay")
    found = a_shop.get("/products?sort=best_selling&limit=3")
    assert ids(found) == [made[1], made[2], made[0]]
    assert found.get_json()["as_of"].endswith("Z")
    assert ids(a_shop.get(next_page(found))) == [made[3]]


def test_equivalent_queries_share_one_entry(a_shop: Shop) -> None:
    category = a_shop.create_product()["category_id"]
    first = a_shop.get(f"/products?category_id={category},7&max_price=50.0&sort=price")
    assert first.headers["X-Cache"] == "MISS"
    again = a_shop.get(f"/products?sort=price&max_price=50&category_id=7,{category},7")
    assert again.headers["X-Cache"] == "HIT"


@pytest.mark.parametrize("q", ["!!!", '"', "-", '-""', "a & | ! (", "\x00", "\\", "%", "'", ":*"])
def test_search_accepts_any_text(a_shop: Shop, q: str) -> None:
    a_shop.create_product()
    found = a_shop.get("/products", query_string={"q": q})
    assert found.status_code == 200, found.text


def test_words_find_names_skus_descriptions_and_categories(a_shop: Shop) -> None:
    garden = a_shop.create_category("Garden")["id"]
    desk = a_shop.create_product(name="Oak desk", sku="FUR-7", category_id=garden)["id"]
    lamp = a_shop.create_product(name="Lámpara", description="Stands on a desk.")["id"]
    assert ids(a_shop.get("/products?q=desk")) == [desk, lamp]
    assert ids(a_shop.get("/products?q=lampara")) == [lamp]
    assert ids(a_shop.get("/products?q=FUR-7")) == [desk]
    assert ids(a_shop.get("/products?q=des&limit=1")) == [desk]
    found = a_shop.get("/products?q=desk&limit=1")
    assert ids(a_shop.get(next_page(found))) == [lamp]


def test_suggestions_complete_names(a_shop: Shop) -> None:
    category = a_shop.create_category("Oak things")["id"]
    product = a_shop.create_product(name="Oak desk", category_id=category)["id"]
    a_shop.create_product(name="oak desk", category_id=category)
    found = a_shop.get("/search/suggest?q=OAK").get_json()["items"]
    assert found == [
        {"kind": "category", "id": category, "text": "Oak things"},
        {"kind": "product", "id": product, "text": "Oak desk"},
    ]


@pytest.mark.parametrize("q", ["\0", "!!!", "-", "?", "%", "_", '"', "\u0301", " . ", "🌱", "'"])
def test_text_without_a_word_has_no_suggestions(a_shop: Shop, q: str) -> None:
    a_shop.create_category("- Oak_things? 100 %")
    a_shop.create_product(name='"-?!!! Oak_desk')
    a_shop.create_product(name="Oak desk")
    assert a_shop.get("/search/suggest", query_string={"q": q}).get_json() == {"items": []}


def forged(question: str, payload: bytes) -> str:
    binding = sha256(question.encode() + b"\n" + payload).digest()[:9]
    return urlsafe_b64encode(binding + payload).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("sort", "payload"),
    [
        ("id", b"1"),
        ("id", b"[]"),
        ("id", b"[1,2]"),
        ("id", b"[true]"),
        ("id", b'["1"]'),
        ("id", b"[9223372036854775808]"),
        ("price", b'["1e9",1]'),
        ("price", b"[1,1]"),
        ("name", b'["\\u0000",1]'),
        ("name", b'["\\ud800",1]'),
        ("created_at", b'["yesterday",1]'),
        ("created_at", b'["0001-01-01T00:00:00+23:59",1]'),
        ("-created_at", b'["9999-12-31T23:59:59-23:59",1]'),
        ("best_selling", b"[1.5,1]"),
    ],
)
def test_a_forged_cursor_is_refused(a_shop: Shop, sort: str, payload: bytes) -> None:
    cursor = forged(f"all:sort:{sort}", payload)
    assert "after" in errors(a_shop.get(f"/products?sort={sort}&after={cursor}"))


@pytest.mark.parametrize("payload", [b'["2026-01-01",1]', b'["2026-01-01T00:00:00+05:43:21",1]'])
def test_every_form_of_a_time_in_a_cursor_is_accepted(a_shop: Shop, payload: bytes) -> None:
    a_shop.create_product()
    cursor = forged("all:sort:created_at", payload)
    assert len(ids(a_shop.get(f"/products?sort=created_at&after={cursor}"))) == 1


def test_a_cursor_has_one_form(a_shop: Shop) -> None:
    for _ in range(2):
        a_shop.create_product()
    address = next_page(a_shop.get("/products?sort=id&limit=1"))
    assert ids(a_shop.get(address))
    assert "after" in errors(a_shop.get(f"{address}="))
    assert "after" in errors(a_shop.get(f"{address}!"))


def test_a_search_corrects_words_reads_categories_and_leaves_words_out(a_shop: Shop) -> None:
    garden = a_shop.create_category("Garden")["id"]
    desk = a_shop.create_product(name="Oak desk", category_id=garden)["id"]
    lamp = a_shop.create_product(
        name="Lamp", description="Stands on a desk.", category_id=a_shop.create_category("L")["id"]
    )["id"]
    assert ids(a_shop.get("/products?q=dsek")) == [desk, lamp]
    assert ids(a_shop.get("/products?q=garden oak")) == [desk]
    assert ids(a_shop.get("/products?q=desk -oak")) == [lamp]
    assert ids(a_shop.get("/products?q=-oak&sort=id")) == [lamp]


def test_a_category_is_counted_beside_others_only_by_prices_of_one_currency(a_shop: Shop) -> None:
    euros, yen = (a_shop.create_category(name)["id"] for name in ("Euros", "Yen"))
    a_shop.create_product(category_id=euros, price="2")
    a_shop.create_product(category_id=yen, price="3", currency="JPY")
    query = f"/products?category_id={yen}&max_price=5"
    assert len(ids(a_shop.get(query))) == 1
    refused = a_shop.get(f"{query}&facets=category")
    assert refused.get_json()["type"] == "/problems/currency-required"
    found = a_shop.get(f"{query}&facets=category&currency=JPY").get_json()
    assert found["facets"]["category"] == [{"id": yen, "count": 1}]


def test_plain_pages_continue_by_after_where_skip_ends(
    a_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layouts, "SKIP_MAX", 3)
    made = [a_shop.create_product()["id"] for _ in range(7)]
    found, seen, parameters = a_shop.get("/products?limit=2"), [], []
    seen += ids(found)
    while "next" in found.headers.get("Link", ""):
        parameters.append(re.findall(r"\w+(?==)", next_page(found))[0])
        found = a_shop.get(next_page(found))
        seen += ids(found)
    assert seen == made
    assert parameters == ["skip", "after", "limit"]


def test_an_empty_price_facet_has_no_currency(a_shop: Shop) -> None:
    a_shop.create_product(currency="EUR")
    a_shop.create_product(currency="JPY", price="500")
    for query in ("category_id=98&max_price=5", "category_id=98,99&max_price=5&sort=price"):
        assert ids(a_shop.get(f"/products?{query}")) == []
