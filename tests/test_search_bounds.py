"""Expensive searches, and words of products that the caller may not see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Shop

STATEMENTS_MAX = 50  # eight looks at words for each of five documents, and their own statements
STATEMENT_MAX = 10_000  # characters
LETTERS = "abcdefghijklmnopqrstuvwxyz"
TWO = [one + other for one in LETTERS for other in LETTERS]


def found(shop: Shop, q: str, **parameters: str) -> list[int]:
    answer = shop.get("/products", query_string={"q": q} | parameters)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.get_json()["items"]]


@pytest.mark.parametrize(
    "q",
    [
        "㌖" * 200,
        "㌀" * 200,
        "㍿" * 200,
        "-" + "½" * 199,
        '"' + "½" * 198 + '"',
        "-" + "\ufdfa" * 199,
        "\ufdfa " * 100,
        "".join(map(chr, range(0x2474, 0x2474 + 150))),
        " ".join([*LETTERS, *TWO])[:200],
        " ".join(f"-{one}" for one in TWO)[:200],
        " ".join(f'"{one}' for one in TWO)[:200],
        "b" * 200,
        "a:*b & | ! <-> ( ) \\' '' \"" * 7,
        "'" * 200,
        "\\" * 200,
    ],
)
@pytest.mark.parametrize("path", ["/products", "/search/suggest"])
def test_any_typed_search_is_bounded_and_no_error(a_shop: Shop, q: str, path: str) -> None:
    a_shop.create_category("A ab b 1 2 3 category")
    a_shop.create_product(name="A product ab", description="b c d 1 2")
    counted = {"facets": "category,price,in_stock", "total": "true"} if path == "/products" else {}
    with a_shop.statements() as sent:
        answer = a_shop.get(path, query_string={"q": q} | counted)
    assert answer.status_code == 200, answer.text
    assert len(sent) <= STATEMENTS_MAX
    assert max(map(len, sent), default=0) < STATEMENT_MAX


@pytest.mark.parametrize(
    "q",
    [
        "desk",
        "deks",
        "deks lmap",  # nothing has either
        "desk lamb",  # nothing has both
        "deks lamb",
        "deks lamb lmap kitchne",
        '"desk lamp" lamb deks',
        '"oak desk" "kitchen lamp" -"pine desk" -t-shirt deks lamb',
        "kitchen desk",
        "kitchne deks",
        "qwxz qwxz",
        "qwxz lamb",
    ],
)
@pytest.mark.parametrize("more", [{}, {"sort": "price", "currency": "EUR"}, {"in_stock": "true"}])
def test_a_search_sends_at_most_eight_statements(
    a_shop: Shop, q: str, more: dict[str, str]
) -> None:
    kitchen = a_shop.create_category("Kitchen")["id"]
    for name in ("Oak desk", "Desk lamp", "Pine desk", "Lamb", "Kitchen lamp"):
        a_shop.create_product(name=name, category_id=kitchen)
    with a_shop.statements() as sent:
        found(a_shop, q, **more)
    assert len(sent) <= 8


def test_words_are_cut_alike_in_rows_and_in_searches(a_shop: Shop) -> None:
    product = a_shop.create_product(name="b" * 150)["id"]
    assert found(a_shop, "b" * 150) == found(a_shop, "b" * 100) == [product]
    assert found(a_shop, f"-{'b' * 150}") == []


def test_a_typo_in_a_product_that_is_not_sold_corrects_nothing_away(a_shop: Shop) -> None:
    desk = a_shop.create_product(name="Oak desk")["id"]
    assert found(a_shop, "deks") == [desk]
    hidden = a_shop.create_product(name="Secret deks", active=False)["id"]
    assert found(a_shop, "deks") == [desk]
    assert found(a_shop, "deks secret") == []
    a_shop.delete(f"/products/{hidden}")
    assert found(a_shop, "deks") == [desk]


def test_a_word_that_was_renamed_away_is_corrected_again(a_shop: Shop) -> None:
    pot = a_shop.create_product(name="Teapto")["id"]
    assert found(a_shop, "teapto") == [pot]
    a_shop.patch(f"/products/{pot}", name="Teapot")
    assert found(a_shop, "teapto") == [pot]


def test_words_that_only_inactive_products_have_together_are_corrected(a_shop: Shop) -> None:
    desk = a_shop.create_product(name="Desk lamp")["id"]
    a_shop.create_product(name="Lamb")
    a_shop.create_product(name="Desk lamb", active=False)
    assert found(a_shop, "desk lamb") == [desk]


def test_an_excluded_word_does_not_end_the_last_word(a_shop: Shop) -> None:
    desks = a_shop.create_product(name="Two desks")["id"]
    for q in ("desk", "desk -", "desk -pine", "-pine desk", 'desk -"two pines"'):
        assert found(a_shop, q) == [desks], q
    assert found(a_shop, '"desk" -pine') == []


def test_a_caller_who_sees_inactive_products_finds_them_by_words_of_their_own(a_shop: Shop) -> None:
    a_shop.create_product(name="Oak desk")
    hidden = a_shop.create_product(name="Saffron crocus", active=False)["id"]
    key = {"Authorization": f"Bearer {a_shop.key}"}
    for query in ("q=saffron", "q=saffron&active=false", 'q="saffron crocus"&sort=id'):
        answer = a_shop.get(f"/products?{query}", headers=key)
        assert [item["id"] for item in answer.get_json()["items"]] == [hidden], query
        assert a_shop.get(f"/products?q={query[2:].partition('&')[0]}").get_json()["items"] == []
